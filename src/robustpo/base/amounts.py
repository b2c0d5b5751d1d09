"""How counts and durations are written for people."""

from __future__ import annotations

import math


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
