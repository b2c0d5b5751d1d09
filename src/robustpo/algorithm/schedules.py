"""How a number changes over training: factors of its initial value, evaluated on the host."""

from __future__ import annotations

import math
from collections.abc import Callable

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    # Uniformly to zero over the policy's updates (paper, section 6.2).
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    # Constant here: it is multiplied by the policy's standard deviation where that is known.
    "std": lambda progress: 1.0,
}


def scheduled(initial: float, schedule: str, progress: float) -> float:
    """Return a number's value.

    Args:
        initial: its value at the start.
        schedule: name of the schedule.
        progress: share of the updates that are done, in [0, 1].
    """
    return initial * SCHEDULES[schedule](progress)
