"""What is handed to another process of ours: constructors, and ids registered in this one alone."""

from __future__ import annotations

import base64
import functools
import types
from collections.abc import Iterator
from typing import Any

import cloudpickle
import gymnasium

from robustpo.environments import catalog
from robustpo.environments.callables import global_values
from robustpo.environments.task_arguments import split_arguments
from robustpo.errors import ConfigError

# How deep what cannot be pickled is looked for.
MAX_DEPTH = 8
GYMNASIUM = "gymnasium.envs."


def pickled(value: Any, name: str) -> bytes:
    """Pickle what a task is made of, functions and classes of a script included.

    Raises:
        ConfigError: if it holds what no process can hand to another; it is named.
    """
    try:
        return cloudpickle.dumps(value)
    except Exception as error:
        raise ConfigError(
            f"task {name!r} cannot be sent to another process: {_culprit(value)}; make it inside "
            "the constructor or the environment, or step in this process (env_processes=0)"
        ) from error


def registration(task: str) -> str | None:
    """Return what registers a task's id in another process, as text; None if that is not needed.

    Ids that importing a package registers are registered in every process; one of the script or
    notebook that is running is known in its process alone.

    Raises:
        ConfigError: if its registration cannot be pickled.
    """
    name = split_arguments(task)[0].removeprefix("gymnasium/")
    spec = None if catalog.find(task) else gymnasium.registry.get(name)
    if spec is None or str(spec.entry_point).startswith(GYMNASIUM):
        return None
    return base64.b64encode(pickled(spec, task)).decode()


def register(text: str | None) -> None:
    """Register what `registration` returned in a process of ours."""
    if text is not None:
        spec = cloudpickle.loads(base64.b64decode(text))
        gymnasium.registry[spec.id] = spec


def _culprit(value: Any) -> str:
    """Say which member of a value cannot be pickled, the innermost one that is found."""
    where = "it"
    for _ in range(MAX_DEPTH):
        found = next((part for part in _members(value) if not _can_be_pickled(part[1])), None)
        if found is None:
            break
        where, value = found
    return f"{where} is of type {type(value).__module__}.{type(value).__qualname__}"


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a value holds, each with a name for it."""
    if isinstance(value, functools.partial):
        yield from [("the function it binds", value.func)]
        yield from ((f"argument {i + 1}", part) for i, part in enumerate(value.args))
        yield from ((f"argument {name!r}", part) for name, part in value.keywords.items())
    elif isinstance(value, types.MethodType):
        yield from [("the object it is a method of", value.__self__), ("its code", value.__func__)]
    elif isinstance(value, types.FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        yield from ((f"variable {name!r}", cell.cell_contents) for name, cell in cells)
        yield from ((f"global {name!r}", part) for name, part in global_values(value).items())
        yield from (("a default value", part) for part in value.__defaults__ or ())
    elif isinstance(value, dict):
        yield from ((f"item {key!r}", part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"item {i}", part) for i, part in enumerate(value))
    elif isinstance(value, type):
        named = {n: getattr(m, "__func__", m) for n, m in vars(value).items()}
        methods = (k for k, m in named.items() if isinstance(m, types.FunctionType))
        shown = dict.fromkeys([*methods, *(k for k in named if k[:2] != "__")])
        yield from ((f"{k!r} of class {value.__name__}", named[k]) for k in shown)
    elif hasattr(value, "__dict__"):
        held = vars(value).items()
        yield from ((f"attribute {k!r} of {type(value).__name__}", part) for k, part in held)
        yield f"the class {type(value).__name__}", type(value)


def _can_be_pickled(value: Any) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:
        return False
    return True
