"""Bounds of an action, in words, and how far they are from ±1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Where a standard deviation of 1 is more than so many times half the range, hardly any action is
# not clipped; where it is less than that part of it, hardly anything is explored.
FAR = 5.0


def describe_bounds(low: Sequence[float], high: Sequence[float]) -> str:
    """Write down bounds, each kind once: `0..5, ±0.35`."""
    words = [
        "none" if np.isinf(x) and np.isinf(y) else f"±{y:g}" if x == -y else f"{x:g}..{y:g}"
        for x, y in zip(low, high, strict=True)
    ]
    return ", ".join(dict.fromkeys(words))


def far_bounds(low: Sequence[float], high: Sequence[float], alpha: float) -> str | None:
    """Say what a standard deviation of 1 and alpha are to raw bounds that lie far from ±1.

    Args:
        low: lower bounds, `[A]`.
        high: upper bounds, `[A]`.
        alpha: magnitude of the perturbation; 0 is left out.

    Returns:
        None if no finite bounds do.
    """
    for x, y in dict.fromkeys(zip(low, high, strict=True)):
        half = (y - x) / 2
        if np.isfinite(half) and half > 0 and not 1 / FAR <= half <= FAR:
            shares = [f"a standard deviation of 1 is {1 / half:.3g} times half the range"]
            shares += [f"alpha {alpha:g} is {alpha / half:.3g} times it"] if alpha else []
            return f"bounds of {describe_bounds([x], [y])}: {' and '.join(shares)}"
    return None


def off_centre(low: Sequence[float], high: Sequence[float]) -> str | None:
    """Say which raw bounds do not have 0, around which a new policy acts, inside; None if none."""
    for x, y in dict.fromkeys(zip(low, high, strict=True)):
        if np.isfinite([x, y]).all() and x < y and not x < 0 < y:
            where = "at an end" if 0 in (x, y) else "outside"
            return (
                f"bounds of {describe_bounds([x], [y])}: a new policy acts around 0, which lies "
                f"{where} of the range, so that half of its actions or more are clipped"
            )
    return None


def bounds_to_try(low: Sequence[float], high: Sequence[float]) -> np.ndarray:
    """Return bounds `[2, A]` to draw random actions between: 10 and −10 where there are none."""
    least, most = np.array(low), np.array(high)
    least = np.where(np.isfinite(least), least, np.minimum(-10.0, most - 10.0))
    most = np.where(np.isfinite(most), most, np.maximum(10.0, least + 10.0))
    return np.stack([least, most])
