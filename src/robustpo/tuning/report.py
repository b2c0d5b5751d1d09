"""What a search leaves to read: a page, a picture, a table."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from robustpo.base.amounts import format_count
from robustpo.base.naming import short_task
from robustpo.base.writing import write_atomically
from robustpo.reports.formats import format_value
from robustpo.reports.page import plain_page
from robustpo.reports.report import ComparisonReport
from robustpo.reports.style import RPO_COLOUR, house_style, save_figure
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
        return found


def rows(found: Found) -> list[tuple[str, ...]]:
    """Return the table of trials as texts, the best first; headings come first of all."""
    over = found.search.over
    head = ("setting", *over, *(f"return at {rung / PARTS:.0%}" for rung in RUNGS), "state")
    ordered = sorted(found.trials, key=lambda t: (-t.rung, -(t.value or -np.inf), t.number))
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
    parts.append(f'<div class="command"><pre><code>{escape(found.command)}</code></pre></div>')
    content = io.BytesIO()
    with house_style():
        figure(found).savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    address = base64.b64encode(content.getvalue()).decode()
    parts.append(
        f'<p><img alt="Return against setting" src="data:image/svg+xml;base64,{address}"></p>'
    )
    if found.confirmation is not None:
        page = found.confirmation.files[0].parent.relative_to(found.confirmation.summary.out)
        link = escape(f"./confirmation/{page.as_posix()}/index.html")
        parts.append(f'<p><a href="{link}">Curves and table of the confirmation</a></p>')
    parts.append(
        f"<h2>Settings that were tried</h2>{_table(head, body)}<p>{escape(_how(found))}</p>"
    )
    parts.append(f'<div class="command"><pre><code>{escape(found.again)}</code></pre></div>')
    return plain_page(_title(found), f"<section>{''.join(parts)}</section>")


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    titles = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in line)}</tr>" for line in body
    )
    return (
        f'<div class="scroll"><table class="simple"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _title(found: Found) -> str:
    over = " and ".join(name.replace("_", " ") for name in found.search.over)
    return f"Tuned {over} of {found.search.method} on {short_task(found.search.task)}"


def _how(found: Found) -> str:
    ends = ", ".join(f"{d.name} from {d.low:g} to {d.high:g}" for d in found.dimensions)
    shares = " and ".join(f"{rung / PARTS:.0%}" for rung in RUNGS[:-1])
    early = (
        f"At {shares} of the steps, the worse half of all that had come so far was ended."
        if found.sampler in ("halving", "optuna")
        else "All were trained to the end."
    )
    return (
        f"Searched: {ends}, by {found.sampler}. Every run is of {format_count(found.search.steps)} "
        f"steps, with the schedules of that length; a setting is worth the mean over its selection "
        f"seeds of the return of the last 100 training episodes. {early}"
    )
