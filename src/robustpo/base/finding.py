"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Status = Literal["ok", "warn", "fail"]
LONGEST_LINE = 300


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: what was checked; whoever runs the check knows.
        status: `warn` where training works with less, `fail` where it does not.
        detail: what was found, in one line.
        advice: what to do; empty where there is nothing to do.
    """

    name: str = field(default="", kw_only=True)
    status: Status
    detail: str
    advice: str = ""


def one_line(error: object) -> str:
    """Return an exception as `Type: text`, or any other text, in one line of bearable length."""
    named = isinstance(error, BaseException)
    text = " ".join(str(error).split())
    text = f"{type(error).__name__}: {text}".removesuffix(": ") if named else text
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 3] + "..."
