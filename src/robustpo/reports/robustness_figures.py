"""Figures of robustness: return against the level of each shift, and what is kept of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from robustpo.base.naming import short_task, variant_labels
from robustpo.reports.style import house_style, method_looks
from robustpo.stress.results import Panel, Results

_COLUMNS = 4
_PANEL = (2.9, 2.2)
_CELL = (0.85, 0.34)


def curves_figure(results: Results, task: str) -> Figure:
    """Draw return against level: a panel for each shift of a task, a line for each variant."""
    panels = [panel for panel in results.panels if panel.task == task]
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    labels = variant_labels(results.variants)[0]
    looks = dict(zip(results.variants, method_looks(list(labels.values())), strict=True))
    with house_style():
        size = (max(4.6, _PANEL[0] * columns), _PANEL[1] * rows + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for index, axis in enumerate(axes.flat):
            if index >= len(panels):
                axis.remove()
            else:
                _draw(axis, results, panels[index], labels, looks)
        handles, names = axes.flat[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8
        )
        seeds = max(len(one.seeds) for one in results.findings if one.task == task)
        figure.suptitle(
            f"{short_task(task)}: return where something differs from training\n"
            f"mean over {seeds} policies with 95% t interval, {results.terms.episodes} episodes "
            "each; dotted: as in training",
            fontsize=9,
        )
        return figure


def _draw(
    axis: Any, results: Results, panel: Panel, labels: dict[str, str], looks: dict[str, Any]
) -> None:
    for finding in results.of(panel):
        look = looks[finding.variant]
        mean, low, high = (
            np.array([getattr(point, name) for point in finding.curve])
            for name in ("mean", "low", "high")
        )
        axis.plot(
            panel.levels,
            mean,
            color=look.light,
            linestyle=look.line_style,
            linewidth=1.4,
            marker="o",
            markersize=2.5,
            label=labels[finding.variant],
        )
        axis.fill_between(panel.levels, low, high, color=look.light, alpha=0.15, linewidth=0)
    _limit(axis, results, panel)
    axis.axhline(
        panel.random, color="#888888", linewidth=0.8, linestyle=(0, (4, 3)), label="random actions"
    )
    axis.axvline(panel.nominal, color="#555555", linewidth=0.8, linestyle=":")
    axis.set_title(panel.shift, fontsize=8)
    axis.set_xlabel(panel.unit, fontsize=7)
    axis.tick_params(labelsize=7)


def _limit(axis: Any, results: Results, panel: Panel) -> None:
    """Show all means, and as much of the intervals as leaves these readable."""
    means = [point.mean for finding in results.of(panel) for point in finding.curve]
    known = [value for value in (*means, panel.random) if math.isfinite(value)]
    low, high = min(known), max(known)
    margin = 0.2 * (high - low) or max(1.0, abs(high)) * 0.1
    axis.set_ylim(low - margin, high + margin)


def kept_figure(results: Results) -> Figure:
    """Draw a heat map: which share of its return each variant keeps under each shift."""
    shifts = list(dict.fromkeys(panel.shift for panel in results.panels))
    labels = variant_labels(results.variants)[0]
    rows = [(task, variant) for task in results.tasks for variant in results.variants]
    kept = {(one.task, one.variant, one.shift): one.kept for one in results.findings}
    rows = [row for row in rows if any((*row, shift) in kept for shift in shifts)]
    values = np.array([[kept.get((*row, s), math.nan) for s in shifts] for row in rows])
    several = len(results.tasks) > 1
    names = [
        f"{short_task(task)}  {labels[variant]}" if several else labels[variant]
        for task, variant in rows
    ]
    with house_style():
        size = (2.6 + _CELL[0] * len(shifts), 1.9 + _CELL[1] * len(rows))
        figure = Figure(figsize=size, layout="constrained")
        axis = figure.add_subplot()
        axis.grid(visible=False)
        image = axis.imshow(np.clip(values, 0, 1), cmap="cividis", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(shifts)), shifts, rotation=35, ha="right", fontsize=8)
        axis.set_yticks(range(len(rows)), names, fontsize=8)
        for (i, j), value in np.ndenumerate(values):
            text = "–" if math.isnan(value) else f"{value:.0%}"
            dark = not math.isnan(value) and value < 0.5
            axis.text(j, i, text, ha="center", va="center", fontsize=7, color="w" if dark else "k")
        figure.colorbar(image, ax=axis, format=lambda share, _: f"{share:.0%}").ax.tick_params(
            labelsize=7
        )
        axis.set_title(
            "Share of the return above random actions that is kept,\nover the range of levels",
            fontsize=9,
        )
        return figure
