"""What can be said about final returns over seeds: intervals, differences, corrected p-values.

Every value is the final return of one training run: the mean over its last 100 training episodes.
Runs are independent samples, so the seeds are what is counted, never episodes or steps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

MIN_SEEDS = 5
SIGNIFICANCE = 0.05
PERMUTATIONS = 9_999

# Values that agree to this share of their size differ by rounding only.
_EQUAL = 1e-12


@dataclass(frozen=True)
class MeanInterval:
    """Mean of a sample with its t interval; what the sample is too small for is nan.

    Attributes:
        count: number of values.
        mean: their mean.
        std: their standard deviation (n - 1 in the denominator).
        low: lower end of the interval.
        high: upper end of the interval.
    """

    count: int
    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Difference of two means, `a - b`; what the samples cannot tell is nan.

    Attributes:
        mean: difference of the means.
        low: lower end of its interval.
        high: upper end of its interval.
        p_value: two-sided p-value of Welch's t test.
        p_adjusted: the same after Holm's correction over the family it was tested in.
    """

    mean: float
    low: float
    high: float
    p_value: float
    p_adjusted: float


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> MeanInterval:
    """Return the mean and Student's t interval, mean ± t_{n-1} · s / √n.

    With one value the standard deviation and the interval are nan; with none, the mean too.
    """
    sample = np.asarray(values, dtype=float)
    count = len(sample)
    if count == 0:
        return MeanInterval(0, math.nan, math.nan, math.nan, math.nan)
    mean = float(sample.mean())
    if count == 1:
        return MeanInterval(1, mean, math.nan, math.nan, math.nan)
    std = float(sample.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * std / math.sqrt(count)
    return MeanInterval(count, mean, std, mean - half, mean + half)


def welch(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Difference:
    """Return the difference of means `a - b` with Welch's t interval and p-value.

    The degrees of freedom are Welch-Satterthwaite's. With fewer than two values in a sample
    nothing but the difference is known. Two samples without any variance estimate no error, so
    there is no interval; the p-value is then 1 if they are equal and nan if they are not.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if len(first) == 0 or len(second) == 0:
        return Difference(math.nan, math.nan, math.nan, math.nan, math.nan)
    mean = float(first.mean() - second.mean())
    p_value, low, high = math.nan, math.nan, math.nan
    if _is_constant(first) and _is_constant(second):
        both = np.concatenate([first, second])
        p_value = 1.0 if min(len(first), len(second)) > 1 and _is_constant(both) else math.nan
    elif min(len(first), len(second)) > 1:
        with warnings.catch_warnings():
            # SciPy doubts the variance of a sample without any, where 0 is the right one.
            warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
            test: Any = stats.ttest_ind(first, second, equal_var=False)
        p_value = float(test.pvalue)
        low, high = (float(end) for end in test.confidence_interval(confidence))
    return Difference(mean, low, high, p_value, p_value)


def permutation_p(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the two-sided p-value of the permutation test of the difference of means.

    Nothing is assumed but that, were there no difference, any of the runs could as well have been
    of the other variant. All C(n + m, n) divisions are looked at where there are no more than
    10,000 (up to 7 against 7), as many random ones otherwise, always the same ones; so p is at
    least 2/252 with 5 against 5 runs. With no value in a sample it is nan.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if min(len(first), len(second)) == 0:
        return math.nan
    test: Any = stats.permutation_test(
        (first, second),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        vectorized=True,
        n_resamples=PERMUTATIONS,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def coverage_of_two_outcomes(runs: int, share: float, confidence: float = 0.95) -> float:
    """Return how often the t interval of a mean holds the truth if runs have two outcomes only.

    Of `runs` runs, K ~ Binomial(runs, share) solve a task and end at 1, the others at 0; the
    interval k/n ± t_{n-1} · √(k (n - k) / (n² (n - 1))) is to hold `share`. It has no width where
    all runs end alike.

    Args:
        runs: how many, at least two.
        share: of all runs there could be, how many solve the task.
        confidence: of the interval.
    """
    solved = np.arange(runs + 1)
    variance = solved * (runs - solved) / (runs**2 * (runs - 1))
    half = float(stats.t.ppf((1 + confidence) / 2, runs - 1)) * np.sqrt(variance)
    covered = np.abs(solved / runs - share) <= half
    return float(stats.binom.pmf(solved, runs, share)[covered].sum())


def _is_constant(sample: np.ndarray) -> bool:
    return float(np.ptp(sample)) <= _EQUAL * float(np.abs(sample).max())


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values (Holm 1979), in the order given.

    p̃_(i) = max_{j ≤ i} min(1, (m - j + 1) · p_(j)) for the ordered p-values. An undefined (nan)
    p-value stays so but counts in m, which errs on the cautious side.
    """
    family = len(p_values)
    order = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * family
    largest = 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (family - rank) * p))
        adjusted[index] = largest
    return adjusted
