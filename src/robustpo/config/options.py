"""How settings, shapes and executions are declared: a default, and help for the command line."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(
    default: Any,
    text: str,
    *,
    shown: str | None = None,
    metavar: str | None = None,
    **more: Any,
) -> Any:
    """Declare a field of a dataclass with its help text.

    Args:
        default: its value where nothing is asked for.
        text: what it is.
        shown: what to say of the default, where the value itself says little.
        metavar: what stands for a value in the help, where its type says little.
        **more: what else is to be known of it: `kind`, the registry its value is a name of; `off`,
            the number that stands for None in the program; `of`, the number that it schedules.
    """
    told = {"help": text, "shown": shown, "metavar": metavar}
    return field(default=default, metadata=told | more)
