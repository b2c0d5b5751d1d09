"""One variant over a suite: its aggregate scores and what they say against the reference."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from robustpo.reports.decision import Decision
from robustpo.statistics.bootstrap import Estimate, Profile, bootstrap_estimate, bootstrap_interval
from robustpo.statistics.estimators import (
    Scores,
    interquartile_mean,
    mean_score,
    optimality_gap,
    performance_profile,
)
from robustpo.statistics.improvement import mean_improvement

TAU = np.linspace(0.0, 1.0, 101)
PROFILE_RESAMPLES = 2_000


@dataclass(frozen=True)
class SuiteRow:
    """One variant over a suite, in scores.

    Attributes:
        variant: its name.
        tasks: how many tasks the aggregates are over.
        runs: completed runs that they are of.
        iqm: interquartile mean.
        mean: mean over tasks of the mean score.
        optimality_gap: mean distance below a score of 1.
        profile: fraction of runs above each score, nan without tasks.
        improvement: probability of improvement over the reference, by `mean_improvement`; None for
            the reference itself.
        wins: tasks where the variant is better by `decision_rule`.
        ties: tasks where no difference could be shown.
        losses: tasks where it is worse.
        undecided: tasks without a verdict, those included that it or the reference has no run of.
    """

    variant: str
    tasks: int
    runs: int
    iqm: Estimate
    mean: Estimate
    optimality_gap: Estimate
    profile: Profile
    improvement: Estimate | None
    wins: int
    ties: int
    losses: int
    undecided: int


def suite_row(
    variant: str,
    scores: Scores,
    decisions: Sequence[Decision] | None,
    tasks: Sequence[str],
    in_suite: int,
    rng: np.random.Generator,
) -> SuiteRow:
    """Aggregate the scores of one variant over a suite.

    Args:
        variant: its name.
        scores: one array per task that is aggregated, `[n_k]`; empty if it has no run at all.
        decisions: on it, on all tasks of the suite, None if this is the reference.
        tasks: those that are aggregated.
        in_suite: how many tasks of the suite have runs, those included that are not aggregated.
        rng: draws the bootstrap samples.
    """
    iqm, mean, gap = (
        _estimate(statistic, scores, rng)
        for statistic in (interquartile_mean, mean_score, optimality_gap)
    )
    profile = _profile(scores, rng)
    counts = Counter(one.outcome for one in decisions or ())
    decided = counts["win"] + counts["tie"] + counts["loss"]
    compared = [one for one in decisions or () if one.task in tasks]
    improvement = mean_improvement(
        [one.improvement.value for one in compared],
        [(one.seeds, one.reference_seeds) for one in compared],
    )
    return SuiteRow(
        variant=variant,
        tasks=len(scores),
        runs=sum(len(task) for task in scores),
        iqm=iqm,
        mean=mean,
        optimality_gap=gap,
        profile=profile,
        improvement=None if decisions is None else improvement,
        wins=counts["win"],
        ties=counts["tie"],
        losses=counts["loss"],
        undecided=0 if decisions is None else in_suite - decided,
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
