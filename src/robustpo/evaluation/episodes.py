"""Whole episodes of policies in environments side by side, and what they came to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robustpo.environments.base import ExactEnvironment, HostEnvironment, TaskSpec
from robustpo.environments.watchdog import watching
from robustpo.errors import ConfigError, SimulatorError
from robustpo.policy.policy import Policy

# Steps after which an episode is cut whose task has no time limit, or a longer one.
MAX_STEPS = 10_000
EVALUATION_STREAM = 0x0E7A1
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Evaluation:
    """Returns of whole episodes.

    Attributes:
        returns: undiscounted raw returns, one per episode.
        lengths: steps of each episode.
        cut: how many of them had not ended by themselves when they were cut; their returns are
            those so far.
    """

    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    cut: int = 0

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Sample standard deviation of the return (ddof 1); NaN for one episode."""
        return float(np.std(self.returns, ddof=1)) if len(self.returns) > 1 else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95% t interval of the mean over episodes; NaN for one episode."""
        return t_interval(self.mean, self.std, len(self.returns))

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as plain data."""
        low, high = self.interval
        return {
            "episodes": len(self.returns),
            "mean": self.mean,
            "std": self.std,
            "interval_low": low,
            "interval_high": high,
            "min": min(self.returns),
            "max": max(self.returns),
            "length_mean": float(np.mean(self.lengths)),
            "cut": self.cut,
        }


@dataclass(frozen=True)
class Evaluations(Evaluation):
    """Returns of the policies of several runs, each in the same episodes.

    `returns` and `lengths` are of all episodes, run by run; `std` and `interval` are over the means
    of the runs, since episodes of one policy say nothing of another seed's.

    Attributes:
        runs: the evaluation of each, by the name of its run, such as `seed-0`.
        without_policy: names of the runs that hold no policy (yet).
    """

    runs: Mapping[str, Evaluation] = field(default_factory=dict)
    without_policy: tuple[str, ...] = ()

    @classmethod
    def of(cls, runs: Mapping[str, Evaluation], without_policy: tuple[str, ...]) -> Evaluations:
        """Put the evaluations of runs together."""
        found = list(runs.values())
        returns = tuple(value for one in found for value in one.returns)
        lengths = tuple(length for one in found for length in one.lengths)
        return cls(returns, lengths, sum(one.cut for one in found), runs, without_policy)

    @property
    def std(self) -> float:
        """Sample standard deviation over runs of their mean returns; NaN for one run."""
        means = [one.mean for one in self.runs.values()]
        return float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95% t interval of the mean over runs; NaN for one run."""
        return t_interval(self.mean, self.std, len(self.runs))

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as plain data."""
        runs = {name: one.as_dict() for name, one in self.runs.items()}
        return super().as_dict() | {"runs": runs, "without_policy": list(self.without_policy)}


def t_interval(mean: float, std: float, count: int) -> tuple[float, float]:
    """Return the 95% t interval of a mean; NaN for one value."""
    from scipy import stats

    if count < 2:
        return (float("nan"), float("nan"))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * std / math.sqrt(count)
    return (mean - half, mean + half)


class Stopped(Exception):
    """An evaluation was asked to stop before its episodes had ended."""


def step_limit(spec: TaskSpec, max_steps: int | None = None) -> int:
    """Return after how many steps an episode is cut: as asked, else no earlier than its own limit.

    Raises:
        ConfigError: if `max_steps` is below 1.
    """
    if max_steps is None:
        return max(MAX_STEPS, spec.episode_limit or 0)
    if max_steps < 1:
        raise ConfigError(f"max_steps={max_steps} is not valid; expected at least 1")
    return max_steps


