"""How settings and shapes are declared: a default, and the help that the command line shows."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(default: Any, text: str) -> Any:
    """Declare a field of a dataclass with its help text."""
    return field(default=default, metadata={"help": text})
