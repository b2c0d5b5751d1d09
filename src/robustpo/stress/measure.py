"""Evaluating policies under one condition; in a worker process, which knows nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robustpo.environments.base import HostEnvironment
from robustpo.environments.constructors import find_constructor
from robustpo.environments.dynamics import with_dynamics
from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.make import make_host_environment
from robustpo.environments.shifts import SHIFTS, DisturbedEnvironment
from robustpo.errors import ConfigError, SimulatorError
from robustpo.evaluation.episodes import Evaluation, play_episodes, use_origin
from robustpo.evaluation.evaluate import simulator_seeds
from robustpo.policy.policy import Policy
from robustpo.stress.plan import Condition


@dataclass(frozen=True)
class Terms:
    """How everything is measured.

    Attributes:
        episodes: of each policy under each condition.
        seed: of simulators, of what is random in a shift, and of samples.
        deterministic: whether policies act by their mode.
        max_steps: steps after which an episode is cut; None as in `evaluate_policy`.
    """

    episodes: int = 10
    seed: int = 0
    deterministic: bool = True
    max_steps: int | None = None


@dataclass(frozen=True)
class Score:
    """What one policy came to under a condition.

    Attributes:
        mean: mean return; None if the simulator broke.
        error: how it did.
        cut: episodes that were cut.
    """

    mean: float | None
    error: str | None = None
    cut: int = 0


class RandomPolicy(Policy):
    """Uniform actions within the bounds, whatever is observed: what is earned without any skill.

    Args:
        environment: whose sizes and bounds it takes. Where there is no bound, it is ±1.
    """

    def __init__(self, environment: HostEnvironment) -> None:
        spec = environment.spec
        low, high = np.array(spec.action_low), np.array(spec.action_high)
        tensors = {
            "actor.0.weight": np.zeros((spec.observation_size, spec.action_size), np.float32),
            "action.low": np.where(np.isfinite(low), low, -1.0).astype(np.float32),
            "action.high": np.where(np.isfinite(high), high, 1.0).astype(np.float32),
        }
        super().__init__(tensors, {})

    def __call__(
        self, obs: Any, *, deterministic: bool = True, rng: np.random.Generator | None = None
    ) -> Any:
        """Choose actions at random."""
        low, high = self.tensors["action.low"], self.tensors["action.high"]
        rng = rng or np.random.default_rng()
        return rng.uniform(low, high, (len(obs), len(low))).astype(np.float32)


def measure(
    condition: Condition,
    policies: Sequence[Policy | None],
    terms: Terms,
    *,
    scale: np.ndarray | None = None,
    together: bool,
) -> list[Score]:
    """Evaluate policies under a condition, in episodes of the same seeds.

    Args:
        condition: what differs.
        policies: who acts; None acts at random.
        terms: how.
        scale: of each observation, for its noise `[O]`.
        together: whether all are stepped at once, which compiled simulators do faster.

    Raises:
        ConfigError: if a policy does not fit the task.
    """
    if together and len(policies) > 1:
        scores = _measure(condition, policies, terms, scale)
        if all(score.error is None for score in scores):
            return scores
        # Which of them it was that the simulator did not survive.
    return [_measure(condition, [one], terms, scale)[0] for one in policies]


def _measure(
    condition: Condition,
    policies: Sequence[Policy | None],
    terms: Terms,
    scale: np.ndarray | None,
) -> list[Score]:
    try:
        found = _play(condition, policies, terms, scale)
    except SimulatorError as error:
        return [Score(None, str(error))] * len(policies)
    return [Score(one.mean, None, one.cut) for one in found]


def _play(
    condition: Condition,
    policies: Sequence[Policy | None],
    terms: Terms,
    scale: np.ndarray | None,
) -> list[Evaluation]:
    seeds = simulator_seeds(terms.episodes, terms.seed)
    environment = _make(condition, seeds, len(policies))
    try:
        actors = [one or RandomPolicy(environment) for one in policies]
        if len(actors) == 1:
            actors = [use_origin(actors[0], environment)]
        return play_episodes(
            actors,
            _disturbed(environment, condition, terms, len(policies), scale),
            episodes=terms.episodes,
            deterministic=terms.deterministic,
            seed=terms.seed,
            max_steps=terms.max_steps,
        )
    finally:
        environment.close()


def _make(condition: Condition, seeds: list[int], copies: int) -> HostEnvironment:
    """Make the environments of a condition, as often as there are policies.

    Raises:
        SimulatorError: if the level does not let them be made.
    """
    shift = SHIFTS.get(condition.shift)
    try:
        if shift is None or shift.kind != "dynamics":
            return make_host_environment(condition.task, seeds, copies=copies)
        constructor: Callable[[], Any] = find_constructor(condition.task)
        changed = with_dynamics(constructor, shift.name, condition.level)
        return GymnasiumEnvironment(changed, seeds * copies, name=condition.task)
    except ConfigError as error:
        raise SimulatorError(str(error)) from error


def _disturbed(
    environment: HostEnvironment,
    condition: Condition,
    terms: Terms,
    copies: int,
    scale: np.ndarray | None,
) -> HostEnvironment:
    shift = SHIFTS.get(condition.shift)
    if shift is None or shift.kind == "dynamics":
        return environment
    return DisturbedEnvironment(
        environment, shift, condition.level, seed=terms.seed, copies=copies, scale=scale
    )
