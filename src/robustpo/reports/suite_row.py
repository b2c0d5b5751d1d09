"""One variant over a suite: its aggregate scores and what they say against the reference."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robustpo.reports.bootstrap import Estimate, Profile, bootstrap_estimate, bootstrap_interval
from robustpo.reports.estimators import (
    Scores,
    interquartile_mean,
    mean_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from robustpo.reports.outcomes import Outcome
from robustpo.reports.scores import StudyReturns
from robustpo.reports.statistics import MIN_SEEDS

TAU = np.linspace(0.0, 1.0, 101)
PROFILE_RESAMPLES = 2_000


@dataclass(frozen=True)
class SuiteRow:
    """One variant over a suite, in scores.

    Attributes:
        variant: its name.
        tasks: how many tasks the aggregates are over.
        runs: completed runs that they are of.
        left_out: runs in the suite that are incomplete, failed or without a return.
        iqm: interquartile mean.
        mean: mean over tasks of the mean score.
        optimality_gap: mean distance below a score of 1.
        profile: fraction of runs above each score, nan without tasks.
        improvement: probability of improvement over the reference; None for the reference itself.
        improvement_outcome: what its interval says; `none` is no verdict.
        wins: tasks where the variant is better by `outcome_rule`.
        ties: tasks where no difference could be shown.
        losses: tasks where it is worse.
        undecided: tasks without a verdict, those included that it or the reference has no run of.
    """

    variant: str
    tasks: int
    runs: int
    left_out: int
    iqm: Estimate
    mean: Estimate
    optimality_gap: Estimate
    profile: Profile
    improvement: Estimate | None
    improvement_outcome: Outcome
    wins: int
    ties: int
    losses: int
    undecided: int


def suite_row(
    variant: str,
    scores: Scores,
    reference: Scores | None,
    counts: Counter[Outcome],
    returns: StudyReturns,
    rng: np.random.Generator,
) -> SuiteRow:
    """Aggregate the scores of one variant over a suite.

    Args:
        variant: its name.
        scores: one array per task that is aggregated, `[n_k]`; empty if it has no run at all.
        reference: those of the reference on the same tasks, None if this is the reference.
        counts: of the outcomes of its tasks.
        returns: of all tasks of the suite, those included that are not aggregated.
        rng: draws the bootstrap samples.
    """
    iqm, mean, gap = (
        _estimate(statistic, scores, rng)
        for statistic in (interquartile_mean, mean_score, optimality_gap)
    )
    profile = _profile(scores, rng)
    # Last, so that what is drawn before does not depend on which variant is the reference.
    improvement = None if reference is None else _improvement(scores, reference, rng)
    decided = counts["win"] + counts["tie"] + counts["loss"]
    return SuiteRow(
        variant=variant,
        tasks=len(scores),
        runs=sum(len(task) for task in scores),
        left_out=sum(by[variant].left_out for by in returns.values() if variant in by),
        iqm=iqm,
        mean=mean,
        optimality_gap=gap,
        profile=profile,
        improvement=improvement,
        improvement_outcome=_improvement_outcome(scores, reference, improvement),
        wins=counts["win"],
        ties=counts["tie"],
        losses=counts["loss"],
        undecided=0 if reference is None else len(returns) - decided,
    )


def _estimate(
    statistic: Callable[[Scores], np.ndarray], scores: Scores, rng: np.random.Generator
) -> Estimate:
    if not scores:
        return Estimate(math.nan, math.nan, math.nan)
    return bootstrap_estimate(statistic, scores, rng=rng)


def _profile(scores: Scores, rng: np.random.Generator) -> Profile:
    if not scores:
        unknown = np.full_like(TAU, np.nan)
        return Profile(TAU, unknown, unknown, unknown)
    value, low, high = bootstrap_interval(
        lambda drawn: performance_profile(drawn, TAU), scores, rng=rng, resamples=PROFILE_RESAMPLES
    )
    return Profile(TAU, value, low, high)


def _improvement(scores: Scores, reference: Scores, rng: np.random.Generator) -> Estimate:
    if not scores or not reference:
        return Estimate(math.nan, math.nan, math.nan)
    return bootstrap_estimate(probability_of_improvement, scores, reference, rng=rng)


def _improvement_outcome(
    scores: Scores, reference: Scores | None, improvement: Estimate | None
) -> Outcome:
    counts = [len(task) for task in (*scores, *(reference or ()))]
    if improvement is None or not reference or min(counts, default=0) < MIN_SEEDS:
        return "none"
    if improvement.low > 0.5:
        return "win"
    return "loss" if improvement.high < 0.5 else "tie"
