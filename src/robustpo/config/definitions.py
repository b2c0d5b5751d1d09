"""What a method is by definition, and what is said to an option that contradicts it."""

from __future__ import annotations

import dataclasses
from typing import Any

from robustpo.base.naming import slug
from robustpo.base.registry import allowed, is_extension
from robustpo.config.methods import METHODS, Method
from robustpo.config.settings import Settings
from robustpo.config.shape import Shape
from robustpo.errors import ConfigError

DEFAULTS = dataclasses.asdict(Settings()) | dataclasses.asdict(Shape())


def find_method(name: str) -> Method:
    """Return a method; one that only a file names, with nothing that it would fix.

    What it sets stands beside its name there.
    """
    if is_extension(name) and name not in allowed():
        return Method(name, "", "", {})
    return METHODS[name]


def is_allowed(method: str, option: str, value: Any) -> bool:
    """Whether a method remains what it is with this value of an option.

    Values that are not valid at all are left to `Settings` and `Shape`, which refuse them.
    """
    known = find_method(method)
    if option in known.never and known.never[option] == value:
        return False
    return option not in known.fixed or value in known.fixed[option]


def definition(method: str, option: str) -> str:
    """Say what a method fixes of an option: `alpha 0`, `entropy_coef other than 0`."""
    known = find_method(method)
    if option in known.never:
        return f"{option} other than {_word(known.never[option])}"
    return f"{option} {' or '.join(map(_word, known.fixed[option]))}"


def require_allowed(method: str, option: str, value: Any) -> None:
    """Raise `ConfigError`, with the method to take, if an option contradicts a method."""
    if not is_allowed(method, option, value):
        raise ConfigError(
            f"{option}={value!r} contradicts method {method!r}, which by definition has "
            f"{definition(method, option)}; {advice(method, option, value)}"
        )


def advice(method: str, option: str, value: Any) -> str:
    """Say which method to take for an option that contradicts this one."""
    if find_method(method).overrides.get("distribution") == "beta" and option != "distribution":
        return "a Beta policy has no location to shift, so leave it out"
    wanted = _wanted(find_method(method), option, value)
    best = max(
        (m for m in METHODS.values() if _agrees(m, wanted) and is_allowed(m.name, option, value)),
        key=lambda one: len(one.overrides),
    )
    more = [
        f"{name}={_word(chosen)}"
        for name, chosen in wanted.items()
        if name not in (*best.overrides, option) and chosen != DEFAULTS[name]
    ]
    return f"choose the method {best.name}{':' if more else ''}{','.join(more)}"


def _wanted(method: Method, option: str, value: Any) -> dict[str, Any]:
    """Return what someone wants who gives a method an option that contradicts it."""
    if value == "beta":
        return dict(METHODS["ppo-beta"].overrides)
    # Whoever perturbs does not mean alpha 0; that of parameters is in other units.
    gone = {"alpha"} if option in ("alpha", "noise_location", "noise_on") else set()
    if option == "distribution":
        gone = {"noise"}
    if option in method.never:
        gone = set(method.overrides) - {"alpha"}
    return {k: v for k, v in method.overrides.items() if k not in gone} | {option: value}


def _agrees(method: Method, wanted: dict[str, Any]) -> bool:
    """Whether all that a method sets is wanted."""
    return all(wanted.get(k, DEFAULTS[k]) == value for k, value in method.overrides.items())


def _word(value: Any) -> str:
    if is_extension(value):
        return value
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else slug(value)
