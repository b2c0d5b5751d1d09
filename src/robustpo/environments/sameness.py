"""Whether what was recorded of an environment is true of another one.

What is compared may come from a file that anybody wrote: whatever it holds, the answer is text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from robustpo.base.files import one_line

MAX_SHOWN = 3
# Recorded numbers below this share of ±1 are noise.
SMALLEST = 1e-5
LARGEST_TOLERANCE = 0.1


@dataclass(frozen=True)
class Comparison:
    """What two fingerprints of environments say of each other.

    Attributes:
        description: how their descriptions differ.
        behaviour: how their behaviours differ; None if they agree or there are not two.
        compared: whether there were two behaviours.
        constructor: whether the code of their constructors differs.
        packages: how the versions of their packages differ.
    """

    description: str | None
    behaviour: str | None
    compared: bool
    constructor: bool
    packages: str | None

    def decisive(self, *, repeatable: bool = True) -> str | None:
        """Return why they are two environments; None if they are the same for all that is known.

        Args:
            repeatable: whether behaviours of one environment are known to agree at all.
        """
        compared = self.compared and repeatable
        changed = None
        if self.constructor and not compared:
            changed = "the code that makes it has changed, and its behaviour could not be compared"
        parts = [self.description, self.behaviour if compared else None, changed]
        return "; ".join(part for part in parts if part) or None

    def mild(self) -> list[str]:
        """Return what may matter and did not show."""
        parts = []
        if self.constructor:
            parts.append("the code that makes it has changed")
        if self.packages:
            parts.append(f"packages have changed ({self.packages})")
        return parts


def compare(then: dict[str, Any], now: dict[str, Any], words: tuple[str, str]) -> Comparison:
    """Hold two fingerprints against each other.

    Args:
        then: what was recorded.
        now: what is found, or was recorded of another run.
        words: what to call either of them, such as `recorded` and `now`.
    """
    steps = [_steps(fingerprint) for fingerprint in (then, now)]
    behaviour = None
    if steps[0] is not None and steps[1] is not None:
        tolerance = max(_tolerance(fingerprint) for fingerprint in (then, now))
        behaviour = difference(steps[0], steps[1], tolerance, words)
    makers = (then.get("constructor"), now.get("constructor"))
    return Comparison(
        description=_differing(then.get("description"), now.get("description"), words),
        behaviour=behaviour,
        compared=None not in steps,
        # Code is another in every version of Python.
        constructor=_python(makers[0]) == _python(makers[1]) and makers[0] != makers[1],
        packages=_differing(then.get("packages"), now.get("packages"), words),
    )


def difference(
    then: Sequence[str],
    now: Sequence[str],
    tolerance: float,
    words: tuple[str, str] = ("recorded", "now"),
) -> str | None:
    """Return the first number or flag in which two walks differ, or None.

    Args:
        then: rows of `probe.walked`.
        now: other ones.
        tolerance: share by which numbers may differ: of themselves, or of the largest in their
            place in all rows if that is below 1, else of 1.
        words: what to call either of them.
    """
    scales = _scales(then)
    step, what = 0, "reset"
    for row, other in zip(then, now, strict=False):
        mine, theirs = row.split(" "), other.split(" ")
        if mine[0] != "reset":
            step += 1
        what = f"step {step}" if mine[0] != "reset" else f"the reset after step {step}"
        if len(mine) != len(theirs) or (mine[0] == "reset") != (theirs[0] == "reset"):
            return f"{what} differs"
        for place, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            if a != b and not _close(a, b, tolerance, scales.get((len(mine), place), 1.0)):
                return f"{_name(mine, place)} of {what}: {_values(a, b, words)}"
    return None if len(then) == len(now) else f"the walk ends after {what}"


def _name(row: list[str], place: int) -> str:
    names = {0: "reward", 1: "ends"}
    first = 1 if row[0] == "reset" else 2
    return names[place] if place < first else f"observation {place - first}"


def _scales(rows: Sequence[str]) -> dict[tuple[int, int], float]:
    """Return the largest number of each place of a row, by the row's length and the place."""
    scales: dict[tuple[int, int], float] = {}
    for row in rows:
        parts = row.split(" ")
        for place, text in enumerate(parts):
            size = abs(_number(text) or 0.0)
            key = (len(parts), place)
            scales[key] = max(scales.get(key, 0.0), size if math.isfinite(size) else 0.0)
    return scales


def _close(a: str, b: str, tolerance: float, scale: float) -> bool:
    x, y = _number(a), _number(b)
    if x is None or y is None or not (math.isfinite(x) and math.isfinite(y)):
        return False
    least = min(1.0, max(scale, SMALLEST))
    return abs(x - y) <= tolerance * max(least, abs(x), abs(y))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _steps(fingerprint: dict[str, Any]) -> list[str] | None:
    """Return the rows of a walk; None if there is none."""
    behaviour = fingerprint.get("behaviour")
    steps = behaviour.get("steps") if isinstance(behaviour, dict) else None
    if not isinstance(steps, list) or not all(isinstance(row, str) for row in steps):
        return None
    return steps or None


def _tolerance(fingerprint: dict[str, Any]) -> float:
    behaviour = fingerprint.get("behaviour")
    found = behaviour.get("tolerance") if isinstance(behaviour, dict) else None
    return found if isinstance(found, float) and 0 < found <= LARGEST_TOLERANCE else SMALLEST


def _python(constructor: Any) -> str:
    return constructor.partition(" ")[0] if isinstance(constructor, str) else ""


def _differing(then: Any, now: Any, words: tuple[str, str]) -> str | None:
    """Say how two objects of plain data differ; what only one of them knows at all says nothing."""
    if not isinstance(then, dict) or not isinstance(now, dict):
        return None
    parts = []
    for name, a in then.items():
        b = now.get(name)
        if name not in now or (a == b and _order(a) == _order(b)):
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            inner = [key for key in {**a, **b} if a.get(key) != b.get(key)]
            changes = [(f"{name} {key}", a.get(key), b.get(key)) for key in inner]
            parts += changes or [(f"order of {name}", list(a), list(b))]
        else:
            parts.append((name, a, b))
    shown = [f"{one_line(name, 60)}: {_values(a, b, words)}" for name, a, b in parts]
    more = "; …" if len(shown) > MAX_SHOWN else ""
    return "; ".join(shown[:MAX_SHOWN]) + more or None


def _order(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def _values(a: Any, b: Any, words: tuple[str, str]) -> str:
    texts = [one_line("none" if value is None else value, 80) for value in (a, b)]
    return f"{texts[0]} {words[0]}, {texts[1]} {words[1]}"
