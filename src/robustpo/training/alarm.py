"""An alarm for policies whose entropy collapses or explodes while they train."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Widths relative to the action's bounds. A uniform distribution a hundredth as wide as the bounds
# hardly explores; of one ten times as wide nine actions of ten are clipped.
NARROW, WIDE = 0.01, 10.0


@dataclass(frozen=True)
class EntropyLimits:
    """Between which entropies a policy is taken to be sound.

    Attributes:
        low: below this it has collapsed, in nats.
        high: above this it has exploded, in nats.
    """

    low: float
    high: float

    def judge(self, entropy: float) -> str | None:
        """Return `collapsed`, `exploded` or None."""
        if entropy < self.low:
            return "collapsed"
        return "exploded" if entropy > self.high else None


def entropy_limits(
    action_low: Sequence[float], action_high: Sequence[float], *, width: float | None = None
) -> EntropyLimits:
    """Return the entropies of uniform distributions `NARROW` and `WIDE` times the bounds' width.

    Args:
        action_low: lower bounds, `[A]`.
        action_high: upper bounds, `[A]`.
        width: measures entropies of distributions whose bounds are this far apart in their own
            units; None if these are the action's. Dimensions without bounds are taken to be 2 wide.
    """
    widths = []
    for low, high in zip(action_low, action_high, strict=True):
        own = high - low if math.isfinite(high - low) and high > low else 2.0
        widths.append(own if width is None else width)
    volume = sum(map(math.log, widths))
    return EntropyLimits(
        volume + len(widths) * math.log(NARROW), volume + len(widths) * math.log(WIDE)
    )
