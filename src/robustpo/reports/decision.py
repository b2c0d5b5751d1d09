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
from robustpo.reports.quantity import RETURN, Quantity
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
from robustpo.statistics.proportions import proportion_difference

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
        difference: of the mean final returns, or of what `quantity` says, variant minus
            reference; `p_adjusted` is Holm's over all comparisons of the study. Both p-values are
            nan with too few seeds for a verdict.
        permutation: p-value of the permutation test, not adjusted, nan with too few seeds.
        improvement: the probability that a run of the variant ends above one of the reference.
        outcome: by `decision_rule`; `none` is no verdict.
        quantity: what is compared. Of a proportion there is one test: both p-values are the
            permutation test's.
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
    quantity: Quantity = RETURN

    @property
    def has_enough_seeds(self) -> bool:
        """Whether both sides have as many finished seeds as a verdict takes."""
        return min(self.seeds, self.reference_seeds) >= MIN_SEEDS

    @property
    def is_disputed(self) -> bool:
        """Whether one of the two tests would show a difference and the other does not."""
        shown = [p < SIGNIFICANCE for p in (self.difference.p_adjusted, self.permutation)]
        return self.outcome != "none" and not self.quantity.proportion and shown[0] != shown[1]

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


def decide(
    returns: StudyReturns, variants: Sequence[str], reference: str, quantity: Quantity = RETURN
) -> list[Decision]:
    """Compare every variant with the reference on every task where both have runs on disk.

    Args:
        returns: of the whole study, since the correction is over all its comparisons.
        variants: in order, the reference among them.
        reference: the variant compared with.
        quantity: what the returns are, if not that.

    Raises:
        ConfigError: if the reference is not one of the variants.
    """
    if reference not in variants:
        raise ConfigError(
            f"reference={reference!r} is not compared; choose one of {', '.join(variants)}"
        )
    found = [
        _compare(task, variant, reference, by_variant[variant], by_variant[reference], quantity)
        for task, by_variant in returns.items()
        for variant in variants
        if variant != reference and variant in by_variant and reference in by_variant
    ]
    adjusted = holm([one.difference.p_value for one in found])
    return [
        replace(
            one,
            difference=replace(one.difference, p_adjusted=p),
            outcome=_outcome(quantity.sign * one.difference.mean, p, one.permutation),
        )
        for one, p in zip(found, adjusted, strict=True)
    ]


def decision_rule(reference: str, comparisons: int, quantity: Quantity = RETURN) -> str:
    """Say when a variant wins, ties or loses a task.

    Args:
        reference: its label.
        comparisons: how many the study makes, the length of what `decide` returns.
        quantity: what is compared.
    """
    family = (
        f" after Holm's correction over all {comparisons} comparisons of the study (every task, "
        "every variant)"
        if comparisons > 1
        else ""
    )
    sides = ("below", "above") if quantity.less else ("above", "below")
    win = f"Win: the mean {quantity.noun} is {sides[0]} {reference}'s, and"
    few = f"No verdict: fewer than {MIN_SEEDS} finished seeds on either side"
    if quantity.proportion:
        return (
            f"{win} the permutation test of the difference of means over seeds, which assumes no "
            f"shape, gives p < {SIGNIFICANCE:g}{family}. Loss: likewise {sides[1]}. Tie: no "
            f"difference could be shown, which does not mean that there is none. {few}. Episodes "
            f"of one seed share its policy and are no independent trials, so seeds are counted; "
            f"the intervals are score intervals (Wilson; of differences Newcombe 1998, method 10) "
            f"of as many trials as the scatter over seeds leaves (Korn and Graubard 1998). Runs "
            f"that are not finished or without it count for neither side."
        )
    return (
        f"{win} both tests agree: Welch's t test "
        f"gives p < {SIGNIFICANCE:g}{family}, and the permutation test of the difference of means, "
        f"which assumes no shape of the {quantity.name or 'returns'}, gives p < {SIGNIFICANCE:g} "
        f"by itself. Loss: likewise {sides[1]}. Tie: no difference could be shown, which does not "
        f"mean that there is none; where one test alone would show it, that is said. {few}, or no "
        f"seed of either differs from its others, so that Welch's test says nothing. Runs that "
        f"are not finished or have no {quantity.name or 'return'} count for neither side."
    )


def _compare(
    task: str,
    variant: str,
    reference: str,
    values: np.ndarray,
    others: np.ndarray,
    quantity: Quantity,
) -> Decision:
    sides = values.tolist(), others.tolist()
    difference, permutation = welch(*sides), math.nan
    if quantity.proportion:
        difference = proportion_difference(*sides, quantity.episodes)
    if min(len(values), len(others)) < MIN_SEEDS:
        difference = replace(difference, p_value=math.nan, p_adjusted=math.nan)
    else:
        permutation = permutation_p(*sides)
    return Decision(
        task=task,
        variant=variant,
        reference=reference,
        seeds=len(values),
        reference_seeds=len(others),
        difference=difference,
        permutation=permutation,
        improvement=improvement_interval(quantity.sign * values, quantity.sign * others),
        outcome="none",
        quantity=quantity,
    )


def _outcome(mean: float, p_adjusted: float, permutation: float) -> Outcome:
    if math.isnan(p_adjusted):
        return "none"
    if max(p_adjusted, permutation) >= SIGNIFICANCE or mean == 0:
        return "tie"
    return "win" if mean > 0 else "loss"
