"""What a check of the theory found, in sentences that are computed from its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from robustpo.reports.formats import format_p
from robustpo.statistics.means import SIGNIFICANCE, holm
from robustpo.theory.bias import OBJECTIVES, RATIO, Bias
from robustpo.theory.estimates import Interval
from robustpo.theory.findings import Findings
from robustpo.theory.penalty import coverage
from robustpo.theory.smoothing import Smoothing


def sentences(findings: Findings) -> tuple[str, ...]:
    """Return one sentence or two per check; the verdict on flatness is the last."""
    return (
        _mean_bias(findings.biases),
        _scale_bias(findings.biases),
        _cancellation(findings.biases),
        _clipping(findings.biases),
        _penalty(findings),
        _smoothing(findings.smoothings),
        _location(findings.smoothings),
        findings.verdict,
    )


def interval_text(interval: Interval, factor: float = 1.0) -> str:
    """Write an estimate with its interval, if it has one: `0.12 (0.10 to 0.14)`."""
    own = interval.scaled(factor)
    if math.isnan(own.low):
        return f"{own.mean:.3g}"
    return f"{own.mean:.3g} ({own.low:.3g} to {own.high:.3g})"


def of_objective(biases: Sequence[Bias], index: int) -> list[Bias]:
    """Return the biases of one objective, by policy."""
    return [one for one in biases if one.objective == OBJECTIVES[index]]


def _mean_bias(biases: Sequence[Bias]) -> str:
    own = of_objective(biases, 0)
    adjusted = holm([one.mean.p_value for one in own])
    shown = [x for x, p in zip(own, adjusted, strict=True) if p < SIGNIFICANCE]
    limit = max(one.mean.noise_limit for one in own)
    length = max(one.mean.norm for one in own)
    numbers = (
        f"measured up to {length:.1%} of the gradient's length, where Monte Carlo alone stays "
        f"below {limit:.1%} in 19 of 20; least Holm-adjusted {format_p(min(adjusted))}"
    )
    if shown:
        names = ", ".join(one.policy for one in shown)
        return (
            f"Eq. 10 and 22, mean's parameters: a bias of the log-likelihood ({names}); {numbers}."
        )
    return (
        "Eq. 10 and 22, mean's parameters: no bias of the log-likelihood's gradient could be shown "
        f"in any of {len(own)} policies; {numbers}."
    )


def _scale_bias(biases: Sequence[Bias]) -> str:
    own = of_objective(biases, 0)
    values = [scale for one in own for scale in one.log_std]
    covering = sum(x.bias.covers(x.predicted) for x in values if x.predicted is not None)
    parts = ", ".join(f"{one.policy} {interval_text(one.log_std_mean)}" for one in own)
    zero = sum(x.bias.covers(0.0) for x in values)
    return (
        "Eq. 10 and 22, log σ, of which the paper does not speak: bias of the log-likelihood's "
        f"gradient in units of the predicted +α²/(3σ²): {parts}; {covering} of {len(values)} 95% "
        f"intervals cover the prediction, {zero} cover zero."
    )


def _cancellation(biases: Sequence[Bias]) -> str:
    own = of_objective(biases, 2)
    parts = ", ".join(f"{one.policy} {interval_text(one.log_std_mean)}" for one in own)
    values = [scale for one in own for scale in one.log_std]
    covering = sum(x.bias.covers(0.0) for x in values)
    raw = [scale for one in of_objective(biases, 1) for scale in one.log_std]
    good = sum(x.bias.covers(x.predicted) for x in raw if x.predicted is not None)
    return (
        "With normalised advantages the penalty's gradient is multiplied by their mean, 0: bias of "
        f"log σ in the same units {parts}; {covering} of {len(values)} intervals cover 0. With raw "
        f"advantages {good} of {len(raw)} cover mean(A) α²/(3σ²)."
    )


def _clipping(biases: Sequence[Bias]) -> str:
    plain, clipped = of_objective(biases, RATIO), of_objective(biases, RATIO + 1)
    parts = [
        f"{two.policy}: the mean's gradient is off by {one.mean.unbiased_norm:.1%} of its length "
        f"unclipped and by {two.mean.unbiased_norm:.1%} clipped (cosine "
        f"{interval_text(two.cosine)}), log σ's by {interval_text(one.log_std_mean)} and "
        f"{interval_text(two.log_std_mean)} units"
        for one, two in zip(plain, clipped, strict=True)
    ]
    return f"What the update uses is the ratio, and its clipping. {'; '.join(parts)}."


def _penalty(findings: Findings) -> str:
    own = coverage(list(findings.penalties), "gaussian")
    others = [
        max(
            abs(one.exact / one.second_order - 1)
            for one in findings.penalties
            if one.family == family
        )
        for family in ("laplace", "gumbel")
    ]
    return (
        f"Eq. 13 and 32: {own.covering} of {own.cells} 95% intervals over alpha and σ cover "
        f"α²/(6σ²), largest distance {own.largest_error:.1%} (Bonferroni-adjusted "
        f"{format_p(own.p_value)}); for Gaussians it is an equality. At alpha four times the scale "
        f"the second order is off by {others[0]:.0%} for Laplace and {others[1]:.0%} for Gumbel."
    )


def _smoothing(smoothings: Sequence[Smoothing]) -> str:
    parts = []
    for one in smoothings:
        holds = "at no alpha tried" if one.holds_to is None else f"up to alpha {one.holds_to:g}"
        fails = "" if one.fails_from is None else f", it fails from {one.fails_from:g} on"
        parts.append(
            f"{one.policy} {holds}{fails} (Tr H {one.trace:.3g}, Hutchinson "
            f"{interval_text(one.estimate)})"
        )
    return (
        "Eq. 34 and 40: L + α²/6 Tr H is shown to be within 10% of the change that smoothing over "
        f"all {smoothings[0].parameters:,} policy parameters makes: {'; '.join(parts)}."
    )


def _location(smoothings: Sequence[Smoothing]) -> str:
    error = max(
        abs(one.location.likelihood / one.location.likelihood_formula - 1) for one in smoothings
    )
    parts = ", ".join(
        f"{one.policy} {one.location.surrogate:.3g} beside {one.location.likelihood:.3g}"
        for one in smoothings
    )
    return (
        "Appendix C.7: with respect to the location alone the log-likelihood's trace is Σ 1/σ² "
        f"(found to {error:.0e}), but the surrogate's is ∂L/∂(log σ)/σ², which is not a curvature "
        f"to be flattened and can have either sign: {parts}."
    )
