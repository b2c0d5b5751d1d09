"""Evaluations made during training: tried before it begins, and handed to the trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from robustpo.config.run import RunConfig
from robustpo.environments.base import Environment
from robustpo.errors import ConfigError, EnvironmentMismatch
from robustpo.evaluation.episodes import Stopped
from robustpo.evaluation.evaluate import evaluate_policy, make_evaluation
from robustpo.policy.policy import Policy
from robustpo.training.trainer import Evaluate


def try_evaluation(configs: Sequence[RunConfig], task: Any, environment: Environment) -> None:
    """Make the environments of an evaluation once: what fails then would fail while training.

    Args:
        configs: what is to be trained.
        task: the task, or its constructor.
        environment: the simulators that train, beside which they are made.

    Raises:
        EnvironmentMismatch: if they cannot be made.
    """
    evaluated = [config for config in configs if config.eval_every]
    if not evaluated or environment.spec.simulator == "envpool":
        return
    episodes = max(config.eval_episodes for config in evaluated)
    try:
        make_evaluation(task, episodes, seed=0).close()
    except ConfigError as error:
        raise EnvironmentMismatch(
            "no environments to evaluate in (--eval-every) can be made beside those that "
            f"train, evaluate afterwards instead: {error}"
        ) from error


def evaluator(task: Any, should_stop: Callable[[], bool]) -> Evaluate:
    """Return what evaluates policies on a task, and gives up when it is asked to stop."""

    def evaluate(policy: Policy, episodes: int, seed: int) -> dict[str, Any] | None:
        try:
            found = evaluate_policy(
                policy, task, episodes=episodes, seed=seed, should_stop=should_stop
            )
        except Stopped:
            return None
        return found.as_dict()

    return evaluate
