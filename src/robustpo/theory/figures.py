"""Figures of bias, penalty and smoothing; all five are drawn from here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustpo.reports.style import house_style, save_figure
from robustpo.theory.bias import OBJECTIVES, Bias
from robustpo.theory.figure_style import (
    NOTE_COLOUR,
    RAMP,
    TEXT_COLOUR,
    colour_of,
    heading,
    new_figure,
    plain_log,
)
from robustpo.theory.findings import Findings
from robustpo.theory.landscapes import draw_directions, draw_sharpness
from robustpo.theory.penalty import SIGMAS, Penalty
from robustpo.theory.smoothing import Smoothing

_ROW_NAMES = (
    "log-likelihood",
    "log-likelihood\n× raw advantage",
    "log-likelihood\n× advantage",
    "ratio\n× advantage",
    "clipped ratio\n× advantage",
)


def draw_figures(findings: Findings, directory: Path) -> list[Path]:
    """Draw and save all figures; return their paths."""
    files = []
    drawings = {
        "bias": draw_bias,
        "penalty": draw_penalty,
        "smoothing": draw_smoothing,
        "sharpness": draw_sharpness,
        "directions": draw_directions,
    }
    for name, draw in drawings.items():
        with house_style():
            figure = draw(findings)
        files += save_figure(figure, directory / name, directory)
    return files


def draw_bias(findings: Findings) -> Figure:
    """Draw the bias of every objective's gradient, of the mean's parameters and of log σ."""
    setup = findings.setup
    figure = new_figure(
        11,
        5.6,
        f"{setup.task}: what the noise does to the expected gradient",
        f"alpha {setup.alpha:g}, {setup.effort.draws} draws of the noise on one rollout of each "
        "policy; bars are 95% intervals",
    )
    left, right = figure.subplots(1, 2, sharey=True)
    policies = list(dict.fromkeys(one.policy for one in findings.biases))
    for one in findings.biases:
        place = OBJECTIVES.index(one.objective) + 0.2 * (
            policies.index(one.policy) - (len(policies) - 1) / 2
        )
        _draw_one_bias(left, right, one, place)
    left.set_yticks(range(len(OBJECTIVES)), _ROW_NAMES)
    left.set_ylim(len(OBJECTIVES) - 0.5, -0.5)
    plain_log(left, x=True)
    heading(left, "mean's parameters: length of the bias / of the gradient")
    left.set_xlabel("relative length of the measured bias")
    heading(right, "log σ: bias in units of α²/(3σ²), mean over dimensions")
    right.set_xlabel("bias / (α²/(3σ²))")
    right.axvline(0, color=NOTE_COLOUR, linewidth=0.8)
    for axes in (left, right):
        axes.grid(visible=False, axis="y")
        for edge in range(len(OBJECTIVES) - 1):
            axes.axhline(edge + 0.5, color="#e4e4e4", linewidth=0.8)
    _bias_legend(figure, policies)
    return figure


def _draw_one_bias(left: Axes, right: Axes, one: Bias, place: float) -> None:
    colour, test = colour_of(one.policy), one.mean
    left.plot([test.noise_limit] * 2, [place - 0.09, place + 0.09], color=NOTE_COLOUR, linewidth=2)
    shown = test.p_value < 0.05
    left.plot(
        [test.norm], [place], "o", color=colour, markersize=7, fillstyle="full" if shown else "none"
    )
    interval = one.log_std_mean
    right.plot([interval.low, interval.high], [place] * 2, color=colour, linewidth=2.5)
    right.plot([interval.mean], [place], "o", color=colour, markersize=5)
    predicted = [x.predicted / x.unit for x in one.log_std if x.predicted is not None]
    if predicted:
        right.plot(
            [float(np.mean(predicted))], [place], "|", color=TEXT_COLOUR, markersize=13, mew=1.6
        )


def _bias_legend(figure: Figure, policies: list[str]) -> None:
    handles = [
        Line2D([], [], color=colour_of(policy), marker="o", linestyle="none", label=policy)
        for policy in policies
    ]
    handles += [
        Line2D([], [], color=NOTE_COLOUR, marker="|", linestyle="none", mew=2, markersize=10,
               label="left: noise alone stays below in 19 of 20"),
        Line2D([], [], color=NOTE_COLOUR, marker="o", linestyle="none", fillstyle="none",
               label="left, hollow: zero not refuted"),
        Line2D([], [], color=TEXT_COLOUR, marker="|", linestyle="none", mew=1.6, markersize=13,
               label="right: predicted"),
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, frameon=False, labelcolor=TEXT_COLOUR
    )


def draw_penalty(findings: Findings) -> Figure:
    """Draw the measured penalties against the formula."""
    figure = new_figure(
        11,
        5.2,
        "The penalty of the log-density: E[−log π(a | μ+z)] + log π(a | μ)",
        "averages over actions and noise z ~ U(−α, α); bars are 95% intervals",
    )
    left, middle, right = figure.subplots(1, 3)
    gaussian = [one for one in findings.penalties if one.family == "gaussian"]
    for sigma, colour in zip(SIGMAS, RAMP, strict=True):
        own = [one for one in gaussian if one.scale == sigma]
        alphas = [one.alpha for one in own]
        left.plot(alphas, [one.second_order for one in own], color=colour, linewidth=1.2)
        left.plot(alphas, [one.measured.mean for one in own], "o", color=colour, markersize=4.5)
        left.annotate(
            f"σ {sigma:g}",
            (alphas[-1], own[-1].second_order),
            xytext=(5, 0),
            textcoords="offset points",
            color=colour,
            fontsize=9,
            va="center",
        )
    plain_log(left, x=True, y=True)
    left.set_xlim(0.008, 9)
    left.set_xlabel("α")
    heading(left, "Gaussian: dots measured, lines α²/(6σ²)")
    _draw_ratios(middle, gaussian)
    _draw_others(right, findings)
    return figure


def _draw_ratios(axes: Axes, gaussian: list[Penalty]) -> None:
    for one in gaussian:
        colour = RAMP[SIGMAS.index(one.scale)]
        place = one.alpha * 1.045 ** (SIGMAS.index(one.scale) - 2.5)
        ends = [one.measured.low / one.second_order, one.measured.high / one.second_order]
        axes.plot([place] * 2, ends, color=colour, linewidth=1.6)
        axes.plot([place], [one.measured.mean / one.second_order], "o", color=colour, markersize=3)
    axes.axhline(1, color=TEXT_COLOUR, linewidth=1)
    plain_log(axes, x=True)
    axes.set_xlabel("α")
    heading(axes, "Gaussian: measured / formula")


def _draw_others(axes: Axes, findings: Findings) -> None:
    from robustpo.theory.penalty import exact_penalty

    ratios = np.geomspace(0.15, 4.5, 60)
    for family, colour in (("laplace", "#009E73"), ("gumbel", "#CC79A7")):
        exact = [exact_penalty(family, float(h)) / (h * h / 6) for h in ratios]
        axes.plot(
            ratios, exact, color=colour, linewidth=1.4, label=f"{family.capitalize()}, closed form"
        )
        for one in findings.penalties:
            if one.family == family:
                ends = [one.measured.low / one.second_order, one.measured.high / one.second_order]
                axes.plot([one.alpha] * 2, ends, color=colour, linewidth=2)
                axes.plot(
                    [one.alpha],
                    [one.measured.mean / one.second_order],
                    "o",
                    color=colour,
                    markersize=4.5,
                )
    axes.axhline(1, color=TEXT_COLOUR, linewidth=1)
    plain_log(axes, x=True)
    axes.set_xlabel("α / scale")
    axes.set_xticks([0.2, 0.5, 1, 2, 4])
    axes.legend(frameon=False, loc="upper left", labelcolor=TEXT_COLOUR)
    heading(axes, "Others: measured / second order")


def draw_smoothing(findings: Findings) -> Figure:
    """Draw the effective trace of the smoothed loss over alpha, one panel per policy."""
    setup = findings.setup
    count = len(findings.smoothings)
    figure = new_figure(
        3.9 * max(count, 2),
        4.6,
        f"{setup.task}: the smoothed surrogate and its second order",
        "6 (E[L(θ+z)] − L(θ)) / α² with z ~ U(−α, α) on every policy parameter; the second-order "
        f"formula makes it Tr H. {setup.effort.pairs} antithetic pairs, the second order of each "
        "replaced by its exact mean; 95% intervals",
    )
    panels = figure.subplots(1, count, squeeze=False)[0]
    for axes, one in zip(panels, findings.smoothings, strict=True):
        _draw_one_smoothing(axes, one)
    exact = ", exact" if findings.smoothings[0].exact else ""
    handles = [
        Line2D([], [], color=TEXT_COLOUR, linewidth=1.2, label=f"Tr H{exact} (grey band: ±10%)"),
        Line2D([], [], color=NOTE_COLOUR, marker="s", markersize=4.5, label="Tr H, Hutchinson"),
        Line2D([], [], color=NOTE_COLOUR, marker="o", markersize=4, label="smoothed loss"),
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, frameon=False, labelcolor=TEXT_COLOUR
    )
    return figure


def _draw_one_smoothing(axes: Axes, one: Smoothing) -> None:
    colour = colour_of(one.policy)
    alphas = np.array([point.alpha for point in one.points])
    ratio = np.array([[p.departure.mean, p.departure.low, p.departure.high] for p in one.points])
    mean, low, high = (one.trace * (1 + ratio)).T
    axes.axhspan(*sorted((0.9 * one.trace, 1.1 * one.trace)), color="#e4e4e4", linewidth=0)
    axes.axhline(one.trace, color=TEXT_COLOUR, linewidth=1.2)
    axes.errorbar(
        [alphas[0] / 2.2],
        [one.estimate.mean],
        [[one.estimate.mean - one.estimate.low], [one.estimate.high - one.estimate.mean]],
        color=NOTE_COLOUR,
        fmt="s",
        markersize=4.5,
    )
    axes.fill_between(
        alphas, np.minimum(low, high), np.maximum(low, high), color=colour, alpha=0.2, linewidth=0
    )
    axes.plot(alphas, mean, "o-", color=colour, markersize=4)
    plain_log(axes, x=True)
    axes.set_xlabel("α")
    heading(axes, one.policy)
