"""How counts and durations are written for people."""

from __future__ import annotations

import math
from decimal import Decimal


def format_duration(seconds: float) -> str:
    """Write a duration as people say it: `45 s`, `2 min 10 s`, `1 h 5 min`, `2 d 3 h`."""
    if not math.isfinite(seconds):
        return "unknown"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(whole / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


def format_count(count: float) -> str:
    """Write a count with three significant digits: `950`, `10.6k`, `1.5M`, `2B`."""
    if not math.isfinite(count):
        return "unknown"
    size, rounded = abs(count), float(f"{count:.3g}")
    if size < 999.5:
        return f"{rounded:g}"
    for unit, letter in ((1e3, "k"), (1e6, "M"), (1e9, "B")):
        if abs(rounded) < 1000 * unit or unit == 1e9:
            return f"{rounded / unit:g}{letter}"
    raise AssertionError("unreachable: the last unit takes every size")


def parse_count(text: str) -> int:
    """Read a count as people write it: `950`, `1_000_000`, `1e6`, `2.5k`, `1M`, `2B`.

    Raises:
        ValueError: if it is no whole number.
    """
    number, factor = text.strip().replace("_", ""), 1
    for letter, unit in (("k", 10**3), ("m", 10**6), ("b", 10**9)):
        if number[-1:].lower() == letter:
            number, factor = number[:-1], unit
    try:
        # Decimal, because 1.1e3 is whole and 1.1 * 1000 is not.
        count = Decimal(number) * factor
    except ArithmeticError:
        count = Decimal("nan")
    if count.is_finite() and abs(count.adjusted()) <= 30 and count == int(count):
        return int(count)
    raise ValueError(f"{text!r} is no whole number; write one such as 950, 1e6 or 1M")
