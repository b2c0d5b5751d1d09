"""How probable it is that a run of one variant ends above a run of another: one interval for it.

It is the same on one task and over a suite, and has a width everywhere: five runs above five others
are no certainty, and a bootstrap, which can only draw what was seen, would call them one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import optimize, stats

from robustpo.statistics.bootstrap import Estimate
from robustpo.statistics.estimators import improvement_by_task

IMPROVEMENT_RULE = (
    "P(better): the probability that a run ends above a run of the reference on the same task, "
    "ties half; over a suite, its mean over tasks. 95% score interval after Newcombe (2006, method "
    "5), which has a width even where every run is above every other; over several tasks with the "
    "variance as if it were the same on all, which makes it wider where tasks differ."
)

_EDGE = 1e-9


def improvement_interval(
    values: Sequence[float] | np.ndarray,
    others: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
) -> Estimate:
    """Return P(X > Y) + ½ P(X = Y) on one task with its interval.

    With fewer than two runs on a side the ends are nan, with none the value too.

    Args:
        values: final returns of the variant, `[n]`.
        others: final returns of the reference, `[m]`.
        confidence: of the interval.
    """
    first, second = np.asarray(values, dtype=float), np.asarray(others, dtype=float)
    if min(len(first), len(second)) == 0:
        return Estimate(math.nan, math.nan, math.nan)
    share = float(improvement_by_task([first], [second])[0])
    return mean_improvement([share], [(len(first), len(second))], confidence)


def mean_improvement(
    shares: Sequence[float], runs: Sequence[tuple[int, int]], confidence: float = 0.95
) -> Estimate:
    """Return the mean of such probabilities over K tasks with its interval.

    On one task the interval is Newcombe's (2006, "Confidence intervals for an effect size measure
    based on the Mann-Whitney statistic. Part 2", Statistics in Medicine 25, method 5). The ends θ
    solve |θ̄ - θ| = z · √V(θ) with the variance of the mean,

        V(θ) = 1/K² · Σ_k θ (1 - θ) / (m_k n_k) · (1 + ν_k · ((1 - θ) / (2 - θ) + θ / (1 + θ))),
        ν_k = (m_k + n_k) / 2 - 1,

    as if the probability were θ on every task. The variance is concave in θ, so where tasks differ
    the interval is wider than it need be; it never loses its width at 0 and 1.

    Args:
        shares: the probability on each task, `[K]`.
        runs: how many runs of the variant and of the reference each is of.
        confidence: of the interval.

    Returns:
        All nan without a task or if a share is nan; the ends nan if a task has fewer than two runs
        on a side.
    """
    value = float(np.mean(shares)) if shares else math.nan
    if math.isnan(value) or min(min(pair) for pair in runs) < 2:
        return Estimate(value, math.nan, math.nan)
    z = float(stats.norm.ppf((1 + confidence) / 2))
    n, m = np.array(runs, dtype=float).T

    def excess(theta: float) -> float:
        factor = 1 + ((n + m) / 2 - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        variance = (theta * (1 - theta) / (m * n) * factor).sum() / len(shares) ** 2
        return float((value - theta) ** 2 - z**2 * variance)

    # θ = θ̄ solves the equation where θ̄ is 0 or 1, and is not the end that is meant.
    below, above = min(value, 1 - _EDGE), max(value, _EDGE)
    low: Any = optimize.brentq(excess, 0.0, below) if value > 0 else 0.0
    high: Any = optimize.brentq(excess, above, 1.0) if value < 1 else 1.0
    return Estimate(value, float(low), float(high))
