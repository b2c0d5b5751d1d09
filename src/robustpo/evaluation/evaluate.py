"""Evaluation of a policy in fresh environments, with frozen statistics and in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from robustpo.environments.base import ExactEnvironment, HostEnvironment
from robustpo.environments.make import make_host_environment
from robustpo.environments.watchdog import watching
from robustpo.errors import ConfigError
from robustpo.policy import Policy

MAX_ENVS = 20
EVALUATION_STREAM = 0x0E7A1
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Evaluation:
    """Returns of whole episodes.

    Attributes:
        returns: undiscounted raw returns, one per episode.
        lengths: steps of each episode.
    """

    returns: tuple[float, ...]
    lengths: tuple[int, ...]

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
        from scipy import stats

        count = len(self.returns)
        if count < 2:
            return (float("nan"), float("nan"))
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * self.std / math.sqrt(count)
        return (self.mean - half, self.mean + half)

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
        }


def recorded_task(policy: Policy) -> str:
    """Return the task that a policy's file names, unless making it would run what the file chose.

    Raises:
        ConfigError: if the file names no task, or one for which a module has to be imported.
    """
    task = policy.metadata.get("task")
    if not task:
        raise ConfigError("the policy does not say which task it was trained on; give it as --task")
    if ":" in task:
        raise ConfigError(
            f"the policy was trained on {task!r}, and a file does not decide which module is "
            "imported; if you know that task, give it again as --task"
        )
    return task


def evaluate_policy(
    policy: Policy,
    task: str | Callable[[], Any],
    *,
    episodes: int = 100,
    deterministic: bool = True,
    seed: int = 0,
) -> Evaluation:
    """Run whole episodes of a task with a policy.

    Environments run side by side and each contributes the same number of episodes (the first ones
    one more where they do not divide), so short episodes are not favoured.

    Args:
        policy: acts with its frozen statistics.
        task: id, `module:callable` or constructor.
        episodes: number of episodes.
        deterministic: the policy's mode; otherwise its samples.
        seed: seed of simulators and samples; its simulators' seeds are never those of a training
            run's.

    Raises:
        ConfigError: if the task is unknown or does not fit the policy.
    """
    if episodes < 1:
        raise ConfigError(f"episodes={episodes} is not valid; expected at least 1")
    if seed < 0:
        raise ConfigError(f"seed={seed} is not valid; expected a whole number of at least 0")
    count = min(episodes, MAX_ENVS)
    words = np.random.SeedSequence([EVALUATION_STREAM, seed]).generate_state(count)
    environment = make_host_environment(task, [int(word) & 0x7FFFFFFF for word in words])
    spec = environment.spec
    if (spec.observation_size, spec.action_size) != (policy.observation_size, policy.action_size):
        raise ConfigError(
            f"the policy takes {policy.observation_size} observations and gives "
            f"{policy.action_size} actions, task {spec.id!r} has {spec.observation_size} and "
            f"{spec.action_size}; evaluate it on the task it was trained on"
        )
    quota = np.full(count, episodes // count) + (np.arange(count) < episodes % count)
    policy = use_origin(policy, environment)
    try:
        with watching():
            return _run_episodes(policy, environment, quota, deterministic, seed)
    finally:
        environment.close()


def use_origin(policy: Policy, environment: HostEnvironment) -> Policy:
    """Let an environment subtract a policy's origin, if it can, before it rounds to float32.

    Returns:
        The policy that acts on what the environment then observes.
    """
    if policy.origin is None or not isinstance(environment, ExactEnvironment):
        return policy
    environment.set_origin(np.tile(policy.origin, (environment.num_envs, 1)))
    return policy.without_origin()


def _run_episodes(
    policy: Policy, environment: Any, quota: np.ndarray, deterministic: bool, seed: int
) -> Evaluation:
    rng = np.random.default_rng([EVALUATION_STREAM, seed])
    obs = environment.reset()
    totals, steps = np.zeros(len(quota)), np.zeros(len(quota), int)
    done_episodes: list[list[tuple[float, int]]] = [[] for _ in quota]
    while any(len(done) < wanted for done, wanted in zip(done_episodes, quota, strict=True)):
        step = environment.step(policy(obs, deterministic=deterministic, rng=rng))
        totals += np.where(step.valid, step.reward, 0.0)
        steps += step.valid
        for i in np.flatnonzero((step.terminated | step.truncated) & step.valid):
            if len(done_episodes[i]) < quota[i]:
                done_episodes[i].append((float(totals[i]), int(steps[i])))
            totals[i], steps[i] = 0.0, 0
        obs = step.obs
    flat = [episode for done in done_episodes for episode in done]
    return Evaluation(tuple(r for r, _ in flat), tuple(n for _, n in flat))
