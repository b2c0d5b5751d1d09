"""From what a person writes as a task to a callable that makes one Gymnasium environment."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.vector import VectorEnv

from robustpo.base.files import one_line
from robustpo.environments import catalog
from robustpo.environments.availability import require_extra
from robustpo.environments.callables import callable_name
from robustpo.environments.entry import Entry
from robustpo.environments.fence import Fence, describe, importing, is_stop
from robustpo.environments.requirements import require_wrapped
from robustpo.environments.task_arguments import VECTOR_PREFIX, split_arguments
from robustpo.environments.wrappers import require_new
from robustpo.errors import ConfigError

# Forces the benchmark's own implementation of a task that the catalog would run in EnvPool.
GYMNASIUM_PREFIX = catalog.GYMNASIUM_PREFIX
# Any of their tasks trains, the catalogued ones and the others.
BRAX_PREFIX = "brax/"
PLAYGROUND_PREFIX = "playground/"


def find_constructor(task: str | Callable[..., Any]) -> Callable[[], Any]:
    """Return what makes one environment of `task`.

    Raises:
        ConfigError: if an id is not registered, or a module or its callable is not to be found.
    """
    if callable(task):
        return task
    if not isinstance(task, str):
        raise ConfigError(
            f"task={task!r} is a {type(task).__name__}; expected an id, `module:callable` or a "
            "callable that returns a gymnasium.Env"
        )
    name, arguments = split_arguments(task)
    found = _find(name)
    return functools.partial(found, **arguments) if arguments else found


def _find(task: str) -> Callable[..., Any]:
    if task.startswith(VECTOR_PREFIX):
        return _vector(task.removeprefix(VECTOR_PREFIX), task)
    module_name, colon, rest = task.partition(":")
    if not colon:
        return _by_name(task.removeprefix(GYMNASIUM_PREFIX), task)
    module = _import(module_name, task)
    if rest in gymnasium.registry:
        return _registered(rest, task)
    return _attribute(module, rest, task)


def construct(name: str, constructor: Callable[[], Any], fence: Fence | None = None) -> Any:
    """Return what a task's constructor makes, or say in one line why it does not.

    Args:
        name: what errors call the task.
        constructor: makes it.
        fence: the one to call it through; by default one of its own.

    Raises:
        ConfigError: if it raises, or returns an environment that it has returned before.
    """
    fence = fence or Fence(name)
    made = fence.construct(constructor)
    with fence.reading():
        if isinstance(made, gymnasium.Env):
            require_wrapped(name, made)
        if isinstance(made, gymnasium.Env | VectorEnv):
            require_new(name, made)
    return made


def load_source(entry: Entry) -> Callable[..., Any]:
    """Return what builds one environment, or a batch of them, of a catalogued task.

    Raises:
        ConfigError: if a package that it needs is not installed.
    """
    if entry.extra:
        require_extra(entry.extra, f"task {entry.id!r}")
    module, _, name = entry.source.partition(":")
    found = getattr(importlib.import_module(module), name)
    return functools.partial(found, **entry.options) if entry.options else found


def task_name(task: str | Callable[..., Any]) -> str:
    """Return the name a task is recorded under: its id, or that of its constructor."""
    return task if isinstance(task, str) else callable_name(task)


def is_registered(task: str) -> bool:
    """Whether a task names an id of Gymnasium's registry, with or without a package before it."""
    name = split_arguments(task)[0].removeprefix(GYMNASIUM_PREFIX).removeprefix(VECTOR_PREFIX)
    return name.rpartition(":")[2] in gymnasium.registry


def _by_name(task_id: str, task: str) -> Callable[[], Any]:
    entry = catalog.find(task_id)
    if entry and entry.suite == "DeepMind Control":
        require_extra("dm-control", f"task {task!r}")
        from robustpo.environments.dm_control import make_dm_control

        return functools.partial(make_dm_control, task_id)
    if entry and entry.simulator in ("gymnasium", "jax"):
        return load_source(entry)
    if task_id.startswith(BRAX_PREFIX):
        require_extra("mjx", f"task {task!r}")
        from robustpo.environments.brax_task import make_brax

        return functools.partial(make_brax, task_id.removeprefix(BRAX_PREFIX))
    if task_id.startswith(PLAYGROUND_PREFIX):
        require_extra("mjx", f"task {task!r}")
        from robustpo.environments.brax_task import make_playground

        return functools.partial(make_playground, task_id.removeprefix(PLAYGROUND_PREFIX))
    return _registered(task_id, task)


def _registered(task_id: str, task: str) -> Callable[[], Any]:
    # gymnasium.make would accept an id without a version and pick the newest; a task whose
    # meaning changes with an upgrade must not be recorded under that name.
    if task_id not in gymnasium.registry:
        raise catalog.unknown_task(task, gymnasium.registry)
    # The checker repeats at every step what `_build` settles once.
    return functools.partial(gymnasium.make, task_id, disable_env_checker=True)


def _vector(task_id: str, task: str) -> Callable[..., Any]:
    """Return what makes a vector of a registered id, with the entry point that it has for that."""
    module_name, colon, registered = task_id.rpartition(":")
    if colon:
        _import(module_name, task)
    if registered not in gymnasium.registry:
        raise catalog.unknown_task(task, gymnasium.registry)
    return functools.partial(gymnasium.make_vec, registered)


def _import(name: str, task: str) -> types.ModuleType:
    try:
        with importing():
            return _import_from_here(name)
    except BaseException as error:
        if is_stop(error):
            raise
        raise ConfigError(
            f"task {task!r}: module {name!r} could not be imported ({describe(error)}); "
            "check its name, or put its folder on PYTHONPATH"
        ) from error


def _import_from_here(name: str) -> types.ModuleType:
    """Import a module; a file in the working directory counts, as with `python -m`.

    Installed commands do not have that directory on the path, yet it is where people keep the
    one file with their environment. It goes last, so that it shadows nothing.
    """
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def _attribute(module: types.ModuleType, path: str, task: str) -> Callable[[], Any]:
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        public = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise ConfigError(
            f"task {task!r}: module {module.__name__!r} has no callable {path!r}; "
            f"it offers {one_line(', '.join(public)) or 'none'}"
        )
    return found
