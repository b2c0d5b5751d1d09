"""What can be said about proportions over seeds, such as the share of episodes that succeed.

A seed's episodes share one policy and are no independent trials, so a test that counts them
(Fisher's, a χ² test) would take a handful of runs for hundreds of witnesses. The seed is the unit:
the permutation test of the difference of means (`means.permutation_p`), which assumes no shape, and
score intervals of as many trials as the scatter over seeds leaves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from robustpo.statistics.means import Difference, MeanInterval, mean_interval, permutation_p


def wilson(proportion: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion of so many trials (1927).

    The ends are (p + z²/2n ± z √(p (1 - p)/n + z²/4n²)) / (1 + z²/n).
    """
    z = float(stats.norm.ppf((1 + confidence) / 2))
    centre = proportion + z**2 / (2 * trials)
    half = z * math.sqrt(proportion * (1 - proportion) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    # At the ends the sums are exact but for rounding.
    low = 0.0 if proportion == 0 else max(0.0, (centre - half) / scale)
    return low, 1.0 if proportion == 1 else min(1.0, (centre + half) / scale)


def effective_trials(values: Sequence[float], episodes: int, confidence: float = 0.95) -> float:
    """Return how many independent trials proportions of runs are worth.

    A mean p of n runs with variance s²/n is worth as many as have that variance, p (1 - p) n / s²,
    times (z / t_{n-1})² because s is of few runs (Korn and Graubard, 1998, "Confidence intervals
    for proportions with small expected number of positive counts estimated from survey data",
    Survey Methodology 24). They are no fewer than the runs, and no more than all episodes; so many
    they are where no run differs from another.

    Args:
        values: of two runs or more, from 0 to 1.
        episodes: that each of them is of.
        confidence: of the interval that is made of it.
    """
    sample = np.asarray(values, dtype=float)
    count, mean = len(sample), float(sample.mean())
    variance = float(sample.var(ddof=1)) / count
    most = float(count * episodes)
    if variance < mean * (1 - mean) / most or mean in (0.0, 1.0):
        return most
    level = (1 + confidence) / 2
    shrunk = (float(stats.norm.ppf(level)) / float(stats.t.ppf(level, count - 1))) ** 2
    return min(most, max(float(count), mean * (1 - mean) / variance * shrunk))


def proportion_interval(
    values: Sequence[float], episodes: int, confidence: float = 0.95
) -> MeanInterval:
    """Return the mean of proportions of runs, with Wilson's interval of `effective_trials`.

    With one run the standard deviation and the interval are nan; with none, the mean too.
    """
    plain = mean_interval(values, confidence)
    if plain.count < 2:
        return plain
    low, high = wilson(plain.mean, effective_trials(values, episodes, confidence), confidence)
    return MeanInterval(plain.count, plain.mean, plain.std, low, high)


def proportion_difference(
    a: Sequence[float], b: Sequence[float], episodes: int, confidence: float = 0.95
) -> Difference:
    """Return the difference of mean proportions `a - b` over runs.

    The interval is Newcombe's (1998, "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17, method 10) of `effective_trials`; the p-value is the
    permutation test's. With fewer than two runs on a side nothing but the difference is known.
    """
    if min(len(a), len(b)) == 0:
        return Difference(math.nan, math.nan, math.nan, math.nan, math.nan)
    first, second = (proportion_interval(one, episodes, confidence) for one in (a, b))
    mean = first.mean - second.mean
    low = high = p_value = math.nan
    if min(len(a), len(b)) > 1:
        below, above = first.mean - first.low, second.high - second.mean
        low = mean - math.sqrt(below**2 + above**2)
        below, above = second.mean - second.low, first.high - first.mean
        high = mean + math.sqrt(below**2 + above**2)
        p_value = permutation_p(a, b)
    return Difference(mean, low, high, p_value, p_value)
