"""Which number of steps a run is recorded under, where several floor to the same iterations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from robustpo.config.run import RunConfig
from robustpo.runs.record import CONFIG_FILE, run_directory, task_directory
from robustpo.runs.run_files import as_dict, read_object
from robustpo.studies.study import Part, Study


def settle_steps(study: Study, out: Path) -> tuple[Study, tuple[str, ...]]:
    """Ask for the steps under which the same runs are recorded; return what to say of it too.

    1,000,000 and 1,000,001 steps are the same whole rollouts and so one run, not two.

    Args:
        study: what is asked for.
        out: directory that holds all runs.
    """
    parts, notes = [], []
    for part in study.parts:
        steps = _recorded_steps(part, out)
        if steps is not None:
            notes.append(
                f"{part.steps:,} steps are the same whole rollouts as {steps:,}, under which these "
                "runs are recorded"
            )
        parts.append(part if steps is None else replace(part, steps=steps))
    return replace(study, parts=tuple(parts)), tuple(notes)


def _recorded_steps(part: Part, out: Path) -> int | None:
    """Return other steps under which the runs of a part are recorded, None if under its own."""
    one_seed = replace(part, seeds=part.seeds[:1])
    configs = Study("steps", "", (one_seed,)).configs()
    places = {config: run_directory(out, config).parent for config in configs}
    if any(place.exists() for place in places.values()):
        return None
    for config, place in places.items():
        for steps in _others(config, place, task_directory(out, config.task)):
            if replace(config, steps=steps).total_steps == config.total_steps:
                return steps
    return None


def _others(config: RunConfig, place: Path, directory: Path) -> Iterator[int]:
    """Yield the steps of recorded runs that differ from one in nothing else."""
    if not directory.is_dir():
        return
    for variant in sorted(directory.iterdir()):
        if _without_steps(variant.name) != _without_steps(place.name):
            continue
        for run in sorted(variant.glob("seed-*")):
            identity = as_dict((read_object(run / CONFIG_FILE) or {}).get("identity"))
            steps = identity.get("steps")
            if type(steps) is int and steps >= config.shape.batch_size:
                yield steps
                break


def _without_steps(name: str) -> str:
    return re.sub(r"_steps-[^_]+", "", name)
