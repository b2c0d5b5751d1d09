"""Measuring the robustness of many policies: what is not known yet is measured and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robustpo.base.json_text import to_json
from robustpo.base.naming import short_hash
from robustpo.base.registry import allowed
from robustpo.environments import catalog
from robustpo.environments.make import look, resolve
from robustpo.environments.shifts import Shift
from robustpo.errors import ConfigError
from robustpo.evaluation.episodes import require_fit
from robustpo.evaluation.evaluate import MAX_ENVS
from robustpo.policy.policy import load_policy
from robustpo.stress.measure import Score, Terms
from robustpo.stress.plan import Condition, PlannedShift, plan
from robustpo.stress.processes import answered
from robustpo.stress.store import RANDOM, Key, Store, policy_digest, versions_digest
from robustpo.stress.subjects import Subject

# Environments that are stepped at once: more would take memory and save nothing.
MAX_TOGETHER = 200

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Measured:
    """One shift of one task, measured.

    Attributes:
        task: the task of the policies.
        shift: what differs.
        simulated: what was simulated where nothing differs.
        levels: `L` of them, the nominal one among them.
        scores: of each variant, by seed, one for each level.
        random: mean return of random actions where nothing differs.
    """

    task: str
    shift: Shift
    simulated: str
    levels: tuple[float, ...]
    scores: dict[str, dict[int, tuple[Score, ...]]]
    random: float

    @property
    def nominal(self) -> int:
        """Index of the level at which nothing differs."""
        return self.levels.index(self.shift.nominal)


@dataclass(frozen=True)
class _Work:
    """Policies of a task that are to be measured under one condition."""

    task: str
    condition: Condition
    subjects: tuple[Subject | None, ...]
    together: bool


def measure_all(
    subjects: Sequence[Subject],
    wanted: Sequence[str],
    terms: Terms,
    store: Store,
    *,
    workers: int,
    step_timeout: float = 60.0,
    progress: Report = lambda done, of: None,
) -> list[Measured]:
    """Measure policies under the shifts of their tasks.

    Args:
        subjects: whose.
        wanted: shifts, with levels if others than their own are wanted (`mass=0.5,1,2`); none is
            all that a task has.
        terms: how.
        store: what is known already, and where all else is kept as soon as it is known.
        workers: processes.
        step_timeout: seconds that a step of a simulator may take.
        progress: called with how many measurements are done, and of how many.

    Raises:
        ConfigError: if a shift is none of a task's, a policy does not fit, or a task cannot be
            simulated even where nothing differs.
    """
    by_task: dict[str, list[Subject]] = {}
    for one in subjects:
        by_task.setdefault(one.task, []).append(one)
    plans = {task: plan(task, wanted) for task in by_task}
    scales = {task: _scale(task, own) for task, own in by_task.items()}
    keys = _Keys(terms, scales)
    work: list[_Work] = []
    for task, own in by_task.items():
        work += _missing(task, plans[task], own, store, keys)
    requests = [
        {
            "condition": asdict(one.condition),
            "policies": [None if s is None else str(s.policy) for s in one.subjects],
            "terms": asdict(terms),
            "scale": scales[one.task],
            "together": one.together,
            "allow": allowed(),
            "step_timeout": step_timeout,
        }
        for one in work
    ]
    total = sum(len(one.subjects) for one in work)
    done = 0
    progress(done, total)
    for number, answer in answered(requests, workers):
        one = work[number]
        # A process may also be ended from outside, or for want of time.
        (store.remember if "died" in answer else store.add)(_scores(one, answer, keys))
        done += len(one.subjects)
        progress(done, total)
    return [
        _measured(task, shift, own, store, keys)
        for task, own in by_task.items()
        for shift in plans[task]
    ]


class _Keys:
    """Keys of measurements, which look at each file and each task once.

    Args:
        terms: how it is measured.
        scales: of each task's observations.
    """

    def __init__(self, terms: Terms, scales: Mapping[str, list[float] | None]) -> None:
        self._terms, self._scales = terms, scales
        self._policies: dict[Path, str] = {}
        self._versions: dict[str, str] = {}

    def of(self, task: str, condition: Condition, subject: Subject | None) -> Key:
        if task not in self._versions:
            code = "" if catalog.find(task) else to_json(look(task)[1])
            self._versions[task] = versions_digest(code)
        if subject is not None and subject.policy not in self._policies:
            self._policies[subject.policy] = policy_digest(subject.policy)
        policy = RANDOM if subject is None else self._policies[subject.policy]
        noisy = condition.shift == "observation-noise"
        scale = short_hash(to_json(self._scales[task])) if noisy else ""
        return Key(condition, policy, self._terms, self._versions[task], scale)


def _missing(
    task: str,
    planned: Sequence[PlannedShift],
    subjects: Sequence[Subject],
    store: Store,
    keys: _Keys,
) -> list[_Work]:
    """Return what of a task is not known yet, in pieces of a size for one process."""
    work = []
    nominal = {_nominal(shift) for shift in planned}
    for condition in dict.fromkeys(c for shift in planned for _, c in shift.conditions):
        # What is earned at random is compared with what is earned where nothing differs.
        who = [*subjects, None] if condition in nominal else subjects
        left = [one for one in who if store.get(keys.of(task, condition, one)) is None]
        if not left:
            continue
        together = _compiled(task, condition)
        each = max(1, MAX_TOGETHER // MAX_ENVS) if together else 1
        work += [
            _Work(task, condition, tuple(left[i : i + each]), together)
            for i in range(0, len(left), each)
        ]
    return work


def _compiled(task: str, condition: Condition) -> bool:
    """Whether a condition is simulated by what steps many environments at once."""
    return condition.task == task and resolve(task).simulator != "gymnasium"


def _nominal(planned: PlannedShift) -> Condition:
    return next(c for level, c in planned.conditions if level == planned.shift.nominal)


def _scores(work: _Work, answer: dict[str, Any], keys: _Keys) -> list[tuple[Key, Score]]:
    scores = [Score(**one) for one in answer.get("scores", ())]
    if not scores:
        scores = [Score(None, f"the simulator's process ended ({answer['died']})")]
        scores *= len(work.subjects)
    return [
        (keys.of(work.task, work.condition, one), score)
        for one, score in zip(work.subjects, scores, strict=True)
    ]


def _measured(
    task: str, planned: PlannedShift, subjects: Sequence[Subject], store: Store, keys: _Keys
) -> Measured:
    def score(condition: Condition, subject: Subject | None) -> Score:
        found = store.get(keys.of(task, condition, subject))
        assert found is not None
        return found

    shift = planned.shift
    nominal = _nominal(planned)
    random = score(nominal, None)
    if random.mean is None:
        raise ConfigError(
            f"task {task!r} cannot be simulated as {nominal.task!r}, which shift {shift.name} "
            f"needs, even where nothing differs: {random.error}"
        )
    scores: dict[str, dict[int, tuple[Score, ...]]] = {}
    for one in subjects:
        row = tuple(score(condition, one) for _, condition in planned.conditions)
        scores.setdefault(one.variant, {})[one.seed] = row
    levels = tuple(level for level, _ in planned.conditions)
    return Measured(task, shift, nominal.task, levels, scores, random.mean)


def _scale(task: str, subjects: Sequence[Subject]) -> list[float] | None:
    """Return the standard deviation of each observation, a mean over what policies saw.

    None if no policy has normalised its observations; their noise is then in raw units.

    Raises:
        ConfigError: if a policy does not fit the task.
    """
    spec = resolve(task)
    policies = [load_policy(one.policy) for one in subjects]
    for policy in policies:
        require_fit(policy, spec)
    found = [
        np.sqrt(policy.tensors["observation.variance"])
        for policy in policies
        if "observation.variance" in policy.tensors
    ]
    return np.mean(found, axis=0).tolist() if found else None
