"""From the name of a task to its sizes and its simulator.

A name is looked up in the catalog first (EnvPool, fast), then as `module:callable`, then in
Gymnasium's registry. `gymnasium/Pendulum-v1` skips the catalog and steps Gymnasium's own
implementation from the host.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from robustpo.environments import catalog
from robustpo.environments.base import HostEnvironment, TaskSpec, TracedEnvironment

Task = str | Callable[[], Any]


def resolve(task: Task) -> TaskSpec:
    """Return sizes and limits of a task, or say why it cannot be trained, before any compilation.

    A catalogued task is answered from data alone; any other is constructed once and closed.

    Raises:
        ConfigError: if the task is unknown, its constructor fails, its actions are discrete or its
            observations are images.
    """
    entry = _catalogued(task)
    if entry is not None:
        return catalog.spec(entry)
    from robustpo.environments import gymnasium

    return gymnasium.inspect(task)


def make_environment(task: Task, env_seeds: Sequence[int]) -> TracedEnvironment | HostEnvironment:
    """Make the fastest simulator of a task, one environment per seed, for training.

    Raises:
        ConfigError: as `resolve`, or if the platform cannot run the task's simulator.
    """
    entry = _catalogued(task)
    if entry is None:
        return make_host_environment(task, env_seeds)
    from robustpo.environments.envpool import EnvPoolEnvironment

    return EnvPoolEnvironment(entry, env_seeds)


def make_host_environment(task: Task, env_seeds: Sequence[int]) -> HostEnvironment:
    """Make a simulator that is stepped with NumPy arrays, for policies that act without JAX.

    Raises:
        ConfigError: as `resolve`.
    """
    entry = _catalogued(task)
    if entry is not None:
        from robustpo.environments.envpool import HostEnvPool

        return HostEnvPool(entry, env_seeds)
    from robustpo.environments.gymnasium import GymnasiumEnvironment

    return GymnasiumEnvironment(task, env_seeds)


def list_tasks() -> list[TaskSpec]:
    """Return every catalogued task, suite by suite; any Gymnasium task works besides these."""
    return [catalog.spec(entry) for entry in catalog.CATALOG.values()]


def _catalogued(task: Task) -> catalog.Entry | None:
    return catalog.find(task) if isinstance(task, str) else None
