"""How people write values on the command line: `1e6`, `1M`, `64,64`, `True`."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import Any, get_args, get_origin

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from robustpo.base.amounts import parse_count

SWITCH = ("on", "off")
# What else people write for them.
_ON, _OFF = ("on", "true", "yes", "1"), ("off", "false", "no", "0")

registry = ConstructorRegistry()
"""What `tyro` reads values by."""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number; write one such as 0.5 or 3e-4") from None


def _switch(text: str) -> str:
    if text.lower() not in _ON + _OFF:
        raise ValueError(f"{text!r} is neither on nor off")
    return "on" if text.lower() in _ON else "off"


_READERS: dict[Any, tuple[str, Callable[[str], Any]]] = {
    int: ("INT", parse_count),
    float: ("FLOAT", _number),
    str: ("TEXT", str),
}


@registry.primitive_rule
def _rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Say how to read a type; None leaves it to `tyro`."""
    return _spec(info.type)


def _spec(kind: Any, *, unset: bool = False) -> PrimitiveConstructorSpec | None:
    """Say how to read a type, or None as well where it may be left unset."""
    if kind in _READERS:
        return _one(*_READERS[kind], unset)
    arguments = get_args(kind)
    if arguments == SWITCH:
        return _one("{on,off}", _switch, unset)
    if get_origin(kind) is tuple and arguments[1:] == (...,) and arguments[0] in _READERS:
        # Texts such as rpo:noise=laplace,alpha=0.1 hold commas.
        return _several(*_READERS[arguments[0]], "," if arguments[0] is not str else None)
    others = [part for part in arguments if part is not NoneType]
    return _spec(others[0], unset=True) if len(others) == 1 < len(arguments) else None


def _one(metavar: str, read: Callable[[str], Any], unset: bool) -> PrimitiveConstructorSpec:
    def value(texts: list[str]) -> Any:
        return None if unset and texts == ["None"] else read(texts[0])

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=value,
        is_instance=lambda _: True,
        str_from_instance=lambda value: ["none" if value is None else str(value)],
    )


def _several(
    metavar: str, read: Callable[[str], Any], separator: str | None
) -> PrimitiveConstructorSpec:
    """Read `64 64` and `64,64` alike."""

    def parts(text: str) -> list[str]:
        return [part for part in text.split(separator) if part] if separator else [text]

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"{metavar} [{metavar} ...]",
        instance_from_str=lambda texts: tuple(read(part) for text in texts for part in parts(text)),
        is_instance=lambda _: True,
        # Said in the help, and read by nobody.
        str_from_instance=lambda value: [str(item) for item in value or ["none"]],
    )
