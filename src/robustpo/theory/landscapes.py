"""Figures of sharpness along training and of the losses along random directions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from robustpo.base.amounts import format_count
from robustpo.reports.formats import count_seeds
from robustpo.statistics.means import mean_interval
from robustpo.theory.directions import Profile
from robustpo.theory.figure_style import COLOURS, TEXT_COLOUR, heading, new_figure
from robustpo.theory.findings import Findings
from robustpo.theory.flatness import value_of
from robustpo.theory.sharpness import Sharpness

_PANELS = (
    ("trace", "surrogate: Tr H"),
    ("largest", "surrogate: largest eigenvalue"),
    ("likelihood_trace", "−log π, actor: Tr H"),
    ("common_trace", "surrogate, actor: Tr H at σ = 1"),
    ("sigma", "standard deviation σ of the policy"),
    ("common_likelihood_trace", "−log π, actor: Tr H at σ = 1"),
)
_PROFILES = (
    ("surrogate", "surrogate −mean(Â π/π_old)"),
    ("likelihood", "−mean log π"),
    ("common_likelihood", "−mean log π at σ = 1"),
)


def draw_sharpness(findings: Findings) -> Figure:
    """Draw the measures of sharpness over training, single seeds thin."""
    figure = new_figure(
        12,
        6.8,
        f"{findings.setup.task}: sharpness along training",
        f"{_seeds(findings)}; thick: mean over seeds with 95% t interval, thin: single seeds; each "
        "value from one rollout. The lower left and right panels do not depend on how broad the "
        "policy is",
    )
    for axes, (measure, title) in zip(figure.subplots(2, 3).flat, _PANELS, strict=True):
        for method, colour in COLOURS.items():
            own = [one for one in findings.sharpness if one.method == method]
            _draw_measure(axes, own, measure, colour)
        heading(axes, title)
        axes.set_xlabel("environment steps")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: format_count(step)))
    _legend(figure)
    return figure


def _draw_measure(axes: Axes, own: Sequence[Sharpness], measure: str, colour: str) -> None:
    seeds = sorted({one.seed for one in own})
    steps = sorted({one.step for one in own})
    table = np.array(
        [
            [
                value_of(x, measure)
                for step in steps
                for x in own
                if (x.seed, x.step) == (seed, step)
            ]
            for seed in seeds
        ]
    )
    _draw_mean(axes, steps, table, colour)


def _draw_mean(axes: Axes, at: Sequence[float], table: np.ndarray, colour: str) -> None:
    """Draw rows thin and their mean thick, with its interval where there are two rows."""
    marker = "o" if len(at) == 1 else None
    for row in table:
        axes.plot(at, row, color=colour, linewidth=0.8, alpha=0.45, marker=marker, markersize=3)
    found = [mean_interval(column.tolist()) for column in table.T]
    axes.plot(at, [one.mean for one in found], color=colour, linewidth=2.2, marker=marker)
    if len(table) > 2:
        low, high = [one.low for one in found], [one.high for one in found]
        axes.fill_between(at, low, high, color=colour, alpha=0.14, linewidth=0)


def draw_directions(findings: Findings) -> Figure:
    """Draw the losses along random filter-normalised directions at the end of training."""
    last = max((one.step for one in findings.sharpness), default=0)
    figure = new_figure(
        12,
        4.6,
        f"{findings.setup.task}: losses along random directions at step {format_count(last)}",
        f"filter-normalised (arXiv 1712.09913), log σ held; {_seeds(findings)}, "
        f"{findings.setup.effort.directions} directions for each; less the loss at the centre; "
        "thick: mean over seeds with 95% t interval, thin: single seeds",
    )
    for axes, (name, title) in zip(figure.subplots(1, 3), _PROFILES, strict=True):
        for method, colour in COLOURS.items():
            own = [one for one in findings.profiles if one.method == method]
            _draw_profile(axes, own, name, colour)
        heading(axes, title)
        axes.set_xlabel("distance, in lengths of each filter")
    _legend(figure)
    return figure


def _draw_profile(axes: Axes, own: Sequence[Profile], name: str, colour: str) -> None:
    table = np.array([getattr(one, name) for one in own])
    _draw_mean(axes, own[0].distances, table, colour)


def _seeds(findings: Findings) -> str:
    counts = [
        len({one.seed for one in findings.sharpness if one.method == method}) for method in COLOURS
    ]
    if counts[0] == counts[1]:
        return f"{count_seeds(counts[0])} each"
    return f"PPO {count_seeds(counts[0])}, RPO {count_seeds(counts[1])}"


def _legend(figure: Figure) -> None:
    handles = [
        Line2D([], [], color=colour, linewidth=3, label=method.upper())
        for method, colour in COLOURS.items()
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2, frameon=False, labelcolor=TEXT_COLOUR
    )
