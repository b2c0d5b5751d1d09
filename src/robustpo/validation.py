"""Checks of values that people write: what was found, what was expected, what to do."""

from __future__ import annotations

import difflib
import math
import reprlib
import sys
from typing import Any

from robustpo.errors import ConfigError

# No count of environments, steps or units is larger; what derives from them stays computable.
MAX_COUNT = 2**31 - 1


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
    """Raise `ConfigError` unless `value` is a finite number in [low, high] (or (low, high])."""
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
    require(is_count, name, value, f"a whole number of at least {low} and at most {high}")


def require_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise `ConfigError`, with the nearest names, unless `value` is one of the choices."""
    if value not in choices:
        raise ConfigError(
            f"{name}={_shown(value)} is unknown; choose one of {', '.join(choices)}"
            f"{suggest(value, choices) if isinstance(value, str) else ''}"
        )


def suggest(word: str, known: Any) -> str:
    """Return `" (did you mean X?)"` for the nearest of `known`, or an empty string."""
    near = difflib.get_close_matches(word[:200], list(known), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
