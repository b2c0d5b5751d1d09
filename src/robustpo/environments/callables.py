"""What tells one callable from another: names and digests that are equal in every process.

Pickles would not do: the bytes of one object differ with the order of a set and with which strings
happen to be shared. What is digested instead is a description of code, constants, closures,
globals that the code names and arguments that were bound.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import sys
import types
import weakref
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

MAX_ITEMS, MAX_PARTS, MAX_DEPTH = 1000, 10_000, 50
DIGITS = 8

_names: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def callable_name(task: Callable[..., Any]) -> str:
    """Return `module:name` of a callable.

    One that is not to be found under that name (a lambda, a `functools.partial`, what a function
    has defined, a method of an object, an object that can be called) shares it with others, so the
    digest of what it is made of follows. It keeps that name for as long as it exists, whatever is
    then done to what it holds.
    """
    name = _plain_name(task)
    if has_own_name(task):
        return name
    try:
        if task not in _names:
            _names[task] = digest(describe(task))[:DIGITS]
        return f"{name}-{_names[task]}"
    except TypeError:
        # It cannot be hashed, or not be referred to weakly.
        return f"{name}-{digest(describe(task))[:DIGITS]}"


def has_own_name(value: Any) -> bool:
    """Whether importing a function's or class's module and looking up its name leads to it."""
    found: Any = sys.modules.get(getattr(value, "__module__", None) or "")
    for part in getattr(value, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    # The method of a class is made anew whenever it is looked up.
    return found is value or (isinstance(value, types.MethodType) and found == value)


def digest(text: str) -> str:
    """Return the SHA-256 digest of a text in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def nothing(part: Any) -> bool:
    """Follow nothing."""
    del part
    return False


def describe(value: Any, *, follow: Callable[[Any], bool] = nothing) -> str:
    """Describe a value by what it does and holds, in words that are equal in every process.

    A function or class is described by its code, one that it only refers to by its name. Of what
    cannot be looked into, such as a file or a lock, the type alone is told.

    Args:
        value: the value.
        follow: whether a function or class that is referred to is described by its code too.
    """
    return _Describer(value, follow).describe(value)


def _plain_name(task: Any) -> str:
    if isinstance(task, functools.partial):
        return _plain_name(task.func)
    module = getattr(task, "__module__", None) or "builtins"
    return f"{module}:{getattr(task, '__qualname__', type(task).__qualname__)}"


