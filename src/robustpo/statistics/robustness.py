"""How return falls with a level of difference: area, where half is lost, paired comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from robustpo.statistics.means import Difference


def area(levels: Sequence[float], returns: np.ndarray) -> np.ndarray:
    """Return the mean return over the range of the levels, by the trapezoid rule.

    Args:
        levels: `L` rising numbers.
        returns: `[..., L]`; what is not known is nan, and so is then the area.

    Returns:
        `[...]`, in units of the return; with one level, the return there.
    """
    x = np.asarray(levels, float)
    if len(x) == 1:
        return np.asarray(returns, float)[..., 0]
    return np.trapezoid(np.asarray(returns, float), x, axis=-1) / (x[-1] - x[0])


def half_lost(
    levels: Sequence[float], returns: Sequence[float], nominal: int, floor: float, *, above: bool
) -> float:
    """Return the level, on one side of the nominal one, at which half of what was earned is lost.

    What is earned is the return at the nominal level less that of random actions; between two
    levels the return is taken to be a straight line.

    Args:
        levels: `L` rising numbers.
        returns: of each; nan, where the simulator broke, counts as all lost.
        nominal: index of the level where nothing differs.
        floor: return of random actions there.
        above: which side: levels above the nominal one, or below.

    Returns:
        The level; infinite (with the sign of the side) if less than half is lost even at the last
        one, nan if nothing is earned or there is no level on that side.
    """
    step = 1 if above else -1
    rest = range(nominal + step, len(levels) if above else -1, step)
    earned = returns[nominal] - floor
    if not len(rest) or not earned > 0:
        return math.nan
    half = floor + earned / 2
    before = nominal
    for index in rest:
        value = returns[index] if math.isfinite(returns[index]) else -math.inf
        if value <= half:
            if value == -math.inf:
                return float(levels[index])
            share = (returns[before] - half) / (returns[before] - value)
            return float(levels[before] + share * (levels[index] - levels[before]))
        before = index
    return math.copysign(math.inf, step)


def paired(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, confidence: float = 0.95
) -> Difference:
    """Return the mean of the differences `a - b` of pairs with Student's t interval and p-value.

    Pairs of which one is nan are left out. With fewer than two nothing but the difference is
    known; if all differences are equal there is no interval, and p is 1 if they are 0, else nan.
    """
    differences = np.asarray(a, float) - np.asarray(b, float)
    differences = differences[np.isfinite(differences)]
    if len(differences) == 0:
        return Difference(math.nan, math.nan, math.nan, math.nan, math.nan)
    mean = float(differences.mean())
    if len(differences) == 1:
        return Difference(mean, math.nan, math.nan, math.nan, math.nan)
    if float(np.ptp(differences)) == 0:
        p_value = 1.0 if mean == 0 else math.nan
        return Difference(mean, math.nan, math.nan, p_value, p_value)
    test: Any = stats.ttest_1samp(differences, 0.0)
    low, high = (float(end) for end in test.confidence_interval(confidence))
    p_value = float(test.pvalue)
    return Difference(mean, low, high, p_value, p_value)
