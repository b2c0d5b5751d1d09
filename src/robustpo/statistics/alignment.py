"""Puts the curves of several seeds on one grid of steps, so that they can be averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Curve:
    """One measured quantity of one seed over training.

    Attributes:
        steps: environment steps, ascending.
        values: the quantity at each of them; both without the rows where it is not known.
    """

    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Band:
    """Mean over seeds with its 95% t interval, on a grid of steps.

    Attributes:
        steps: the grid; within the range that every seed covers.
        mean: mean over seeds.
        low: lower ends of the intervals, nan for one seed.
        high: upper ends.
    """

    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def thinned(self, points: int) -> Band:
        """Return as many of its points, evenly spread, both ends among them."""
        chosen = np.linspace(0, len(self.steps) - 1, points).round().astype(int)
        chosen = np.unique(chosen)
        return Band(self.steps[chosen], self.mean[chosen], self.low[chosen], self.high[chosen])


def mean_band(curves: Sequence[Curve], confidence: float = 0.95) -> Band | None:
    """Average curves by linear interpolation on the steps that all of them cover.

    Nothing is extrapolated. Returns None if there are no curves or no common steps.
    """
    if not curves:
        return None
    first = max(curve.steps[0] for curve in curves)
    last = min(curve.steps[-1] for curve in curves)
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    steps = steps[(steps >= first) & (steps <= last)]
    if len(steps) == 0:
        return None
    values = np.stack([np.interp(steps, curve.steps, curve.values) for curve in curves])
    mean = values.mean(axis=0)
    if len(curves) < 2:
        unknown = np.full_like(mean, np.nan)
        return Band(steps, mean, unknown, unknown)
    quantile = stats.t.ppf((1 + confidence) / 2, len(curves) - 1)
    half = quantile * values.std(axis=0, ddof=1) / np.sqrt(len(curves))
    return Band(steps, mean, mean - half, mean + half)
