"""Figures of a quantity over training: one task with all of its seeds, or a panel per task."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from robustpo.base.amounts import format_count
from robustpo.base.naming import short_task
from robustpo.reports.formats import count_seeds
from robustpo.reports.rows import Curves
from robustpo.reports.style import MethodLook, house_style, method_looks
from robustpo.reports.summary import Summary
from robustpo.reports.words import setup_text
from robustpo.statistics.alignment import Band, Curve
from robustpo.training.information_log import PREFIX

# Of a line in a page or a panel, which are no wider.
POINTS = 150

_AXIS_TITLES = {"return": "episodic return (training)", "entropy": "policy entropy (nats)"}
_PANEL_TITLES = {"return": "Episodic return", "entropy": "Policy entropy (nats)"}
_TEXT_COLOUR = "#222222"
_LABEL_WIDTH = 24
_WIDTH, _HEIGHT = 9.0, 5.0
_COLUMNS = 4
_PANEL = (2.9, 2.2)


@dataclass(frozen=True)
class _Drawn:
    """What is drawn of a variant."""

    label: str
    look: MethodLook
    curves: Curves


def own_title(quantity: str) -> str:
    """Say what is drawn of what environments said of episodes."""
    return f"{quantity.removeprefix(PREFIX)} (training episodes)"


def study_figure(summary: Summary, quantity: str) -> Figure:
    """Draw a quantity in the paper's arrangement: a panel per task, a line and band per method.

    Args:
        summary: of the study.
        quantity: of `Summary.columns`.
    """
    tasks = summary.study.tasks
    columns = min(_COLUMNS, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    looks = method_looks(list(summary.labels.values()))
    with house_style():
        size = (max(4.6, _PANEL[0] * columns), _PANEL[1] * rows + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for index, axis in enumerate(axes.flat):
            if index >= len(tasks):
                axis.remove()
                continue
            for variant, look in zip(summary.variants, looks, strict=True):
                row = summary.by_pair.get((tasks[index], variant))
                band = row.curves[quantity].band if row else None
                if row and band:
                    _draw_band(axis, band.thinned(POINTS), look, 1.3, 0.15, label=row.label)
            axis.set_title(short_task(tasks[index]), fontsize=8)
            axis.tick_params(labelsize=7)
            axis.xaxis.set_major_formatter(lambda value, _: format_count(value))
        handles, names = axes.flat[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8
        )
        what = _PANEL_TITLES.get(quantity) or own_title(quantity)
        figure.suptitle(f"{summary.study.title}\n{what}; {setup_text(summary)}", fontsize=9)
        return figure


def comparison_figure(summary: Summary, quantity: str) -> Figure:
    """Draw a quantity of a study of one task: see `plot_curves`."""
    (task,) = summary.study.tasks
    curves = {row.label: row.curves[quantity] for row in summary.rows}
    return plot_curves(curves, quantity, title=task, subtitle=setup_text(summary))


def plot_curves(
    curves: Mapping[str, Curves], quantity: str, *, title: str, subtitle: str
) -> Figure:
    """Draw a quantity over training: mean over seeds, its 95% t interval and the single seeds.

    Args:
        curves: of every variant, by the names in the legend.
        quantity: of `Summary.columns`.
        title: usually the id of the task.
        subtitle: how the runs were made.
    """
    looks = method_looks(list(curves))
    drawn = [_Drawn(*one) for one in zip(curves, looks, curves.values(), strict=True)]
    with house_style():
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for one in drawn:
            # With many variants only the means can be told apart, so the rest steps back.
            _draw_variant(axes, one, 1.0 if len(drawn) <= 3 else 0.6)
        _finish_axes(axes, quantity, drawn)
        _write_titles(figure, title, subtitle, several=any(len(d.curves.seeds) > 1 for d in drawn))
        _add_legend(figure, drawn)
    return figure


def _draw_variant(axes: Axes, drawn: _Drawn, strength: float) -> None:
    seeds, band, look = drawn.curves.seeds, drawn.curves.band, drawn.look
    style: dict[str, Any] = {"color": look.light, "linestyle": look.line_style}
    if len(seeds) > 1 or band is None:
        for curve in seeds.values():
            faint = {"linewidth": 0.8, "alpha": 0.4 * strength, "zorder": 2}
            axes.plot(curve.steps, curve.values, **faint, **style)
    if band is not None:
        # One point makes no line, so a run of a single row needs a mark.
        marker = "o" if len(band.steps) == 1 else None
        _draw_band(axes, band, look, 2.2, 0.16 * strength, zorder=4, marker=marker)


def _draw_band(
    axes: Axes, band: Band, look: MethodLook, width: float, alpha: float, **line: Any
) -> None:
    """Draw a mean over seeds, and its interval below all lines."""
    stroke: Any = look.line_style
    axes.plot(band.steps, band.mean, color=look.light, linestyle=stroke, linewidth=width, **line)
    if not np.isnan(band.low).all():
        axes.fill_between(
            band.steps, band.low, band.high, color=look.light, alpha=alpha, linewidth=0, zorder=1
        )


def _finish_axes(axes: Axes, quantity: str, drawn: Sequence[_Drawn]) -> None:
    axes.set_xlabel("environment steps", color=_TEXT_COLOUR)
    axes.set_ylabel(_AXIS_TITLES.get(quantity) or own_title(quantity), color=_TEXT_COLOUR)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: format_count(step)))
    axes.tick_params(length=3)
    curves = [curve for one in drawn for curve in one.curves.seeds.values()]
    if not curves:
        axes.text(
            0.5, 0.5, "nothing recorded yet", transform=axes.transAxes, ha="center", va="center"
        )
        axes.set_xticks([])
        axes.set_yticks([])
        return
    axes.set_xlim(0, max(float(curve.steps[-1]) for curve in curves) * 1.01)
    bands = [band for one in drawn if (band := one.curves.band) is not None]
    axes.set_ylim(*_value_limits(curves, bands))


def _value_limits(curves: Sequence[Curve], bands: Sequence[Band]) -> tuple[float, float]:
    """Show every seed and as much of the intervals as leaves the seeds readable.

    With two or three seeds an interval may be many times wider than all the data.
    """
    low = min(float(curve.values.min()) for curve in curves)
    high = max(float(curve.values.max()) for curve in curves)
    span = (high - low) or max(1.0, abs(high)) * 0.1
    ends = [band for band in bands if not np.isnan(band.low).all()]
    low_end = min([low, *(float(np.nanmin(band.low)) for band in ends)])
    high_end = max([high, *(float(np.nanmax(band.high)) for band in ends)])
    return max(low_end, low - 0.15 * span) - 0.04 * span, min(
        high_end, high + 0.15 * span
    ) + 0.04 * span


def _write_titles(figure: Figure, title: str, subtitle: str, *, several: bool) -> None:
    if several:
        subtitle += "\nmean with 95% t interval over seeds; thin: single seeds"
    lines = [part for line in subtitle.split("\n") for part in textwrap.wrap(line, 95)]
    axes = figure.axes[0]
    axes.annotate(
        "\n".join(lines),
        (0, 1),
        xytext=(0, 9),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=10,
        color="#555555",
        linespacing=1.4,
        # Long lines may run over the legend's column; the height is reserved by the title's pad.
        in_layout=False,
    )
    heading = "\n".join(textwrap.wrap(title, 60, break_on_hyphens=False)) or title
    axes.set_title(
        heading,
        loc="left",
        fontsize=14,
        weight="bold",
        color=_TEXT_COLOUR,
        pad=14 + 15 * len(lines),
    )


def _add_legend(figure: Figure, drawn: Sequence[_Drawn]) -> None:
    """Name the curves beside the axes, in the order in which they end."""
    last_step = max((int(c.steps[-1]) for d in drawn for c in d.curves.seeds.values()), default=0)
    entries = []
    for one in drawn:
        band = one.curves.band
        height = float(band.mean[-1]) if band is not None else -np.inf
        entries.append((height, one, _legend_text(one, last_step)))
    entries.sort(key=lambda entry: -entry[0])
    handles = [
        Line2D([], [], color=one.look.light, linestyle=one.look.line_style, linewidth=3)
        for _, one, _ in entries
    ]
    # A legend that is taller than the figure would lose entries.
    lines = sum(text.count("\n") + 1 for *_, text in entries)
    needed = 0.5 + (13.5 * lines + 10 * len(entries)) / 72
    figure.set_size_inches(_WIDTH, max(_HEIGHT, needed))
    figure.legend(
        handles,
        [text for *_, text in entries],
        loc="outside right center",
        frameon=False,
        fontsize=10.5,
        labelcolor=_TEXT_COLOUR,
        labelspacing=0.9,
        handlelength=2.4,
    )


def _legend_text(drawn: _Drawn, last_step: int) -> str:
    shown, seeds, band = len(drawn.curves.seeds), drawn.curves.runs, drawn.curves.band
    count = count_seeds(shown) if shown == seeds else f"{shown} of {count_seeds(seeds)}"
    lines = [*textwrap.wrap(drawn.label.replace("_", "_ "), _LABEL_WIDTH), count]
    if shown > 1 and band is None:
        lines.append("no common steps, no mean")
    elif band is not None and band.steps[-1] < 0.97 * last_step:
        lines.append(f"mean to {format_count(int(band.steps[-1]))} steps")
    return "\n".join(line.replace("_ ", "_") for line in lines)
