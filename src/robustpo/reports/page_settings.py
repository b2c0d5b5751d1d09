"""The settings that a study's methods were trained with, those that differ first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from robustpo.config.run import RunConfig

# What makes a variant what it is stands on top, whether it differs or not.
_FIRST = ("method", "alpha")
# The task and the seed tell runs of one variant apart and stand elsewhere.
_NOT_SETTINGS = ("task", "seed")


class Setting(TypedDict):
    """One setting and its value in words for each method, in the order of the methods.

    A method that has several values over tasks or runs has them all; the empty text is none.
    """

    name: str
    values: list[str]


def settings_of(configs: Iterable[RunConfig], labels: Mapping[str, str]) -> list[Setting]:
    """Return every setting with its value for each variant: first those that differ.

    Args:
        configs: all runs.
        labels: of the variants, in order.
    """
    found: dict[str, dict[str, dict[str, None]]] = {}
    for config in configs:
        for name, value in _flat(config).items():
            values = found.setdefault(name, {variant: {} for variant in labels})
            values[config.variant][_text(value)] = None
    settings: list[Setting] = [
        {"name": name, "values": [" or ".join(values[variant]) for variant in labels]}
        for name, values in found.items()
    ]
    # The sort is stable: the order of the options stays.
    return sorted(settings, key=lambda one: (one["name"] not in _FIRST, not differs(one)))


def differs(setting: Setting) -> bool:
    """Whether a setting is not the same for all methods."""
    return len(set(setting["values"])) > 1


def stands_out(setting: Setting) -> bool:
    """Whether a setting is shown for each method: it differs, or is what a method is about."""
    return differs(setting) or setting["name"] in _FIRST


def _flat(config: RunConfig) -> dict[str, Any]:
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    settings, shape = values.pop("settings"), values.pop("shape")
    flat = values | dataclasses.asdict(settings) | dataclasses.asdict(shape)
    flat["steps"] = config.total_steps
    return {name: value for name, value in flat.items() if name not in _NOT_SETTINGS}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return "none" if value is None else str(value)
