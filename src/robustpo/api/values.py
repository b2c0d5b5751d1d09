"""What Python's arguments become before anything is done with them."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from typing import Any

from robustpo.base.validation import plain, require
from robustpo.environments.task_arguments import split_arguments, with_arguments
from robustpo.errors import ConfigError

Task = str | Callable[..., Any]
NO_ARGUMENTS: Mapping[str, Any] = types.MappingProxyType({})


def count_of(name: str, value: Any) -> int:
    """Return a whole number as Python's own.

    Raises:
        ConfigError: if it is none.
    """
    found = plain(value)
    require(type(found) is int, name, found, "a whole number")
    return found


def with_env_kwargs(task: Task, arguments: Mapping[str, Any], *, replace: bool = False) -> Task:
    """Return a task that is made with these arguments.

    Args:
        task: its name, whose arguments these then are too, or what makes it.
        arguments: by name; none leave the task as it is.
        replace: whether they may be others than those in its name.

    Raises:
        ConfigError: if the task is none, or its name cannot hold them.
    """
    if not isinstance(task, str) and not callable(task):
        raise ConfigError(f"task={task!r} is not valid; give an id or a function that makes one")
    if not isinstance(task, str):
        return functools.partial(task, **arguments) if arguments else task
    if replace:
        name, own = split_arguments(task)
        return with_arguments(name, own | dict(arguments))
    return with_arguments(task, arguments)
