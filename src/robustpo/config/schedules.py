"""How a number changes over training: factors of its initial value, evaluated on the host."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from robustpo.base.registry import Kind

ALPHA, ENTROPY, RATE = "alpha", "entropy_coef", "learning_rate"


@dataclass(frozen=True)
class Schedule:
    """How a number changes over training.

    Attributes:
        factor: of the number's initial value, at the share in [0, 1] of the updates that are done.
        of: settings that it may be used for.
        relative: whether the number counts in the policy's standard deviations.
    """

    factor: Callable[[float], float]
    of: tuple[str, ...] = (ALPHA, ENTROPY, RATE)
    relative: bool = False


SCHEDULES: Kind[Schedule] = Kind(
    "schedule",
    {
        "constant": Schedule(lambda progress: 1.0),
        # Uniformly to zero over the policy's updates (paper, section 6.2).
        "linear": Schedule(lambda progress: 1.0 - progress),
        "cosine": Schedule(lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)), (ALPHA,)),
        # Constant here: it is multiplied by the policy's standard deviation where that is known.
        "std": Schedule(lambda progress: 1.0, (ALPHA,), relative=True),
    },
    of="robustpo.config.schedules:Schedule",
)


def scheduled(initial: float, schedule: str, progress: float) -> float:
    """Return a number's value.

    Args:
        initial: its value at the start.
        schedule: name of the schedule.
        progress: share of the updates that are done, in [0, 1].
    """
    return initial * SCHEDULES[schedule].factor(progress)
