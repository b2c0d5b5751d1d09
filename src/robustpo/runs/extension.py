"""A run that goes on with what another has ended with: its optimiser, normalisers and simulators."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from robustpo.base.amounts import format_count
from robustpo.base.files import read_state, read_tensors
from robustpo.config.run import RunConfig
from robustpo.config.schedules import scheduled
from robustpo.config.settings import SCHEDULE_OF
from robustpo.errors import ConfigError
from robustpo.policy.policy import BEST_POLICY_FILE, load_policy
from robustpo.runs.checkpoint import FINAL_FILE, MAX_BYTES
from robustpo.runs.identity import config_from_identity, difference, with_defaults
from robustpo.runs.record import RunRecord, run_directory
from robustpo.runs.run_files import read_metrics
from robustpo.runs.run_state import run_state
from robustpo.training.bookkeeping import COUNTS


def origin_of(config: RunConfig) -> Path:
    """Return the directory of the run that one extends."""
    assert config.extends is not None
    return Path(config.extends) / f"seed-{config.settings.seed}"


def recorded_config(directory: Path) -> RunConfig:
    """Return the configuration that a run was trained with.

    Raises:
        ConfigError: if there is no run, or its record cannot be read.
    """
    state = run_state(directory)
    if state.identity is None:
        why = state.reason or "it holds no run"
        raise ConfigError(f"no configuration in {directory}: {why}; give the directory of a run")
    return config_from_identity(with_defaults(state.identity))


def recorded_configs(place: Path) -> list[RunConfig]:
    """Return the configurations of a run, or of all seeds of a variant's directory.

    Raises:
        ConfigError: as `recorded_config`.
    """
    runs = [path.parent for path in sorted(place.glob("seed-*/config.json"))]
    return [recorded_config(run) for run in runs or [place]]


def require_extensible(config: RunConfig) -> RunConfig:
    """Return the configuration of the run that one extends.

    Raises:
        ConfigError: if that is not finished, kept no last state, has another task or shape, or has
            made as many steps already.
    """
    origin, place = recorded_config(origin_of(config)), origin_of(config)
    if not run_state(place).done:
        raise ConfigError(f"{place} is not finished; only a finished run is extended")
    if not (place / FINAL_FILE).is_file():
        raise ConfigError(
            f"{place} kept no {FINAL_FILE}, as runs of earlier versions did not, so it cannot be "
            "extended; start from its policy instead: --init-policy"
        )
    theirs, ours = (dataclasses.asdict(c.shape) | {"task": c.task} for c in (origin, config))
    if theirs != ours:
        raise ConfigError(
            f"extend={config.extends!r} has another task or shape ({difference(theirs, ours)}), "
            "which an extension keeps"
        )
    made = read_state(place / FINAL_FILE, MAX_BYTES).get("step")
    if type(made) is not int or made >= config.total_steps:
        raise ConfigError(
            f"steps={config.steps} is not more than the {made:,} that {place} has made; give the "
            "steps of both together"
        )
    return origin


def begin_extension(config: RunConfig, out: Path) -> None:
    """Put the last state of the run that one extends where the new one goes on from, if it is new.

    Raises:
        ConfigError: if that state cannot be read.
        StorageError: if it could not be written.
    """
    place, directory = origin_of(config), run_directory(out, config)
    if run_state(directory).state != "waiting":
        return
    tensors, state = read_tensors(place / FINAL_FILE, MAX_BYTES)
    columns = read_metrics(place)
    record = RunRecord(directory, config, extends=str(place), began=state.get("began"))
    for index in range(len(columns["step"])):
        record.add_row({name: _value(name, column[index]) for name, column in columns.items()})
    kept = {name: state.get(name) for name in ("step", "seconds", "best_evaluation", "log")}
    origin = recorded_config(place)
    if (origin.eval_every, origin.eval_episodes) != (config.eval_every, config.eval_episodes):
        # Evaluations of another kind are no match for those that follow.
        kept["best_evaluation"] = None
    else:
        for row in state.get("evaluations") or []:
            record.add_evaluation(row)
        if (place / BEST_POLICY_FILE).is_file():
            record.save_policy(BEST_POLICY_FILE, load_policy(place / BEST_POLICY_FILE))
    record.save_checkpoint(tensors, kept)


def extension_note(config: RunConfig, origin: RunConfig) -> str:
    """Say from where a run goes on, which settings changed, and how its schedules go on."""
    made = origin.total_steps
    text = (
        f"seed {config.settings.seed} goes on with {origin_of(config)}: {format_count(made)} steps "
        f"are made, {format_count(config.total_steps - made)} follow"
    )
    for name, schedule in SCHEDULE_OF.items():
        kind, initial = getattr(config.settings, schedule), getattr(config.settings, name)
        if kind in ("constant", "std") or not initial:
            continue
        value = scheduled(initial, kind, made / config.total_steps)
        text += f"; {name} ({kind} over all {format_count(config.total_steps)}) goes on at {value:.3g}"
    theirs, ours = (dataclasses.asdict(c.settings) for c in (origin, config))
    return text + (f"; other settings: {difference(theirs, ours)}" if theirs != ours else "")


def _value(name: str, value: Any) -> Any:
    if np.isnan(value):
        return None
    return int(value) if name in COUNTS else float(value)
