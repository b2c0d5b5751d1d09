"""The simulators that a population trains in, and those that it is evaluated in meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robustpo.config import RunConfig
from robustpo.environments.base import HostEnvironment, TracedEnvironment
from robustpo.environments.make import make_environment
from robustpo.errors import ConfigError, EnvironmentMismatch
from robustpo.evaluation.evaluate import make_evaluation
from robustpo.training.population import simulator_seeds


def make_simulators(
    configs: Sequence[RunConfig], task: Any, env_processes: int = 0
) -> TracedEnvironment | HostEnvironment:
    """Make the simulators of a population, those of its first agent first.

    Raises:
        ConfigError: as `make_environment`.
    """
    seeds = [seed for config in configs for seed in simulator_seeds(config)]
    per_agent = configs[0].shape.num_envs
    return make_environment(task, seeds, processes=env_processes, per_agent=per_agent)


def try_evaluation(
    configs: Sequence[RunConfig], task: Any, environment: TracedEnvironment | HostEnvironment
) -> None:
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