def play_episodes(
    policies: Sequence[Policy],
    environment: HostEnvironment,
    *,
    episodes: int,
    deterministic: bool = True,
    seed: int = 0,
    max_steps: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Evaluation]:
    """Run whole episodes with policies that are stepped side by side.

    Args:
        policies: `P` of them; each acts in its own part of the environments, the first policy in
            the first `N / P`, and draws its samples as if it were alone.
        environment: `N` environments, the same seeds for every policy.
        episodes: number of episodes of each.
        deterministic: as in `evaluate_policy`, like all that follow.
        seed: of the samples.
        max_steps: steps after which an episode is cut.
        should_stop: asked before every step.

    Returns:
        The evaluation of each policy.

    Raises:
        ConfigError: if a policy does not fit the task.
        SimulatorError: if an environment raises, or what it returns is not finite.
        Stopped: if `should_stop` said so.
    """
    for policy in policies:
        require_fit(policy, environment.spec)
    limit, count = step_limit(environment.spec, max_steps), environment.num_envs // len(policies)
    quota = np.full(count, episodes // count) + (np.arange(count) < episodes % count)
    rngs = [np.random.default_rng([EVALUATION_STREAM, seed]) for _ in policies]

    def act(obs: np.ndarray) -> np.ndarray:
        parts = np.split(obs, len(policies))
        return np.concatenate(
            [
                policy(part, deterministic=deterministic, rng=rng)
                for policy, part, rng in zip(policies, parts, rngs, strict=True)
            ]
        )

    with watching():
        played = _Episodes(environment, np.tile(quota, len(policies)), limit)
        played.run(act, should_stop)
    return [played.found(slice(i * count, (i + 1) * count)) for i in range(len(policies))]


def require_fit(policy: Policy, spec: TaskSpec) -> None:
    """Raise `ConfigError` if a policy is of another size than a task."""
    if (spec.observation_size, spec.action_size) != (policy.observation_size, policy.action_size):
        raise ConfigError(
            f"the policy takes {policy.observation_size} observations and gives "
            f"{policy.action_size} actions, task {spec.id!r} has {spec.observation_size} and "
            f"{spec.action_size}; evaluate it on the task it was trained on"
        )


def require_finite(spec: TaskSpec, obs: np.ndarray, reward: np.ndarray | float = 0.0) -> None:
    """Raise `SimulatorError` at what no policy can act on, and no return can count."""
    for name, value in (("an observation", obs), ("a reward", reward)):
        if not np.isfinite(value).all():
            raise SimulatorError(
                f"task {spec.id!r}: {name} is not finite; find the division, root or logarithm "
                "that makes it (envs TASK --check looks for more)"
            )


def require_action(action: np.ndarray) -> None:
    """Raise `ConfigError` if a policy has no answer to an observation that is finite."""
    if not np.isfinite(action).all():
        raise ConfigError(
            f"the policy answers {action.tolist()}, which is no action: its weights are so large "
            "that float32 cannot hold what they make; train again, or take the best one (--best)"
        )


def use_origin(policy: Policy, environment: HostEnvironment) -> Policy:
    """Let an environment subtract a policy's origin, if it can, before it rounds to float32.

    Returns:
        The policy that acts on what the environment then observes.
    """
    if policy.origin is None or not isinstance(environment, ExactEnvironment):
        return policy
    environment.set_origin(np.tile(policy.origin, (environment.num_envs, 1)))
    return policy.without_origin()


class _Episodes:
    """Episodes of environments side by side.

    An environment whose episode was cut waits, still stepped, until all others wait too or have
    played theirs: one of many cannot be reset alone.
    """

    def __init__(self, environment: HostEnvironment, quota: np.ndarray, limit: int) -> None:
        self._environment, self._quota, self._limit = environment, quota, limit
        # Return, length and whether it was cut of each episode, by environment.
        self._done: list[list[tuple[float, int, bool]]] = [[] for _ in quota]
        self._begin()

    def _begin(self) -> None:
        self._obs = self._environment.reset()
        require_finite(self._environment.spec, self._obs)
        self._totals, self._steps = np.zeros(len(self._quota)), np.zeros(len(self._quota), int)
        self._waits = np.array([self._played(i) for i in range(len(self._quota))])

    def _played(self, index: int) -> bool:
        return len(self._done[index]) >= self._quota[index]

    def run(self, act: Callable[[np.ndarray], np.ndarray], should_stop: Callable[[], bool]) -> None:
        while True:
            if self._waits.all():
                if all(self._played(i) for i in range(len(self._quota))):
                    break
                self._begin()
            if should_stop():
                raise Stopped
            action = act(self._obs)
            require_action(action[~self._waits])
            self._step(action)

    def found(self, which: slice) -> Evaluation:
        """Return what some of the environments have played."""
        flat = [episode for done in self._done[which] for episode in done]
        returns, lengths, cut = zip(*flat, strict=True)
        return Evaluation(returns, lengths, sum(cut))

    def _step(self, action: np.ndarray) -> None:
        step = self._environment.step(action)
        counts = ~self._waits
        require_finite(self._environment.spec, step.obs[counts], step.reward[counts])
        self._totals += np.where(step.valid, step.reward, 0.0)
        self._steps += step.valid
        ended = (step.terminated | step.truncated) & step.valid
        cut = ~ended & (self._steps >= self._limit) & ~self._waits
        for i in np.flatnonzero(ended | cut).tolist():
            if not self._waits[i]:
                self._done[i].append((float(self._totals[i]), int(self._steps[i]), bool(cut[i])))
                self._waits[i] = cut[i] or self._played(i)
            self._totals[i], self._steps[i] = 0.0, 0
        self._obs = step.obs
