"""What a search leaves to read: a page, a picture, a table."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from robustpo.base.amounts import format_count
from robustpo.base.naming import short_task
from robustpo.base.writing import write_atomically
from robustpo.reports.formats import format_p, format_value
from robustpo.reports.page import command_line, embedded_figure, plain_page, simple_table
from robustpo.reports.report import ComparisonReport
from robustpo.reports.style import RPO_COLOUR, house_style, save_figure
from robustpo.statistics.means import MIN_SEEDS, SIGNIFICANCE, permutation_p, welch
from robustpo.studies.grid import make_grid
from robustpo.tuning.search import Search
from robustpo.tuning.space import Dimension
from robustpo.tuning.trials import PARTS, RUNGS, Trial


@dataclass(frozen=True)
class Found:
    """What a search has come to.

    Attributes:
        search: what was searched.
        dimensions: between which ends.
        sampler: how.
        trials: all settings that were tried.
        best: the recommended one.
        confirmation: of it, of the method's default and of PPO, on fresh seeds.
        confirmed: these seeds.
        command: what trains the recommended setting.
        again: what searches again, or goes on.
    """

    search: Search
    dimensions: tuple[Dimension, ...]
    sampler: str
    trials: tuple[Trial, ...]
    best: Trial
    confirmation: ComparisonReport | None
    confirmed: tuple[int, ...]
    command: str
    again: str

    @property
    def sentences(self) -> list[str]:
        """What it says, a sentence each."""
        words = ", ".join(f"{name} {self.best.setting[name]:g}" for name in self.search.over)
        found = [
            f"Recommended for {short_task(self.search.task)}: {words}, which returned "
            f"{format_value(self.best.value or 0.0, 1)} at {self.best.share:.0%} of "
            f"{format_count(self.search.steps)} steps on its selection seeds "
            f"({', '.join(map(str, self.search.seeds))}); the best of {len(self.trials)} looks "
            "better than it is.",
        ]
        if self.confirmation is not None:
            seeds = ", ".join(map(str, self.confirmed))
            found.append(
                f"On fresh seeds ({seeds}), of which the selection knows nothing: "
                f"{self.confirmation.sentence}"
            )
            found.append(self._against_default(self.confirmation))
        return found

    def _against_default(self, confirmation: ComparisonReport) -> str:
        """Say whether anything was gained over the method as it comes."""
        by_variant = {row.variant: row.returns for row in confirmation.summary.rows}
        chosen, default = self.variants
        if chosen == default:
            return f"{self.search.method} as it comes is the recommended setting."
        ours, theirs = (list(by_variant.get(name, ())) for name in (chosen, default))
        difference, permuted = welch(ours, theirs), permutation_p(ours, theirs)
        if min(len(ours), len(theirs)) < MIN_SEEDS or math.isnan(difference.p_value):
            return f"No verdict against {self.search.method} as it comes: that takes 5 seeds."
        both = max(difference.p_value, permuted) < SIGNIFICANCE
        told = ("higher" if difference.mean > 0 else "lower") if both else "not told apart"
        low, high = (format_value(end, 1) for end in (difference.low, difference.high))
        return (
            f"Against {self.search.method} as it comes: {told}; the mean differs by "
            f"{format_value(difference.mean, 1)} ({low} to {high}), Welch's test "
            f"{format_p(difference.p_value)}, permutation test {format_p(permuted)}."
        )

    @property
    def variants(self) -> tuple[str, str]:
        """Names of the recommended setting and of the method as it comes."""
        search = self.search

        def name(method: str) -> str:
            found = make_grid(search.task, [method], (0,), steps=search.steps, **search.options)
            return found[0].variant

        return name(search.method_of(self.best.setting)), name(search.method)


def rows(found: Found) -> list[tuple[str, ...]]:
    """Return the table of trials as texts, the best first; headings come first of all."""
    over = found.search.over
    head = ("setting", *over, *(f"return at {rung / PARTS:.0%}" for rung in RUNGS), "state")
    ordered = sorted(found.trials, key=_order)
    return [
        head,
        *(
            (
                str(trial.number),
                *(f"{trial.setting[name]:g}" for name in over),
                *(
                    format_value(value, 1) if value is not None else ""
                    for value in (*trial.values, *[None] * (len(RUNGS) - trial.rung))
                ),
                trial.state,
            )
            for trial in ordered
        ),
    ]


def _order(trial: Trial) -> tuple[int, float, int]:
    worth = math.inf if trial.value is None else -trial.value
    return -trial.rung, worth, trial.number


def figure(found: Found) -> Figure:
    """Draw return against each setting that was searched, by how far each trial came."""
    with house_style():
        count = len(found.dimensions)
        picture = Figure(figsize=(4.6 * count + 0.4, 3.8), layout="constrained")
        axes = picture.subplots(1, count, squeeze=False)[0]
        for axis, one in zip(axes, found.dimensions, strict=True):
            _draw(axis, found, one)
        axes[0].set_ylabel("return (training)", fontsize=9)
        handles, names = axes[0].get_legend_handles_labels()
        picture.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=4,
            frameon=False,
            fontsize=7,
            columnspacing=1.0,
            handletextpad=0.2,
        )
        seeds = ", ".join(map(str, found.search.seeds))
        picture.suptitle(
            f"{short_task(found.search.task)}: {found.search.method}, mean over selection seeds "
            f"{seeds}",
            fontsize=10,
        )
        return picture


def _draw(axis: Any, found: Found, one: Dimension) -> None:
    for rung, parts in enumerate(RUNGS, start=1):
        own = [t for t in found.trials if t.rung == rung and t.value is not None]
        axis.plot(
            [t.setting[one.name] for t in own],
            [t.value for t in own],
            linestyle="",
            marker="o",
            markersize=3 + 2 * rung,
            color=RPO_COLOUR,
            alpha=0.25 + 0.25 * rung,
            markeredgewidth=0,
            label=f"came to {parts / PARTS:.0%}",
        )
    ring: Any = {"markerfacecolor": "none", "markeredgecolor": "k", "linestyle": "", "marker": "o"}
    place = [found.best.setting[one.name]], [found.best.value]
    axis.plot(*place, markersize=13, label="recommended", **ring)
    if one.logarithmic:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel(one.name.replace("_", " "), fontsize=9)
    axis.tick_params(labelsize=8)


def write(found: Found, directory: Path, root: Path) -> list[Path]:
    """Write page, table and figure; return their paths, the page first.

    Raises:
        StorageError: if a file could not be written.
    """
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows(found))
    files = [directory / "index.html", directory / "tune.md", directory / "trials.csv"]
    for file, content in zip(
        files, (_page(found), _markdown(found), table.getvalue()), strict=True
    ):
        write_atomically(file, content.encode(), root)
    return [*files, *save_figure(figure(found), directory / "returns", root)]


def _markdown(found: Found) -> str:
    head, *body = rows(found)
    lines = [head, ["---"] * len(head), *body]
    parts = [f"# {_title(found)}", *found.sentences, f"```\n{found.command}\n```"]
    parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if found.confirmation is not None:
        parts += ["## Confirmation", found.confirmation.table.strip()]
    return "\n\n".join([*parts, _how(found), f"```\n{found.again}\n```"]) + "\n"


def _page(found: Found) -> str:
    head, *body = rows(found)
    parts = [f"<p>{escape(text)}</p>" for text in found.sentences]
    parts.append(command_line(found.command))
    parts.append(embedded_figure(figure(found), "Return against setting"))
    if found.confirmation is not None:
        page = found.confirmation.files[0].parent.relative_to(found.confirmation.summary.out)
        link = escape(f"./confirmation/{page.as_posix()}/index.html")
        parts.append(f'<p><a href="{link}">Curves and table of the confirmation</a></p>')
    parts.append(
        f"<h2>Settings that were tried</h2>{simple_table(head, body)}<p>{escape(_how(found))}</p>"
    )
    parts.append(command_line(found.again))
    return plain_page(_title(found), f"<section>{''.join(parts)}</section>")


def _title(found: Found) -> str:
    over = " and ".join(name.replace("_", " ") for name in found.search.over)
    return f"Tuned {over} of {found.search.method} on {short_task(found.search.task)}"


def _how(found: Found) -> str:
    ends = ", ".join(f"{d.name} from {d.low:g} to {d.high:g}" for d in found.dimensions)
    shares = " and ".join(f"{rung / PARTS:.0%}" for rung in RUNGS[:-1])
    stopped = sum(trial.state == "stopped" for trial in found.trials)
    ended = f", but for {stopped} that the budget ended" if stopped else ""
    early = (
        f"At {shares} of the steps, the worse half of all that had come so far was ended."
        if found.sampler in ("halving", "optuna")
        else f"All were trained to the end{ended}."
    )
    return (
        f"Searched: {ends}, by {found.sampler}. Every run is of {format_count(found.search.steps)} "
        f"steps, with the schedules of that length; a setting is worth the mean over its selection "
        f"seeds of the return of the last 100 training episodes. {early}"
    )
