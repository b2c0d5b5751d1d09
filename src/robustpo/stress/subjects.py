"""Whose robustness is measured: the policies of runs, of a study or of a directory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from robustpo.base.files import user_path
from robustpo.config.run import RunConfig
from robustpo.errors import ConfigError
from robustpo.evaluation.evaluate import recorded_task
from robustpo.policy.policy import POLICY_FILE, load_policy
from robustpo.runs.record import run_directory
from robustpo.runs.run_state import run_state
from robustpo.runs.store import find_runs


@dataclass(frozen=True)
class Subject:
    """One trained policy.

    Attributes:
        task: the task that it was trained on, or is to be used in.
        variant: of which method and settings it is.
        seed: of its training.
        policy: its file.
    """

    task: str
    variant: str
    seed: int
    policy: Path


@dataclass(frozen=True)
class Subjects:
    """What was found.

    Attributes:
        found: by task, variant and seed.
        missing: what is there of runs without a usable policy, a sentence each.
    """

    found: tuple[Subject, ...]
    missing: tuple[str, ...] = ()


def subjects_of_study(configs: Sequence[RunConfig], out: Path) -> Subjects:
    """Return the policies of those runs of a study that are done."""
    return _of_runs({run_directory(out, config): config for config in configs})


def subjects_in(place: str | os.PathLike[str], task: str | None = None) -> Subjects:
    """Return the policies of the completed runs in a directory, or the one in a file.

    Args:
        place: a run, a directory of runs, or a policy's file.
        task: where they are to be used; by default where each was trained. Those of several tasks
            are then told apart by these.

    Raises:
        ConfigError: if there is none, a task has to be given, or two are of the same variant and
            seed.
    """
    path = user_path(place)
    if os.path.isfile(path):
        policy = load_policy(path)
        seed = policy.metadata.get("seed")
        found = Subject(task or recorded_task(policy), path.stem, _number(seed), path)
        return Subjects((found,))
    found, missing = [], []
    for run, state in find_runs(path):
        file = run.path / POLICY_FILE
        if state.state != "done" or not file.is_file():
            missing.append(f"{run.path} ({state.state})")
            continue
        used = task or recorded_task(load_policy(file))
        found.append((run.task, Subject(used, run.variant, run.seed, file)))
    if not found:
        raise ConfigError(
            f"{path} holds no completed run; give a run, a directory of runs, a policy's file or "
            "the name of a study"
        )
    if task is not None and len({trained for trained, _ in found}) > 1:
        found = [
            (trained, replace(one, variant=f"{one.variant} ({trained})")) for trained, one in found
        ]
    subjects = sorted((one for _, one in found), key=lambda one: (one.task, one.variant, one.seed))
    _require_distinct(subjects)
    return Subjects(tuple(subjects), tuple(missing))


def _require_distinct(subjects: Sequence[Subject]) -> None:
    """Raise `ConfigError` if two would stand for one."""
    known: dict[tuple[str, str, int], Path] = {}
    for one in subjects:
        other = known.setdefault((one.task, one.variant, one.seed), one.policy)
        if other != one.policy:
            raise ConfigError(
                f"{other} and {one.policy} are both {one.variant} with seed {one.seed} on "
                f"{one.task}; give a directory that holds one of them"
            )


def _of_runs(directories: Mapping[Path, RunConfig]) -> Subjects:
    found, missing = [], []
    for directory, config in directories.items():
        state, file = run_state(directory), directory / POLICY_FILE
        if state.state == "done" and file.is_file():
            found.append(Subject(config.task, config.variant, config.settings.seed, file))
        else:
            missing.append(f"{directory} ({state.state})")
    return Subjects(tuple(found), tuple(missing))


def _number(value: object) -> int:
    return value if type(value) is int else 0
