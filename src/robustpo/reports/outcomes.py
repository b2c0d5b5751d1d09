"""Wins, ties and losses against the reference, task by task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import optimize, stats

from robustpo.errors import ConfigError
from robustpo.reports.bootstrap import Estimate
from robustpo.reports.estimators import improvement_by_task
from robustpo.reports.scores import StudyReturns
from robustpo.reports.statistics import MIN_SEEDS, SIGNIFICANCE, Difference, holm, welch

Outcome = Literal["win", "tie", "loss", "none"]

_EDGE = 1e-9


@dataclass(frozen=True)
class TaskOutcome:
    """One variant against the reference on one task.

    Attributes:
        task: id of the task.
        variant: name of the variant.
        seeds: how many completed runs it has.
        reference_seeds: how many the reference has.
        difference: of the mean final returns, variant minus reference; `p_adjusted` is Holm's over
            all comparisons of the study. Both p-values are nan without a verdict.
        improvement: the probability that a run of the variant ends above one of the reference.
        outcome: by `outcome_rule`; `none` is no verdict.
    """

    task: str
    variant: str
    seeds: int
    reference_seeds: int
    difference: Difference
    improvement: Estimate
    outcome: Outcome


def task_outcomes(
    returns: StudyReturns, variants: Sequence[str], reference: str
) -> list[TaskOutcome]:
    """Compare every variant with the reference on every task where both have runs on disk.

    Args:
        returns: of the whole study, since the correction is over all its comparisons.
        variants: in order, the reference among them.
        reference: the variant compared with.

    Raises:
        ConfigError: if the reference is not one of the variants.
    """
    if reference not in variants:
        raise ConfigError(
            f"reference={reference!r} is not compared; choose one of {', '.join(variants)}"
        )
    found = [
        _compare(task, variant, by_variant[variant].values, by_variant[reference].values)
        for task, by_variant in returns.items()
        for variant in variants
        if variant != reference and variant in by_variant and reference in by_variant
    ]
    adjusted = holm([one.difference.p_value for one in found])
    return [
        replace(
            one,
            difference=replace(one.difference, p_adjusted=p),
            outcome=_outcome(one.difference.mean, p),
        )
        for one, p in zip(found, adjusted, strict=True)
    ]


def outcome_rule(reference: str, comparisons: int) -> str:
    """Say when a variant wins, ties or loses a task.

    Args:
        reference: its label.
        comparisons: how many the study makes, the length of what `task_outcomes` returns.
    """
    return (
        f"Win: the mean final return is above {reference}'s and Welch's t test gives p < "
        f"{SIGNIFICANCE:g} after Holm's correction over all {comparisons} comparisons of the "
        f"study (every task, every variant). Loss: likewise below. Tie: no difference could be "
        f"shown, which does not mean that there is none. No verdict: fewer than {MIN_SEEDS} "
        f"completed seeds on either side, or nothing varies over seeds, so that there is no test."
    )


def improvement_interval(
    values: Sequence[float] | np.ndarray,
    others: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
) -> Estimate:
    """Return P(X > Y) + ½ P(X = Y) on one task with Newcombe's interval (2006, method 5).

    Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2", Statistics in Medicine 25: the ends θ solve |θ̂ - θ| = z · √V(θ),

        V(θ) = θ (1 - θ) / (m n) · (1 + ν · ((1 - θ) / (2 - θ) + θ / (1 + θ))),  ν = (m + n)/2 - 1.

    The bootstrap would put no width around θ̂ = 1, which five runs above five others give easily.
    With fewer than two runs on a side the ends are nan, with none the value too.

    Args:
        values: final returns of the variant, `[n]`.
        others: final returns of the reference, `[m]`.
        confidence: of the interval.
    """
    first, second = np.asarray(values, dtype=float), np.asarray(others, dtype=float)
    n, m = len(first), len(second)
    if min(n, m) == 0:
        return Estimate(math.nan, math.nan, math.nan)
    share = float(improvement_by_task([first], [second])[0])
    if min(n, m) < 2:
        return Estimate(share, math.nan, math.nan)
    z = float(stats.norm.ppf((1 + confidence) / 2))

    def excess(theta: float) -> float:
        factor = 1 + ((n + m) / 2 - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (share - theta) ** 2 - z**2 * theta * (1 - theta) / (m * n) * factor

    # θ = θ̂ solves the equation where θ̂ is 0 or 1, and is not the end that is meant.
    below, above = min(share, 1 - _EDGE), max(share, _EDGE)
    low: Any = optimize.brentq(excess, 0.0, below) if share > 0 else 0.0
    high: Any = optimize.brentq(excess, above, 1.0) if share < 1 else 1.0
    return Estimate(share, float(low), float(high))


def _compare(task: str, variant: str, values: np.ndarray, others: np.ndarray) -> TaskOutcome:
    difference = welch(values.tolist(), others.tolist())
    if min(len(values), len(others)) < MIN_SEEDS:
        difference = replace(difference, p_value=math.nan, p_adjusted=math.nan)
    return TaskOutcome(
        task=task,
        variant=variant,
        seeds=len(values),
        reference_seeds=len(others),
        difference=difference,
        improvement=improvement_interval(values, others),
        outcome="none",
    )


def _outcome(mean: float, p_adjusted: float) -> Outcome:
    if math.isnan(p_adjusted):
        return "none"
    if p_adjusted >= SIGNIFICANCE or mean == 0:
        return "tie"
    return "win" if mean > 0 else "loss"
