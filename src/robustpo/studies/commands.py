"""The commands that repeat a study, a comparison, or single runs of either."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robustpo.config.run import RunConfig
from robustpo.errors import ConfigError
from robustpo.studies.grid import parse_method, takes
from robustpo.studies.paper import find_study
from robustpo.studies.study import Part, Study

# What `compare` always passes on.
_DEFAULTS = (("eval_every", 0), ("eval_episodes", 10))


def train_command(study: Study, config: RunConfig, seeds: Sequence[int], out: Path) -> str:
    """Return the command that trains a run of a study, and others that differ in the seed."""
    part, method = _origin(study, config)
    words = ["robustpo", "train", config.task, "--method", method]
    words += ["--seeds", _seeds(seeds or [config.settings.seed]), "--steps", str(part.steps)]
    taken = {name: value for name, value in part.options.items() if takes(method, name, value)}
    return shlex.join([*words, *option_words(taken), "--out", str(out)])


def compare_command(part: Part, out: Path, judged_by: str = "") -> str:
    """Return the command of a comparison on one task."""
    words = ["robustpo", "compare", *part.tasks, "--methods", *part.methods]
    words += [
        "--seeds",
        _seeds(part.seeds),
        "--steps",
        str(part.steps),
        *option_words(part.options),
    ]
    words += ["--judge-by", judged_by] if judged_by else []
    return shlex.join([*words, "--out", str(out)])


def study_command(study: Study, out: Path) -> str:
    """Return what runs all that has been asked for of a study: a command, or several."""
    try:
        whole = find_study(study.name)
        words = ["robustpo", "study", "run", study.name]
    except ConfigError:
        whole, words = None, ["robustpo", "study", "run", f"{study.name}.toml"]
    if whole is None or study.parts == whole.parts:
        return shlex.join([*words, "--out", str(out)])
    return " && ".join(
        shlex.join([*words, *_selection(part, whole), "--out", str(out)]) for part in study.parts
    )


def _selection(part: Part, whole: Study) -> list[str]:
    """Return the options that make a part of a whole study."""
    likely = next((p for p in whole.parts if set(part.tasks) <= set(p.tasks)), whole.parts[0])
    words = []
    if part.tasks != whole.tasks:
        words += ["--tasks", *part.tasks]
    if part.methods != likely.methods:
        words += ["--methods", *part.methods]
    if part.seeds != likely.seeds:
        words += ["--seeds", _seeds(part.seeds)]
    if part.steps != likely.steps:
        words += ["--steps", str(part.steps)]
    return words


def _origin(study: Study, config: RunConfig) -> tuple[Part, str]:
    """Return the part of a study, and its method as written, that a run comes from."""
    for part in study.parts:
        for method in part.methods:
            if config.task in part.tasks and parse_method(method)[0] == config.method:
                one = Study(
                    "", "", (Part((config.task,), (method,), (0,), part.steps, part.options),)
                )
                if one.configs()[0].variant == config.variant:
                    return part, method
    raise ValueError(f"{config.variant} on {config.task} is no run of {study.name}")


def _seeds(seeds: Sequence[int]) -> str:
    first, last = seeds[0], seeds[-1]
    if len(seeds) > 1 and list(seeds) == list(range(first, last + 1)):
        return f"{first}:{last + 1}"
    return ",".join(map(str, seeds))


def option_words(options: Mapping[str, Any]) -> list[str]:
    """Return options as they are typed; what a command passes on anyway is left out."""
    words = []
    for name, value in options.items():
        if (name, value) in _DEFAULTS:
            continue
        words += [f"--{name.replace('_', '-')}", *_as_words(value)]
    return words


def _as_words(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["on" if value else "off"]
    return [str(item) for item in value] if isinstance(value, tuple) else [str(value)]


def config_toml(configs: Sequence[RunConfig]) -> str:
    """Return the file that `robustpo train --config` takes to repeat runs that differ in the seed.

    It names what differs from the method's own under the preset, which is named too.
    """
    config = configs[0]
    values: dict[str, Any] = {
        "task": config.task,
        "method": config.method,
        "seeds": _seeds(sorted(other.settings.seed for other in configs)),
        "steps": config.steps,
        "preset": config.preset,
        **{
            name: getattr(config, name)
            for name, value in _DEFAULTS
            if getattr(config, name) != value
        },
    }
    if config.init_policy is not None:
        values["init_policy"] = config.init_policy
    if config.extends is not None:
        values["extend"] = config.extends
    unset = [name for name, value in config.changed.items() if value is None]
    values |= {name: value for name, value in config.changed.items() if value is not None}
    lines = [f"{name} = {_toml(value)}" for name, value in values.items()]
    lines += [f"# {name} is off, which the method does by default" for name in unset]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON's texts, switches and numbers are TOML's.
    return json.dumps(value)
