"""The check of the theory as Markdown for a file and as a rich renderable for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from robustpo.reports.formats import format_p
from robustpo.statistics.means import MeanInterval
from robustpo.theory.bias import Bias
from robustpo.theory.estimates import Interval
from robustpo.theory.findings import Findings
from robustpo.theory.flatness import MEASURES, Comparison
from robustpo.theory.penalty import coverage
from robustpo.theory.sentences import interval_text, sentences
from robustpo.theory.smoothing import Smoothing


def setup_line(findings: Findings) -> str:
    """Say how the numbers were made."""
    setup = findings.setup
    seeds = ", ".join(map(str, setup.seeds))
    start = f", all started from {setup.init_policy}" if setup.init_policy else ""
    return (
        f"{setup.task}; PPO and RPO, seeds {seeds}; {setup.steps:,} steps each; alpha "
        f"{setup.alpha:g}{start}"
    )


def markdown(findings: Findings) -> str:
    """Return everything but the single points of training as Markdown."""
    parts = [
        "# The theory, checked with numbers",
        f"{setup_line(findings)}.",
        *(["Failed: " + "; ".join(findings.failures) + "."] if findings.failures else []),
        "## What was found",
        "\n".join(f"{i}. {line}" for i, line in enumerate(sentences(findings), 1)),
        *_bias_section(findings),
        *_penalty_section(findings),
        *_smoothing_section(findings.smoothings),
        *_sharpness_section(findings),
        *_setup_section(findings),
    ]
    return "\n\n".join(parts) + "\n"


def _bias_section(findings: Findings) -> list[str]:
    header = ("policy", "objective", "bias", "noise alone", "p", "predicted", "p of that", "cosine")
    scale_header = ("policy", "objective", "dimension", "σ", "gradient", "bias", "predicted")
    return [
        "## Bias of the gradient (eq. 10, 22)",
        _bias_text(findings),
        "![bias](bias.png)",
        "Mean's parameters. Bias: length of the measured bias over the gradient's; noise alone: "
        "what Monte Carlo stays below in 19 of 20; p: of zero (length and largest coordinate, "
        "Bonferroni-adjusted); predicted: length of the predicted bias, and p of it.",
        _table(header, (_bias_row(one) for one in findings.biases)),
        "Log σ, per dimension of the action, with 95% t intervals.",
        _table(scale_header, (row for one in findings.biases for row in _scale_rows(one))),
    ]


def _bias_text(findings: Findings) -> str:
    setup = findings.setup
    return (
        f"Every draw of the noise is of a whole rollout, {setup.effort.draws} draws; differences "
        "to the gradient at z = 0 of objectives to be maximised. The policies are the first and "
        "the last of the first seed; the last is the one that collected the last rollout."
    )


def _bias_row(one: Bias) -> Sequence[str]:
    predicted = "-" if one.predicted_norm is None else f"{one.predicted_norm:.3g}"
    agreement = "-" if one.agreement is None else _p(one.agreement)
    test = one.mean
    return (
        one.policy,
        one.objective,
        f"{test.norm:.3g}",
        f"{test.noise_limit:.3g}",
        _p(test.p_value),
        predicted,
        agreement,
        interval_text(one.cosine) if math.isfinite(one.cosine.mean) else "-",
    )


def _scale_rows(one: Bias) -> list[Sequence[str]]:
    return [
        (
            one.policy,
            one.objective,
            str(index),
            f"{scale.sigma:.3f}",
            f"{scale.plain:.3g}",
            interval_text(scale.bias),
            "-" if scale.predicted is None else f"{scale.predicted:.3g}",
        )
        for index, scale in enumerate(one.log_std)
    ]


def _penalty_section(findings: Findings) -> list[str]:
    rows = []
    for family in ("gaussian", "laplace", "gumbel"):
        own = coverage(list(findings.penalties), family)
        error = f"{own.largest_error:.2%}"
        rows.append((family, str(own.cells), str(own.covering), error, _p(own.p_value)))
    cells = [
        (
            one.family,
            f"{one.alpha:g}",
            f"{one.scale:g}",
            interval_text(one.measured),
            f"{one.second_order:.4g}",
            f"{one.exact:.4g}",
        )
        for one in findings.penalties
    ]
    return [
        "## The penalty (eq. 13, 32)",
        "![penalty](penalty.png)",
        "Measured against the closed form, averaged over the actions. For Gaussians that is the "
        "paper's α²/(6σ²): an equality, for every action. For Laplace and Gumbel α²/6 times "
        "Fisher's information of the location is the second order only.",
        _table(("policy", "cells", "intervals covering", "largest distance", "p"), rows),
        _table(("policy", "alpha", "scale", "measured", "second order", "exact"), cells),
    ]


def _smoothing_section(smoothings: Sequence[Smoothing]) -> list[str]:
    rows = [
        (
            one.policy,
            f"{one.trace:.4g}",
            f"{one.trace_actor:.4g}",
            f"{one.trace_log_std:.4g}",
            interval_text(one.estimate),
            "-" if one.holds_to is None else f"{one.holds_to:g}",
            "-" if one.fails_from is None else f"{one.fails_from:g}",
        )
        for one in smoothings
    ]
    points = [
        (
            one.policy,
            f"{point.alpha:g}",
            interval_text(point.change),
            f"{point.second_order:.3g}",
            interval_text(point.departure, 100),
        )
        for one in smoothings
        for point in one.points
    ]
    location = [
        (
            one.policy,
            *(f"{x:.6g}" for x in (one.location.likelihood, one.location.likelihood_formula)),
            *(f"{x:.6g}" for x in (one.location.surrogate, one.location.surrogate_formula)),
        )
        for one in smoothings
    ]
    header = ("policy", "Tr H", "actor", "log σ", "Hutchinson", "holds to alpha", "fails from")
    return [
        "## The smoothed loss (eq. 34, 40)",
        "![smoothing](smoothing.png)",
        "L = −mean(Â π/π_old) over one rollout at the parameters that collected it, not clipped. "
        "The Hessian of the return itself cannot be had; L has the gradient of −J there. Holds to: "
        "the 95% interval of the departure from the second order is within 10%; fails from: it is "
        "wholly beyond. "
        + ("Tr H is exact." if smoothings[0].exact else "Tr H is Hutchinson's mean."),
        _table(header, rows),
        _table(("policy", "alpha", "change", "second order", "departure (%)"), points),
        "With respect to the location alone (appendix C.7): by differentiation and by formula, "
        "Σ 1/σ² for −log π and Σ ∂L/∂(log σ)/σ² for the surrogate.",
        _table(("policy", "−log π", "formula", "surrogate", "formula"), location),
    ]


def _sharpness_section(findings: Findings) -> list[str]:
    last = max(one.step for one in findings.sharpness)
    header = ("measure", "PPO", "RPO", "difference", "p (Holm)", "RPO is")
    singles = [
        (
            one.method,
            str(one.seed),
            f"{one.sigma:.3f}",
            *(interval_text(x) for x in (one.trace, one.common_trace, one.likelihood_trace)),
            f"{one.largest:.3g} {_bound_text(one.largest_bound)}",
            f"{one.smallest:.3g} {_bound_text(one.smallest_bound)}",
        )
        for one in findings.sharpness
        if one.step == last
    ]
    single_header = (
        "method",
        "seed",
        "σ",
        "Tr H",
        "at σ = 1",
        "Tr of −log π",
        "largest",
        "smallest",
    )
    return [
        "## Sharpness along training",
        findings.verdict,
        "![sharpness](sharpness.png)",
        "![directions](directions.png)",
        "Means over seeds with 95% t intervals, differences with 95% Welch intervals. The Hessian "
        "of the surrogate is not definite, so its trace can have either sign, and changes from "
        "rollout to rollout. Curvature in the location scales as 1/σ²: what is measured at a "
        "common σ gives every policy σ = 1, its own mean and standard noise. Each interval stands "
        "for itself; p-values are Welch's, Holm-adjusted over the measures.",
        _table(header, (_comparison_row(one) for one in findings.comparisons)),
        f"Single agents at step {last:,}; traces with 95% intervals over the probes, eigenvalues "
        "with Lanczos' error bound.",
        _table(single_header, singles),
    ]


def _comparison_row(one: Comparison) -> Sequence[str]:
    difference = one.difference
    return (
        MEASURES[one.measure],
        _mean_text(one.ppo),
        _mean_text(one.rpo),
        interval_text(Interval(difference.mean, difference.low, difference.high)),
        _p(difference.p_adjusted),
        one.finding,
    )


def _setup_section(findings: Findings) -> list[str]:
    effort = findings.setup.effort
    found = findings.provenance
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    returns = ", ".join(
        f"{method.upper()} {' '.join(f'{value:.0f}' for value in own.values())}"
        for method, own in findings.returns.items()
    )
    return [
        "## Setup",
        f"- {setup_line(findings)}.\n"
        f"- Final training returns by seed: {returns}.\n"
        f"- {effort.points} points of training, {effort.draws} draws per bias, {effort.pairs} "
        f"antithetic pairs, {effort.probes} probes, {effort.iterations} Lanczos steps, "
        f"{effort.directions} directions; float64.\n"
        f"- {versions}; {found['machine']['system']} {found['machine']['architecture']}, "
        f"{found['machine']['processor']}.",
    ]


class TerminalSummary:
    """What was found as a rich renderable: the comparison of sharpness and the sentences."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the setup, the table and the sentences."""
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
        table.add_column("sharpness at the end", overflow="fold")
        for name in ("PPO", "RPO", "difference (95%)", "RPO is"):
            table.add_column(name, justify="right")
        for one in self.findings.comparisons:
            cells = _comparison_row(one)
            table.add_row(
                Text(cells[0]),
                f"{one.ppo.mean:.3g}",
                f"{one.rpo.mean:.3g}",
                Text(cells[3]),
                one.finding,
            )
        lines = [Text(f"{i}. {line}\n") for i, line in enumerate(sentences(self.findings), 1)]
        yield Group(Text(setup_line(self.findings), style="bold"), Text(""), *lines, table)


def _bound_text(bound: float) -> str:
    return "± < 1e-06" if bound < 1e-6 else f"± {bound:.0e}"


def _mean_text(interval: MeanInterval) -> str:
    return interval_text(Interval(interval.mean, interval.low, interval.high))


def _p(p_value: float) -> str:
    return format_p(p_value).removeprefix("p ").removeprefix("= ")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
