"""What the figures of this package share: the reports' look, plain numbers on logarithmic axes."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from robustpo.reports.style import PPO_COLOUR, RPO_COLOUR

COLOURS = {"ppo": PPO_COLOUR, "rpo": RPO_COLOUR}
START_COLOUR = "#555555"
# From light to dark, for an ordered quantity.
RAMP = ("#a6cee3", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b")
TEXT_COLOUR, NOTE_COLOUR = "#222222", "#555555"


def new_figure(width: float, height: float, title: str, subtitle: str) -> Figure:
    """Return an empty figure with its title, to be filled in the house's style."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    lines = textwrap.wrap(subtitle, int(width * 12.5))
    # An invisible heading reserves the room that title and subtitle take.
    figure.suptitle("\n" * (1 + len(lines)), fontsize=11)
    figure.text(
        0.012, 0.985, title, fontsize=14, weight="bold", color=TEXT_COLOUR, va="top", ha="left"
    )
    figure.text(
        0.012,
        0.985 - 0.31 / height,
        "\n".join(lines),
        fontsize=10,
        color=NOTE_COLOUR,
        va="top",
        ha="left",
        linespacing=1.4,
    )
    return figure


def colour_of(policy: str) -> str:
    """Return the colour of a policy by its name."""
    return COLOURS.get(policy.split(",")[0].lower(), START_COLOUR)


def plain_log(axes: Axes, *, x: bool = False, y: bool = False) -> None:
    """Make axes logarithmic with plain numbers: the style draws no mathematics."""
    for wanted, axis, scale in ((x, axes.xaxis, axes.set_xscale), (y, axes.yaxis, axes.set_yscale)):
        if wanted:
            scale("log")
            low, high = axis.get_data_interval()
            # A short axis would otherwise show a single number.
            subs = (1.0, 2.0, 5.0) if low > 0 and high / low < 300 else (1.0,)
            axis.set_major_locator(LogLocator(subs=subs, numticks=9))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_locator(NullLocator())
            axis.set_minor_formatter(NullFormatter())


def heading(axes: Axes, text: str) -> None:
    """Name a panel."""
    axes.set_title(text, loc="left", fontsize=11, color=TEXT_COLOUR)
    axes.tick_params(length=3)
