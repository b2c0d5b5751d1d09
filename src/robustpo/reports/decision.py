"""The one decision on a variant and a task: is it better than the reference, and how sure is that?

It is made here, once. Sentences, tables, pages and aggregates draw it and decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from robustpo.errors import ConfigError
from robustpo.reports.formats import count_seeds
from robustpo.reports.scores import StudyReturns
from robustpo.statistics.bootstrap import Estimate
from robustpo.statistics.improvement import improvement_interval
from robustpo.statistics.means import (
    MIN_SEEDS,
    SIGNIFICANCE,
    Difference,
    holm,
    permutation_p,
    welch,
)

Outcome = Literal["win", "tie", "loss", "none"]


@dataclass(frozen=True)
class Decision:
    """One variant against the reference on one task.

    Attributes:
        task: id of the task.
        variant: name of the variant.
        reference: name of the variant that it is compared with.
        seeds: how many finished runs with a return it has; nothing else counts.
        reference_seeds: how many the reference has.
        difference: of the mean final returns, variant minus reference; `p_adjusted` is Holm's over
            all comparisons of the study. Both p-values are nan with too few seeds for a verdict.
        permutation: p-value of the permutation test, not adjusted, nan with too few seeds.
        improvement: the probability that a run of the variant ends above one of the reference.
        outcome: by `decision_rule`; `none` is no verdict.
    """

    task: str
    variant: str
    reference: str
    seeds: int
    reference_seeds: int
    difference: Difference
    permutation: float
    improvement: Estimate
    outcome: Outcome

    @property
    def has_enough_seeds(self) -> bool:
        """Whether both sides have as many finished seeds as a verdict takes."""
        return min(self.seeds, self.reference_seeds) >= MIN_SEEDS

    @property
    def is_disputed(self) -> bool:
        """Whether one of the two tests would show a difference and the other does not."""
        shown = [p < SIGNIFICANCE for p in (self.difference.p_adjusted, self.permutation)]
        return self.outcome != "none" and shown[0] != shown[1]

    def missing(self, labels: Mapping[str, str]) -> str:
        """Say why there is no verdict; nothing if there is one."""
        if self.outcome != "none":
            return ""
        if self.has_enough_seeds:
            return "no seed of a method differs from its others, so Welch's test says nothing"
        few = [
            f"{labels[name]} has {count_seeds(count)}"
            for name, count in ((self.variant, self.seeds), (self.reference, self.reference_seeds))
            if count < MIN_SEEDS
        ]
        return f"a verdict takes at least {MIN_SEEDS} finished seeds on either side, and " + (
            " and ".join(few)
        )


def decide(returns: StudyReturns, variants: Sequence[str], reference: str) -> list[Decision]:
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
        _compare(task, variant, reference, by_variant[variant], by_variant[reference])
        for task, by_variant in returns.items()
        for variant in variants
        if variant != reference and variant in by_variant and reference in by_variant
    ]
    adjusted = holm([one.difference.p_value for one in found])
    return [
        replace(
            one,
            difference=replace(one.difference, p_adjusted=p),
            outcome=_outcome(one.difference.mean, p, one.permutation),
        )
        for one, p in zip(found, adjusted, strict=True)
    ]


def decision_rule(reference: str, comparisons: int) -> str:
    """Say when a variant wins, ties or loses a task.

    Args:
        reference: its label.
        comparisons: how many the study makes, the length of what `decide` returns.
    """
    family = (
        f" after Holm's correction over all {comparisons} comparisons of the study (every task, "
        "every variant)"
        if comparisons > 1
        else ""
    )
    return (
        f"Win: the mean final return is above {reference}'s, and both tests agree: Welch's t test "
        f"gives p < {SIGNIFICANCE:g}{family}, and the permutation test of the difference of means, "
        f"which assumes no shape of the returns, gives p < {SIGNIFICANCE:g} by itself. Loss: "
        f"likewise below. Tie: no difference could be shown, which does not mean that there is "
        f"none; where one test alone would show it, that is said. No verdict: fewer than "
        f"{MIN_SEEDS} finished seeds on either side, or no seed of either differs from its others, "
        f"so that Welch's test says nothing. Runs that are not finished or have no return count "
        f"for neither side."
    )


def _compare(
    task: str, variant: str, reference: str, values: np.ndarray, others: np.ndarray
) -> Decision:
    difference, permutation = welch(values.tolist(), others.tolist()), math.nan
    if min(len(values), len(others)) < MIN_SEEDS:
        difference = replace(difference, p_value=math.nan, p_adjusted=math.nan)
    else:
        permutation = permutation_p(values.tolist(), others.tolist())
    return Decision(
        task=task,
        variant=variant,
        reference=reference,
        seeds=len(values),
        reference_seeds=len(others),
        difference=difference,
        permutation=permutation,
        improvement=improvement_interval(values, others),
        outcome="none",
    )


def _outcome(mean: float, p_adjusted: float, permutation: float) -> Outcome:
    if math.isnan(p_adjusted):
        return "none"
    if max(p_adjusted, permutation) >= SIGNIFICANCE or mean == 0:
        return "tie"
    return "win" if mean > 0 else "loss"
