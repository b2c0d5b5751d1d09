"""Checks of values that people write: what was found, what was expected, what to do."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
import reprlib
import sys
from dataclasses import fields
from typing import Any

import numpy as np

from robustpo.errors import ConfigError

# No count of environments, steps or units is larger; what derives from them stays computable.
MAX_COUNT = 2**31 - 1


def plain(value: Any) -> Any:
    """Return numbers, switches and lists of them, whoever made them, as Python's own.

    What is stored and named by them is then the same whether NumPy or a person wrote them. A switch
    is no number, 2.0 is no whole one, lists and arrays become tuples, and what is none of these is
    returned as it is.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    # One level of them: whatever is nested deeper is no list of numbers, and may be very deep.
    is_list = isinstance(value, list | tuple | range | np.ndarray)
    return tuple(map(_plain, value)) if is_list else _plain(value)


def _plain(value: Any) -> Any:
    if type(value) in (int, float, bool, str):
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return operator.index(value)
    if isinstance(value, numbers.Real):
        try:
            return float(value)
        except OverflowError:
            # A fraction may be larger than any float; it is refused as it stands.
            return value
    return value


def make_plain(config: Any) -> None:
    """Make plain what a frozen dataclass was given, while it is constructed."""
    for declared in fields(config):
        object.__setattr__(config, declared.name, plain(getattr(config, declared.name)))


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Raise `ConfigError` unless a condition on a value holds."""
    if not condition:
        raise ConfigError(f"{name}={_shown(value)} is not valid; expected {expected}")


def _shown(value: Any) -> str:
    """Write a value that may come from a file and be of any size and depth."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    return short.repr(value)


def require_number(
    name: str, value: Any, low: float, high: float = math.inf, *, open_low: bool = False
) -> None:
    """Raise `ConfigError` unless `value` is a finite number in [low, high] (or (low, high]).

    A number is Python's; what comes from elsewhere is made `plain` first.
    """
    bound = f"a finite number {'above' if open_low else 'of at least'} {low:g}"
    if high < math.inf:
        bound += f" and at most {high:g}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Not `isfinite`, which whole numbers beyond the range of a float overflow.
    inside = is_number and abs(value) <= sys.float_info.max and low <= value <= high
    require(inside and not (open_low and value == low), name, value, bound)


def require_count(name: str, value: Any, low: int = 1, high: int = MAX_COUNT) -> None:
    """Raise `ConfigError` unless `value` is a whole number in [low, high]."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    expected = f"a whole number of at least {low} and at most {high}"
    if isinstance(value, float) and value.is_integer() and low <= value <= high:
        expected += f"; write {value:.0f}"
    require(is_count, name, value, expected)


def require_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise `ConfigError`, with the nearest names, unless `value` is one of the choices."""
    if value not in choices:
        parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
        if len(parts) > 1 and all(part in choices for part in parts):
            raise ConfigError(
                f"{name}={_shown(value)} is several; part them by blanks: {' '.join(parts)}"
            )
        raise ConfigError(
            f"{name}={_shown(value)} is unknown; choose one of {', '.join(choices)}"
            f"{suggest(value, choices) if isinstance(value, str) else ''}"
        )


def suggest(word: str, known: Any) -> str:
    """Return `" (did you mean X?)"` for the nearest of `known`, or an empty string."""
    near = difflib.get_close_matches(word[:200], list(known), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