class _Describer:
    """Describes one value; whatever it comes to twice is described once."""

    def __init__(self, value: Any, follow: Callable[[Any], bool]) -> None:
        self._value, self._follow = value, follow
        # By number, and kept, so that no number is given anew.
        self._seen: dict[int, Any] = {}
        self._depth = 0

    def describe(self, value: Any) -> str:
        """Describe a value or one of its parts."""
        if (text := _simple(value)) is not None:
            return text
        known = id(value) in self._seen or len(self._seen) > MAX_PARTS
        if known or self._depth > MAX_DEPTH:
            return f"<{_plain_name(type(value))}>"
        self._seen[id(value)] = value
        self._depth += 1
        try:
            return self._compound(value)
        finally:
            self._depth -= 1

    def _compound(self, value: Any) -> str:
        if isinstance(value, list | tuple | set | frozenset | dict):
            return self._collection(value)
        if isinstance(value, functools.partial):
            return f"partial({self._all(value.func, value.args, value.keywords)})"
        if isinstance(value, types.MethodType):
            return f"method({self._all(value.__func__, value.__self__)})"
        if not isinstance(value, types.FunctionType | type):
            state = self.describe(vars(value)) if hasattr(value, "__dict__") else ""
            return f"{self.describe(type(value))}({state})"
        if has_own_name(value) and value is not self._value and not self._follow(value):
            return f"named({_plain_name(value)})"
        return self._class(value) if isinstance(value, type) else self._function(value)

    def _all(self, *values: Any) -> str:
        return ",".join(self.describe(value) for value in values)

    def _collection(self, value: Any) -> str:
        if isinstance(value, dict):
            items = list(value.items())[:MAX_ITEMS]
            parts = sorted(f"{self.describe(k)}:{self.describe(v)}" for k, v in items)
        else:
            parts = [self.describe(item) for item in list(value)[:MAX_ITEMS]]
        if isinstance(value, set | frozenset):
            # Their order is another in every process.
            parts.sort()
        return f"{type(value).__qualname__}({len(value)},{','.join(parts)})"

    def _class(self, value: type) -> str:
        """Describe a class by its bases, its methods and the plain values of its attributes."""
        parts = [self.describe(base) for base in value.__bases__]
        for name, member in sorted(vars(value).items()):
            member = member.fget if isinstance(member, property) else member
            member = getattr(member, "__func__", member)
            if isinstance(member, types.FunctionType):
                parts.append(f"{name}={self._function(member)}")
            elif not name.startswith("__") and _simple(member) is not None:
                parts.append(f"{name}={_simple(member)}")
        return f"class({','.join(parts)})"

    def _function(self, value: types.FunctionType) -> str:
        cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        named = (f"{k}={self._global(v)}" for k, v in sorted(global_values(value).items()))
        parts = [self._code(value.__code__), self._all(value.__defaults__, value.__kwdefaults__)]
        return f"function({','.join([*parts, self._all(*cells), *named])})"

    def _global(self, value: Any) -> str:
        """Describe a global; where code is followed far, not what running it may change."""
        fixed = isinstance(value, types.FunctionType | type | functools.partial | tuple)
        if self._follow is nothing or fixed or _simple(value) is not None:
            return self.describe(value)
        return f"<{_plain_name(type(value))}>"

    def _code(self, code: types.CodeType) -> str:
        """Describe code by what it does, and not by where it stands."""
        constants = (
            self._code(c) if isinstance(c, types.CodeType) else _constant(c) for c in code.co_consts
        )
        names = (code.co_names, code.co_varnames, code.co_freevars)
        return f"code({code.co_code.hex()},{names},{','.join(constants)})"


def _constant(value: Any) -> str:
    """Describe a constant of code; tuples and sets of constants are ones too."""
    if isinstance(value, frozenset):
        return f"frozenset({','.join(sorted(map(_constant, value)))})"
    if isinstance(value, tuple):
        return f"tuple({','.join(map(_constant, value))})"
    return repr(value)


def _simple(value: Any) -> str | None:
    """Describe what holds nothing else; None if it may."""
    if value is None or value is ... or type(value) in (bool, int, float, complex, str, bytes):
        return repr(value)
    if isinstance(value, (np.ndarray, *_jax_arrays())) and value.dtype.kind in "biufcSU":
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"array({value.dtype},{value.shape},{content})"
    if isinstance(value, np.generic):
        return f"{value.dtype}({value.item()!r})"
    if isinstance(value, Enum | PurePath):
        return f"{type(value).__qualname__}({value})"
    if isinstance(value, types.ModuleType):
        return f"module({value.__name__})"
    return None


def _jax_arrays() -> tuple[type, ...]:
    """Return the type of JAX's arrays if anybody has imported it."""
    jax = sys.modules.get("jax")
    return (jax.Array,) if jax else ()


def global_values(function: types.FunctionType) -> dict[str, Any]:
    """Return the globals that a function's code names, but for modules and what it sets itself."""
    known = function.__globals__
    codes = list(_codes(function.__code__))
    named = {name for code in codes for name in code.co_names}
    steps = (step for code in codes for step in dis.get_instructions(code))
    named -= {step.argval for step in steps if step.opname == "STORE_GLOBAL"}
    return {n: known[n] for n in named if n in known and not isinstance(known[n], types.ModuleType)}


def _codes(code: types.CodeType) -> Iterable[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _filled(cell: types.CellType) -> bool:
    """Whether a variable of a closure has a value by now."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
