"""Arguments of what makes a task, which are part of its name: `my_envs:Cart:length=2,mass=0.5`.

So they are part of a run's identity, and of every command, file and page that names the task.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from robustpo.errors import ConfigError

# A registered id, made as a vector by `gymnasium.make_vec`.
VECTOR_PREFIX = "vector/"

Value = bool | int | float | str

# What a shell, a path and this syntax leave as it is.
_WORD = re.compile(r"[A-Za-z0-9_.+/-]+")
_WORDS = {"true": True, "false": False}


def split_arguments(task: str) -> tuple[str, dict[str, Value]]:
    """Return a task's name without its arguments, and these.

    Raises:
        ConfigError: if what stands behind the last colon has a `=` but is no list of arguments.
    """
    name, colon, tail = task.rpartition(":")
    if not colon or "=" not in tail:
        return task, {}
    return name, parse_arguments(tail.split(","))


def parse_arguments(words: Sequence[str]) -> dict[str, Value]:
    """Return what words such as `length=2` say: numbers, true, false, or a word.

    Raises:
        ConfigError: if one is nothing of the kind, or an argument is named twice.
    """
    found: dict[str, Value] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not (equals and key.isidentifier() and _WORD.fullmatch(text)):
            raise ConfigError(
                f"env_kwargs {word!r} is not valid; expected key=value, where the value is a "
                "number, true, false or a word (write a function that makes the environment for "
                "anything else)"
            )
        if key in found:
            raise ConfigError(f"env_kwargs has {key!r} twice; give it once")
        found[key] = _value(text)
    return found


def with_arguments(task: str, arguments: Mapping[str, Any]) -> str:
    """Return the name of a task that is made with these arguments, beside what its name has.

    Raises:
        ConfigError: if one is of a kind that a name cannot hold, or the name has it with another
            value.
    """
    name, own = split_arguments(task)
    for key in own.keys() & arguments.keys():
        if own[key] != arguments[key]:
            raise ConfigError(
                f"task {task!r} has {key}={_text(key, own[key])} in its name, and env_kwargs says "
                f"{_text(key, arguments[key])}; give it once"
            )
    every = own | dict(arguments)
    words = (f"{key}={_text(key, every[key])}" for key in sorted(every))
    return f"{name}:{','.join(words)}" if every else name


def canonical(task: str) -> str:
    """Return the one way to write a task's name: arguments in order, numbers as Python has them."""
    return with_arguments(task, {})


def _value(text: str) -> Value:
    if text in _WORDS:
        return _WORDS[text]
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        # 1_000 is a number to Python alone, and inf would not be one in a record.
        return value if "_" not in text and math.isfinite(value) else text
    return text


def _text(key: str, value: Any) -> str:
    """Write a value as `_value` reads it."""
    value = value.item() if hasattr(value, "item") else value
    text = str(value).lower() if isinstance(value, bool) else str(value)
    known = isinstance(value, bool | int | float | str) and key.isidentifier()
    if not known or not _WORD.fullmatch(text) or _value(text) != value:
        raise ConfigError(
            f"env_kwargs {key}={value!r} is not valid; expected a name with a number, true, false "
            "or a word (write a function that makes the environment for anything else)"
        )
    return text
