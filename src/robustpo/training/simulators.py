"""The simulators that a population trains in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robustpo.config.run import RunConfig
from robustpo.environments.base import HostEnvironment, TracedEnvironment
from robustpo.environments.make import make_environment
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
