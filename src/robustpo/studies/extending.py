"""What is asked for where a run goes on with another: that one's method, seeds and settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line, user_path
from robustpo.environments.task_arguments import split_arguments
from robustpo.errors import ConfigError
from robustpo.runs.extension import recorded_configs
from robustpo.runs.record import CONFIG_FILE


def extended_task(place: str) -> str:
    """Return the task of a run, or of a variant with all its seeds, that is to be extended.

    Raises:
        ConfigError: if there is none, or making its task would run what the record chose.
    """
    task = recorded_configs(user_path(place))[0].task
    if ":" in split_arguments(task)[0]:
        raise ConfigError(
            f"{place} was trained on {task!r}, and a record does not decide which module is "
            f"imported; if you know that task, give it too: robustpo train {one_line(task, 80)}"
        )
    return task


def what_extends(
    place: Path, method: str | None, seeds: tuple[int, ...] | None, options: Mapping[str, Any]
) -> tuple[str, tuple[int, ...], dict[str, Any]]:
    """Return method, seeds and options of runs that go on with those in a directory.

    Args:
        place: a run, or a variant with all its seeds.
        method: what is asked for; None leaves it to the runs.
        seeds: likewise, else some of theirs.
        options: what is asked for beside; the rest is theirs.

    Raises:
        ConfigError: if there are no such runs, or another method or seed is asked for.
    """
    configs = recorded_configs(place)
    # Wherever it is named from.
    variant = (place.parent if (place / CONFIG_FILE).is_file() else place).resolve()
    origin = configs[0]
    if method not in (None, origin.method):
        raise ConfigError(
            f"method={method!r} is not that of {place}, {origin.method}; leave it out"
        )
    known = sorted(config.settings.seed for config in configs)
    chosen = tuple(known) if seeds is None else seeds
    if missing := [seed for seed in chosen if seed not in known]:
        raise ConfigError(
            f"seeds={missing} are not among those of {place}, {known}; leave them out"
        )
    theirs = {name: value for name, value in origin.changed.items() if value is not None}
    theirs |= {"eval_every": origin.eval_every, "eval_episodes": origin.eval_episodes}
    asked = {name: value for name, value in options.items() if value is not None}
    return (
        origin.method,
        chosen,
        {"preset": origin.preset, **theirs, **asked, "extends": str(variant)},
    )
