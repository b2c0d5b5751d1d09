"""Statistics of Monte-Carlo replicates: intervals, and tests of a long mean vector for zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from robustpo.statistics.means import mean_interval

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval.

    Attributes:
        mean: the estimate.
        low: lower end.
        high: upper end.
    """

    mean: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """Return the same estimate in other units."""
        low, high = sorted((self.low * factor, self.high * factor))
        return Interval(self.mean * factor, low, high)

    def covers(self, value: float) -> bool:
        """Tell whether a value lies inside."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class ZeroTest:
    """Whether the mean of random vectors is zero.

    Attributes:
        replicates: number of vectors K.
        dimension: their length d.
        norm: length of the mean vector.
        noise_norm: the length that noise alone would give it, `√(tr S/K)`.
        noise_limit: the length that noise alone would exceed once in twenty times.
        unbiased_norm: `√(norm² − tr S/K)`, what is left of the length without the noise's share; 0
            where the noise explains all of it.
        largest_t: largest |t| of a coordinate.
        p_norm: of Dempster's test of the length.
        p_largest: of the largest |t|, Bonferroni-adjusted over the coordinates.
        p_value: of both tests together, `min(1, 2 min(p_norm, p_largest))`.
    """

    replicates: int
    dimension: int
    norm: float
    noise_norm: float
    noise_limit: float
    unbiased_norm: float
    largest_t: float
    p_norm: float
    p_largest: float
    p_value: float


def t_interval(values: np.ndarray) -> Interval:
    """Return the mean of independent values with Student's t interval."""
    found = mean_interval(values.tolist(), CONFIDENCE)
    return Interval(found.mean, found.low, found.high)


def zero_test(replicates: np.ndarray) -> ZeroTest:
    """Test whether the mean of K independent vectors of length d, possibly d ≫ K, is zero.

    Two tests that look for different things. Dempster's (1958) compares `K‖mean‖²/tr S` with an F
    distribution of `f` and `(K − 1) f` degrees of freedom, `f = (tr Σ)²/tr Σ²` estimated as by Bai
    and Saranadasa (1996): many small deviations add up. The largest |t| of a coordinate finds a
    single large one. A replicate is an average over a whole rollout, so close to normal.

    Args:
        replicates: one vector per row, `[K, d]`.
    """
    count, dimension = replicates.shape
    mean = replicates.mean(0)
    centred = replicates - mean
    total = float((centred**2).sum()) / (count - 1)
    square = float(mean @ mean)
    noise = total / count
    if total <= 0.0:
        p = 1.0 if square == 0.0 else 0.0
        size, largest = math.sqrt(square), 0.0 if square == 0.0 else math.inf
        return ZeroTest(count, dimension, size, 0.0, 0.0, size, largest, p, p, p)
    freedom = _freedom(centred, total)
    limit = float(stats.f.ppf(CONFIDENCE, freedom, (count - 1) * freedom))
    p_norm = float(stats.f.sf(square / noise, freedom, (count - 1) * freedom))
    largest = _largest_t(mean, centred)
    p_largest = min(1.0, dimension * 2 * float(stats.t.sf(largest, count - 1)))
    return ZeroTest(
        replicates=count,
        dimension=dimension,
        norm=math.sqrt(square),
        noise_norm=math.sqrt(noise),
        noise_limit=math.sqrt(noise * limit),
        unbiased_norm=math.sqrt(max(0.0, square - noise)),
        largest_t=largest,
        p_norm=p_norm,
        p_largest=p_largest,
        p_value=min(1.0, 2 * min(p_norm, p_largest)),
    )


def cosine_interval(replicates: np.ndarray, direction: np.ndarray) -> Interval:
    """Return the cosine between the mean of random vectors and a given one.

    Noise lengthens the mean of K vectors, so the cosine is taken with the unbiased square of its
    length, `Σ_{j≠k} x_j·x_k / (K(K−1))`; the interval is the jackknife's. nan where the noise is
    longer than the mean.

    Args:
        replicates: one vector per row, `[K, d]`.
        direction: the given vector, `[d]`.
    """
    count = len(replicates)
    total = replicates.sum(0)
    own, along = (replicates**2).sum(1), replicates @ direction
    with_total = replicates @ total
    square, squares = float(total @ total), float(own.sum())

    def cosine(along_sum: np.ndarray, pairs: np.ndarray, number: int) -> np.ndarray:
        unbiased = pairs / (number * (number - 1))
        length = np.sqrt(np.where(unbiased > 0, unbiased, np.nan))
        return along_sum / number / (np.linalg.norm(direction) * length)

    value = float(cosine(along.sum(), np.asarray(square - squares), count))
    left_out = cosine(
        along.sum() - along, square - 2 * with_total + own - (squares - own), count - 1
    )
    spread = math.sqrt((count - 1) / count * float(((left_out - left_out.mean()) ** 2).sum()))
    half = _t_quantile(count) * spread
    return Interval(*(min(max(x, -1.0), 1.0) for x in (value, value - half, value + half)))


def _t_quantile(count: int) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))


def _freedom(centred: np.ndarray, total: float) -> float:
    """Return `(tr Σ)²/tr Σ²`, the number of directions that the noise effectively has."""
    n = len(centred) - 1
    gram = centred @ centred.T / n
    squares = (n**2 / ((n + 2) * (n - 1))) * (float((gram**2).sum()) - total**2 / n)
    # There are no more directions than entries, whatever the estimate of the denominator.
    return max(1.0, total**2 / max(squares, total**2 / centred.shape[1]))


def _largest_t(mean: np.ndarray, centred: np.ndarray) -> float:
    count = len(centred)
    error = np.sqrt((centred**2).sum(0) / ((count - 1) * count))
    t = np.divide(np.abs(mean), error, out=np.full_like(mean, np.inf), where=error > 0)
    return float(np.where((error == 0) & (mean == 0), 0.0, t).max())
