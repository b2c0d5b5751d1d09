"""Learning curves and entropy curves, as figures that come out the same every time."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from robustpo.reports.alignment import Band, Curve, curves_of, mean_band
from robustpo.reports.formats import count_seeds
from robustpo.reports.style import PPO_COLOUR, RPO_COLOUR, house_style
from robustpo.training.progress_state import format_count
from robustpo.writing import write_atomically

AXIS_TITLES = {
    "return_mean": "episodic return (training)",
    "entropy": "policy entropy (nats)",
}

# Okabe and Ito's palette, told apart by people with any of the common colour vision deficiencies.
# Its yellow is left out: on white it cannot be seen.
_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", RPO_COLOUR, PPO_COLOUR)
_LINE_STYLES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)))

_TEXT_COLOUR = "#222222"
_LABEL_WIDTH = 24
_DPI = 150
_WIDTH, _HEIGHT = 9.0, 5.0


@dataclass(frozen=True)
class _Look:
    """How a variant is drawn."""

    colour: str
    line_style: object
    strength: float


@dataclass(frozen=True)
class _Drawn:
    """What is drawn of a variant."""

    label: str
    look: _Look
    curves: list[Curve]
    band: Band | None


def plot_curves(
    results: pl.DataFrame,
    column: str,
    *,
    title: str,
    subtitle: str,
    labels: Mapping[str, str],
) -> Figure:
    """Draw a quantity over training: mean over seeds, its 95% t interval and the single seeds.

    Args:
        results: metrics as `load_results` returns them, of one task.
        column: the quantity, a column of `results`.
        title: usually the id of the task.
        subtitle: how the runs were made.
        labels: the variants to draw, in order, with their names in the legend.
    """
    with house_style():
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        looks = _looks(tuple(labels.values()))
        drawn = [
            _draw_variant(axes, results, column, variant, label, looks[label])
            for variant, label in labels.items()
        ]
        _finish_axes(axes, column, drawn)
        _write_titles(figure, title, subtitle, several=any(len(d.curves) > 1 for d in drawn))
        _add_legend(figure, results, labels, drawn)
    return figure


def save_figure(figure: Figure, stem: Path, root: Path | None = None) -> list[Path]:
    """Write a figure as `<stem>` with `.png`, `.svg` and `.pdf`, without dates, versions, paths.

    Raises:
        ConfigError: if a directory below `root` is a link, as `write_atomically` has it.
        StorageError: if a file could not be written.
    """
    hidden = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in hidden]
    with house_style():
        for path, metadata in zip(paths, hidden.values(), strict=True):
            content = io.BytesIO()
            figure.savefig(content, dpi=_DPI, metadata=metadata, format=path.suffix[1:])
            write_atomically(path, content.getvalue(), root)
    return paths


def _looks(labels: Sequence[str]) -> dict[str, _Look]:
    """Give every variant its look: PPO orange and RPO blue in every figure, others in order."""
    colours: dict[str, str] = {}
    for method, colour in (("ppo", PPO_COLOUR), ("rpo", RPO_COLOUR)):
        # The method as it is comes before the same with other settings.
        named = [label for label in labels if label.split("_")[0] == method]
        if named:
            colours[method if method in named else named[0]] = colour
    palette = [c for c in _COLOURS if c not in colours.values()]
    # With many variants only the means can be told apart, so the rest steps back.
    strength = 1.0 if len(labels) <= 3 else 0.6
    others = [label for label in labels if label not in colours]
    looks = {label: _Look(colour, _LINE_STYLES[0], strength) for label, colour in colours.items()}
    for index, label in enumerate(others):
        style = _LINE_STYLES[index // len(palette) % len(_LINE_STYLES)]
        looks[label] = _Look(palette[index % len(palette)], style, strength)
    return looks


def _draw_variant(
    axes: Axes, results: pl.DataFrame, column: str, variant: str, label: str, look: _Look
) -> _Drawn:
    curves = curves_of(results, variant, column)
    band = mean_band(curves)
    style = {"color": look.colour, "linestyle": look.line_style}
    if len(curves) > 1 or band is None:
        for curve in curves:
            axes.plot(
                curve.steps,
                curve.values,
                linewidth=0.8,
                alpha=0.4 * look.strength,
                zorder=2,
                **style,
            )
    if band is not None:
        # One point makes no line, so a run of a single row needs a mark.
        marker = "o" if len(band.steps) == 1 else None
        axes.plot(band.steps, band.mean, linewidth=2.2, zorder=4, marker=marker, **style)
        if len(curves) > 1:
            fill = {"color": look.colour, "alpha": 0.16 * look.strength, "linewidth": 0}
            axes.fill_between(band.steps, band.low, band.high, zorder=1, **fill)
    return _Drawn(label, look, curves, band)


def _finish_axes(axes: Axes, column: str, drawn: Sequence[_Drawn]) -> None:
    axes.set_xlabel("environment steps", color=_TEXT_COLOUR)
    axes.set_ylabel(AXIS_TITLES.get(column, column), color=_TEXT_COLOUR)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: format_count(step)))
    axes.tick_params(length=3)
    curves = [curve for one in drawn for curve in one.curves]
    if not curves:
        axes.text(
            0.5, 0.5, "nothing recorded yet", transform=axes.transAxes, ha="center", va="center"
        )
        axes.set_xticks([])
        axes.set_yticks([])
        return
    axes.set_xlim(0, max(float(curve.steps[-1]) for curve in curves) * 1.01)
    axes.set_ylim(*_value_limits(curves, [one.band for one in drawn if one.band is not None]))


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


def _add_legend(
    figure: Figure, results: pl.DataFrame, labels: Mapping[str, str], drawn: Sequence[_Drawn]
) -> None:
    """Name the curves beside the axes, in the order in which they end."""
    last_step = max((int(c.steps[-1]) for d in drawn for c in d.curves), default=0)
    entries = []
    for variant, one in zip(labels, drawn, strict=True):
        seeds = results.filter(pl.col("variant") == variant)["seed"].n_unique()
        height = float(one.band.mean[-1]) if one.band is not None else -np.inf
        entries.append((height, one, _legend_text(one, seeds, last_step)))
    entries.sort(key=lambda entry: -entry[0])
    handles = [
        Line2D([], [], color=one.look.colour, linestyle=one.look.line_style, linewidth=3)
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


def _legend_text(drawn: _Drawn, seeds: int, last_step: int) -> str:
    shown = len(drawn.curves)
    count = count_seeds(shown) if shown == seeds else f"{shown} of {count_seeds(seeds)}"
    lines = [*textwrap.wrap(drawn.label.replace("_", "_ "), _LABEL_WIDTH), count]
    if shown > 1 and drawn.band is None:
        lines.append("no common steps, no mean")
    elif drawn.band is not None and drawn.band.steps[-1] < 0.97 * last_step:
        lines.append(f"mean to {format_count(int(drawn.band.steps[-1]))} steps")
    return "\n".join(line.replace("_ ", "_") for line in lines)
