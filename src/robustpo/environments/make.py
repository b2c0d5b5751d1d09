"""From the name of a task to its sizes and its simulator.

A name is looked up in the catalog first, then as `brax/` or `playground/`, then as
`module:callable`, then in Gymnasium's registry. `gymnasium/` before a name skips the catalog and
steps the benchmark's own implementation from the host: `gymnasium/Pendulum-v1`,
`gymnasium/dm_control/walker-walk-v0`. What a callable returns decides how it is stepped: a
`gymnasium.Env` on the host, a `JaxTask` inside the compiled program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from robustpo.environments import catalog
from robustpo.environments.availability import require_extra
from robustpo.environments.base import HostEnvironment, TaskSpec, TracedEnvironment
from robustpo.environments.entry import Entry
from robustpo.errors import ConfigError

Task = str | Callable[[], Any]


def resolve(task: Task) -> TaskSpec:
    """Return sizes and limits of a task, or say why it cannot be trained, before any compilation.

    A catalogued task is answered from data alone, once what it needs is found to be installed; any
    other is constructed once and closed.

    Raises:
        ConfigError: if the task is unknown, what it needs is not installed, its constructor fails,
            its actions are discrete or its observations are images.
    """
    entry = require_installed(task)
    if entry is not None:
        return catalog.spec(entry)
    from robustpo.environments.constructors import construct, find_constructor, task_name

    name = task_name(task)
    made = construct(name, find_constructor(task))
    if is_jax_task(made):
        from robustpo.environments.jax_task import describe

        return describe(made, name)
    from robustpo.environments.inspection import inspect
    from robustpo.environments.vector_inspection import inspect_vector, is_vector

    return inspect_vector(task, made) if is_vector(made) else inspect(task, made)


def look(task: Task) -> tuple[TaskSpec, dict[str, Any]]:
    """Return what `resolve` returns and what the task is (`fingerprint`), from one environment.

    Raises:
        ConfigError: as `resolve`.
    """
    entry = _catalogued(task)
    if entry is not None:
        from robustpo.environments.entry_fingerprint import of_entry

        return resolve(task), of_entry(entry)
    from robustpo.environments.fingerprint import fingerprint

    environment = make_environment(task, [0])
    try:
        return environment.spec, fingerprint(environment, task)
    finally:
        if isinstance(environment, HostEnvironment):
            environment.close()


def make_environment(
    task: Task, env_seeds: Sequence[int], *, processes: int = 0, per_agent: int | None = None
) -> TracedEnvironment | HostEnvironment:
    """Make the fastest simulator of a task, one environment per seed, for training.

    Args:
        task: the task.
        env_seeds: one seed per environment.
        processes: processes that step environments on the host; 0 steps them in this one.
        per_agent: environments that belong to one agent; None does not care.

    Raises:
        ConfigError: as `resolve`, if the platform cannot run the task's simulator, or if the task
            is a vector of another number of environments than an agent is to have.
    """
    entry = require_installed(task)
    if entry is not None and entry.simulator == "envpool":
        from robustpo.environments.envpool import EnvPoolEnvironment

        return EnvPoolEnvironment(entry, env_seeds)
    environment = _make(task, env_seeds, processes, per_agent or 1)
    try:
        require_num_envs(environment.spec, per_agent)
    except ConfigError:
        environment.close()
        raise
    return environment


def make_host_environment(
    task: Task, env_seeds: Sequence[int], *, processes: int = 0, copies: int = 1
) -> HostEnvironment:
    """Make a simulator that is stepped with NumPy arrays, for policies that act without JAX.

    Args:
        task: the task.
        env_seeds: one seed per environment; of a vector environment there are more, where they do
            not fill it.
        processes: as in `make_environment`.
        copies: how often these environments are made, one after the other.

    Raises:
        ConfigError: as `make_environment`.
    """
    entry = require_installed(task)
    if entry is not None and entry.simulator == "envpool":
        from robustpo.environments.envpool import HostEnvPool

        return HostEnvPool(entry, [*env_seeds] * copies)
    environment = _make(task, env_seeds, processes, copies=copies)
    if isinstance(environment, HostEnvironment):
        return environment
    from robustpo.environments.jax_environment import HostJaxEnvironment

    return HostJaxEnvironment(environment)


def require_num_envs(spec: TaskSpec, num_envs: int | None) -> None:
    """Raise `ConfigError` if a task is a vector of another number of environments than is asked."""
    if spec.num_envs is not None and num_envs not in (None, spec.num_envs):
        raise ConfigError(
            f"num_envs={num_envs} contradicts task {spec.id!r}, which is a vector of "
            f"{spec.num_envs} environments; leave num_envs out, or make another vector"
        )


def _make(
    task: Task, env_seeds: Sequence[int], processes: int, per_agent: int = 1, copies: int = 1
) -> Any:
    """Make a simulator that is not EnvPool's."""
    from robustpo.environments.constructors import (
        construct,
        find_constructor,
        load_source,
        task_name,
    )
    from robustpo.environments.fence import Fence

    entry, every = _catalogued(task), [*env_seeds] * copies
    if entry is not None and entry.simulator == "mujoco":
        return load_source(entry)(every)
    if entry is None or entry.simulator == "jax":
        name = task_name(task)
        fence = Fence(name, env_seeds[0], 0)
        made = construct(name, find_constructor(task), fence)
        if is_jax_task(made):
            from robustpo.environments.jax_environment import JaxEnvironment

            suite = entry.suite if entry else "Custom"
            return JaxEnvironment(made, every, name=name, suite=suite, per_agent=per_agent)
        if _is_vector(made):
            from robustpo.environments.vector import make_vector

            return make_vector(task, name, (fence, made), env_seeds, copies, processes)
        if not processes:
            from robustpo.environments.gymnasium import GymnasiumEnvironment

            return GymnasiumEnvironment(task, every, name=name, first=(fence, made))
        if callable(getattr(made, "close", None)):
            fence.close(made)
    if processes:
        from robustpo.environments.processes import ProcessEnvironment

        environment = ProcessEnvironment(task, every, processes)
    else:
        from robustpo.environments.gymnasium import GymnasiumEnvironment

        environment = GymnasiumEnvironment(task, every)
    if entry is not None:
        environment.spec = catalog.spec(entry)
    return environment


def list_tasks() -> list[TaskSpec]:
    """Return every catalogued task, suite by suite; any Gymnasium task works besides these."""
    return [catalog.spec(entry) for entry in catalog.CATALOG.values()]


def require_installed(task: Task) -> Entry | None:
    """Return a task's entry in the catalog, None for any other task.

    Raises:
        ConfigError: if what a catalogued task needs is not installed.
    """
    entry = _catalogued(task)
    if entry is not None and entry.extra:
        require_extra(entry.extra, f"task {entry.id!r}")
    return entry


def _catalogued(task: Task) -> Entry | None:
    return catalog.find(task) if isinstance(task, str) else None


def _is_vector(made: object) -> bool:
    from robustpo.environments.vector_inspection import is_vector

    return is_vector(made)


def is_jax_task(made: object) -> bool:
    """Return whether what a constructor made is a `JaxTask`."""
    # Whoever made one has imported its module; nobody else should have to import JAX.
    module = sys.modules.get("robustpo.environments.jax_task")
    return module is not None and isinstance(made, module.JaxTask)
