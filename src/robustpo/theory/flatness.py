"""Are RPO's solutions flatter? A verdict that is computed from the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from robustpo.reports.formats import format_p
from robustpo.statistics.means import (
    MIN_SEEDS,
    SIGNIFICANCE,
    Difference,
    MeanInterval,
    holm,
    mean_interval,
    welch,
)
from robustpo.theory.estimates import Interval
from robustpo.theory.sharpness import Sharpness

# In each pair the first depends on the policy's breadth and the second does not.
MEASURES = {
    "trace": "trace of the surrogate's Hessian",
    "scaled_trace": "trace of the actor's block times σ²",
    "common_trace": "trace of the actor's block at a common σ",
    "largest": "largest eigenvalue of the surrogate's Hessian",
    "likelihood_trace": "trace of the log-likelihood's Hessian, actor's block",
    "common_likelihood_trace": "the same at a common σ",
}
PAIRS = (("trace", "common_trace"), ("likelihood_trace", "common_likelihood_trace"))


@dataclass(frozen=True)
class Comparison:
    """One measure of sharpness at the end of training, over seeds.

    Attributes:
        measure: name of the field of `Sharpness`.
        ppo: mean over PPO's seeds.
        rpo: mean over RPO's seeds.
        difference: RPO minus PPO, p-values Holm-adjusted over the measures.
        finding: `lower`, `higher`, `not shown to differ` or `no verdict`.
    """

    measure: str
    ppo: MeanInterval
    rpo: MeanInterval
    difference: Difference
    finding: str


def value_of(sharpness: Sharpness, measure: str) -> float:
    """Return one measure as a number."""
    value = getattr(sharpness, measure)
    return value.mean if isinstance(value, Interval) else float(value)


def compare_sharpness(sharpness: Sequence[Sharpness]) -> list[Comparison]:
    """Compare RPO with PPO at the last point by every measure."""
    last = max((one.step for one in sharpness), default=0)
    samples = {
        measure: [
            [value_of(x, measure) for x in sharpness if (x.step, x.method) == (last, method)]
            for method in ("ppo", "rpo")
        ]
        for measure in MEASURES
    }
    plain = {measure: welch(rpo, ppo) for measure, (ppo, rpo) in samples.items()}
    adjusted = holm([one.p_value for one in plain.values()])
    found = []
    for (measure, one), p_value in zip(plain.items(), adjusted, strict=True):
        ppo, rpo = samples[measure]
        difference = Difference(one.mean, one.low, one.high, one.p_value, p_value)
        enough = min(len(ppo), len(rpo)) >= MIN_SEEDS
        finding = _finding(difference) if enough else "no verdict"
        found.append(
            Comparison(measure, mean_interval(ppo), mean_interval(rpo), difference, finding)
        )
    return found


def _finding(difference: Difference) -> str:
    if math.isnan(difference.p_adjusted) or difference.p_adjusted >= SIGNIFICANCE:
        return "not shown to differ"
    return "lower" if difference.mean < 0 else "higher"


def flatness_verdict(comparisons: Sequence[Comparison], step: int) -> str:
    """Say whether RPO's solutions are flatter, and whether only because its policies are broader.

    Below 5 seeds per method there is no verdict.
    """
    by_measure = {one.measure: one for one in comparisons}
    first = by_measure["trace"]
    seeds = min(first.ppo.count, first.rpo.count)
    if first.finding == "no verdict":
        return (
            f"Are RPO's solutions flatter? No verdict: {seeds} completed seeds of a method at step "
            f"{step:,}, and at least {MIN_SEEDS} are needed; the single seeds are shown."
        )
    parts = []
    for own, common in PAIRS:
        one, other = by_measure[own], by_measure[common]
        parts.append(
            f"{MEASURES[own]}: {one.finding} with RPO ({_numbers(one)}), at a common σ "
            f"{other.finding} ({_numbers(other)})"
        )
    conclusions = {
        _conclusion(by_measure[own].finding, by_measure[common].finding) for own, common in PAIRS
    }
    conclusion = (
        conclusions.pop()
        if len(conclusions) == 1
        else "the two losses say different things: "
        + "; ".join(
            f"by the {name}, {_conclusion(by_measure[own].finding, by_measure[common].finding)}"
            for name, (own, common) in zip(("surrogate", "log-likelihood"), PAIRS, strict=True)
        )
    )
    return (
        f"Are RPO's solutions flatter? At step {step:,}, {seeds} seeds each: {conclusion}. By the "
        f"{'; by the '.join(parts)}."
    )


def _conclusion(own: str, common: str) -> str:
    if own == "lower":
        return {
            "lower": "flatter, also at equal breadth",
            "higher": "flatter only because the policies are broader: sharper at equal breadth",
        }.get(common, "flatter, but not shown to be so at equal breadth")
    if own == "higher":
        return "sharper"
    return {
        "lower": "not shown to be flatter as they are, though flatter at equal breadth",
        "higher": "not shown to be flatter, and sharper at equal breadth",
    }.get(common, "not shown to be flatter or sharper")


def _numbers(one: Comparison) -> str:
    difference = one.difference
    return (
        f"PPO {one.ppo.mean:.3g}, RPO {one.rpo.mean:.3g}, difference {difference.mean:+.3g}, "
        f"95% Welch interval {difference.low:.3g} to {difference.high:.3g}, Holm-adjusted "
        f"{format_p(difference.p_adjusted)}"
    )
