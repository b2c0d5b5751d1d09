"""Evaluation of a policy in fresh environments, with frozen statistics and in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from robustpo.base.files import one_line
from robustpo.environments.base import HostEnvironment
from robustpo.environments.make import make_host_environment
from robustpo.environments.task_arguments import split_arguments
from robustpo.errors import ConfigError
from robustpo.evaluation.episodes import EVALUATION_STREAM, Evaluation, play_episodes, use_origin
from robustpo.policy.policy import Policy

MAX_ENVS = 20


def recorded_task(policy: Policy) -> str:
    """Return the task that a policy's file names, unless making it would run what the file chose.

    Raises:
        ConfigError: if the file names no task, or one for which a module has to be imported.
    """
    task = policy.metadata.get("task")
    if not task:
        raise ConfigError("the policy does not say which task it was trained on; give it as --task")
    if ":" in split_arguments(task)[0]:
        raise ConfigError(
            f"the policy was trained on {task!r}, and a file does not decide which module is "
            f"imported; if you know that task, give it again as --task {one_line(task, 80)} (in "
            "Python task=..., by that name or as the function that makes it)"
        )
    return task


def make_evaluation(
    task: str | Callable[[], Any], episodes: int, seed: int, envs: int | None = None
) -> HostEnvironment:
    """Make the environments that an evaluation runs in, side by side.

    Args:
        task: id, `module:callable` or constructor.
        episodes: number of episodes.
        seed: seed of the evaluation.
        envs: how many; by default one per episode, but no more than 20.

    Raises:
        ConfigError: if the task or a number is not valid.
    """
    return make_host_environment(task, simulator_seeds(episodes, seed, envs))


def simulator_seeds(episodes: int, seed: int, envs: int | None = None) -> list[int]:
    """Return the seeds of the environments of an evaluation, never those of a training run.

    Raises:
        ConfigError: if a number is not valid.
    """
    for name, value, least in (("episodes", episodes, 1), ("seed", seed, 0), ("envs", envs, 1)):
        if value is not None and value < least:
            raise ConfigError(
                f"{name}={value} is not valid; expected a whole number of at least {least}"
            )
    count = min(episodes, envs or MAX_ENVS)
    words = np.random.SeedSequence([EVALUATION_STREAM, seed]).generate_state(count)
    return [int(word) & 0x7FFFFFFF for word in words]


def evaluate_policy(
    policy: Policy,
    task: str | Callable[[], Any],
    *,
    episodes: int = 100,
    deterministic: bool = True,
    seed: int = 0,
    max_steps: int | None = None,
    envs: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
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
        max_steps: steps after which an episode is cut that goes on; by default 10,000, or the
            task's own time limit if that is longer.
        envs: environments side by side; by default one per episode, but no more than 20.
        should_stop: asked before every step.

    Raises:
        ConfigError: if the task is unknown or does not fit the policy.
        SimulatorError: if an environment raises, or what it returns is not finite.
        Stopped: if `should_stop` said so.
    """
    environment = make_evaluation(task, episodes, seed, envs)
    try:
        policy = use_origin(policy, environment)
        (found,) = play_episodes(
            [policy],
            environment,
            episodes=episodes,
            deterministic=deterministic,
            seed=seed,
            max_steps=max_steps,
            should_stop=should_stop,
        )
        return found
    finally:
        environment.close()
