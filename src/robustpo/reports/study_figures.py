"""A study's figure in the paper's arrangement: a panel per task, a line per method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from matplotlib.figure import Figure

from robustpo.reports.page_data import Curve, PageData
from robustpo.reports.page_looks import MethodLook, method_looks
from robustpo.reports.style import house_style
from robustpo.studies.grid import short_task
from robustpo.training.progress_state import format_count

COLUMNS = 4
PANEL = (2.9, 2.2)


def study_figure(page: PageData, quantity: Literal["return", "entropy"]) -> Figure:
    """Draw a quantity over training on every task: mean over seeds with its 95% t interval.

    Args:
        page: what the study's page shows.
        quantity: `return` or `entropy`.
    """
    tasks = [task["id"] for task in page["tasks"]]
    columns = min(COLUMNS, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    size = (max(4.6, PANEL[0] * columns), PANEL[1] * rows + 0.9)
    with house_style():
        return _draw(page, tasks, quantity, (rows, columns), size)


def _draw(
    page: PageData,
    tasks: Sequence[str],
    quantity: Literal["return", "entropy"],
    grid: tuple[int, int],
    size: tuple[float, float],
) -> Figure:
    figure = Figure(figsize=size, layout="constrained")
    labels = {method["id"]: method["label"] for method in page["methods"]}
    looks = dict(zip(labels, method_looks(list(labels)), strict=True))
    axes = figure.subplots(*grid, squeeze=False)
    for index, axis in enumerate(axes.flat):
        if index >= len(tasks):
            axis.remove()
            continue
        curves = [curve for curve in page["curves"] if curve["task"] == tasks[index]]
        _draw_panel(axis, short_task(tasks[index]), curves, quantity, labels, looks)
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    what = "Episodic return" if quantity == "return" else "Policy entropy (nats)"
    figure.suptitle(f"{page['title']}\n{what}; {page['setup']}", fontsize=9)
    return figure


def _draw_panel(
    axis: Any,
    title: str,
    curves: Sequence[Curve],
    quantity: Literal["return", "entropy"],
    labels: dict[str, str],
    looks: dict[str, MethodLook],
) -> None:
    for curve in curves:
        label, lines, look = labels[curve["method"]], curve[quantity], looks[curve["method"]]
        stroke = (0, [float(x) for x in look.dash.split()]) if look.dash else "-"
        mean, low, high = (
            [math.nan if value is None else value for value in lines[key]]
            for key in ("mean", "low", "high")
        )
        color = look.light
        axis.plot(curve["step"], mean, color=color, label=label, linewidth=1.3, linestyle=stroke)
        axis.fill_between(curve["step"], low, high, color=color, alpha=0.15, linewidth=0)
    axis.set_title(title, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.xaxis.set_major_formatter(lambda value, _: format_count(value))
