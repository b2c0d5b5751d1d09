"""The report on robustness: sentences, a table, figures, a section of a page and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from rich import box
from rich.table import Table

from robustpo.base.naming import short_task, slug, variant_labels
from robustpo.base.writing import write_atomically
from robustpo.reports.formats import format_p, format_value
from robustpo.reports.page import command_line, embedded_figure, plain_page, simple_table
from robustpo.reports.robustness_figures import curves_figure, kept_figure
from robustpo.reports.style import save_figure
from robustpo.statistics.means import MIN_SEEDS, SIGNIFICANCE, Difference
from robustpo.stress.findings import Finding
from robustpo.stress.results import Panel, Results

HEADINGS = (
    "shift",
    "method",
    "as in training",
    "over the levels",
    "kept",
    "half lost",
    "against {reference}",
    "p",
    "loses less, p",
)


def sentences(results: Results) -> list[str]:
    """Say of each task and variant under how many shifts it returns more, and loses less."""
    labels = variant_labels(results.variants)[0]
    found = []
    for task in results.tasks:
        for variant in results.variants:
            own = [f for f in results.findings if (f.task, f.variant) == (task, variant)]
            compared = [f for f in own if f.better is not None]
            if not compared:
                continue
            judged = [f for f in compared if f.pairs >= MIN_SEEDS]
            who, other = labels[variant], labels[results.reference]
            more = _counted([f.better for f in judged], "more", "less")
            less = _counted([f.loses_less for f in judged], "less", "more")
            text = (
                f"against {other}, {who} returns {more}, and loses {less} of its own return, of "
                f"{len(judged)} shifts"
            )
            few = min(f.pairs for f in compared)
            why = f"which takes {MIN_SEEDS} seeds that both have; there are {few}"
            if not judged:
                text = f"no verdict on {who}, {why}"
            elif len(judged) < len(compared):
                text += f" (no verdict under {len(compared) - len(judged)}, {why})"
            found.append(f"{short_task(task)}: {text}.")
    return found


def _counted(differences: Sequence[Difference | None], up: str, down: str) -> str:
    """Say under how many shifts a difference is told, and in which direction."""
    told = [d for d in differences if d is not None and d.p_adjusted < SIGNIFICANCE]
    more = sum(d.mean > 0 for d in told)
    return f"{up} under {more}, {down} under {len(told) - more}"


def table(results: Results, task: str) -> list[tuple[str, ...]]:
    """Return the rows of a task's table as texts, in the columns of `HEADINGS`."""
    labels = variant_labels(results.variants)[0]
    rows = []
    for panel in results.panels:
        if panel.task != task:
            continue
        for finding in results.of(panel):
            digits = 1 if abs(finding.nominal) >= 10 else 3
            rows.append(
                (
                    panel.shift,
                    labels[finding.variant],
                    format_value(finding.nominal, digits),
                    _interval(finding, digits),
                    "" if math.isnan(finding.kept) else f"{finding.kept:.0%}",
                    _half(panel, finding),
                    *_compared(finding, digits),
                )
            )
    return rows


def _interval(finding: Finding, digits: int) -> str:
    text = format_value(finding.area.mean, digits)
    if not math.isnan(finding.area.low):
        text += f" ± {format_value(finding.area.high - finding.area.mean, digits)}"
    return text + (f" ({finding.broken} broke)" if finding.broken else "")


def _half(panel: Panel, finding: Finding) -> str:
    """Say at which levels half is lost."""
    words = []
    ends = (
        (finding.half_below, "<", min(panel.levels)),
        (finding.half_above, ">", max(panel.levels)),
    )
    for value, sign, end in ends:
        if math.isinf(value):
            words.append(f"{sign} {end:g}")
        elif not math.isnan(value):
            words.append(f"{value:.3g}")
    return ", ".join(words)


def _compared(finding: Finding, digits: int) -> tuple[str, str, str]:
    better, less = finding.better, finding.loses_less
    if better is None or less is None:
        return "", "", ""
    text = f"{'+' if better.mean > 0 else ''}{format_value(better.mean, digits)}"
    if not math.isnan(better.low):
        text += f" ({format_value(better.low, digits)} to {format_value(better.high, digits)})"
    return text, _p(better), _p(less)


def _p(difference: Difference) -> str:
    if math.isnan(difference.p_adjusted):
        return ""
    return format_p(difference.p_adjusted).removeprefix("p = ").removeprefix("p ")


def terminal_tables(results: Results) -> list[Table]:
    """Return a table for the terminal for each task, which fits 80 columns."""
    tables = []
    for task in results.tasks:
        drawn = Table(
            title=task,
            box=box.SIMPLE_HEAD,
            title_justify="left",
            pad_edge=False,
            collapse_padding=True,
        )
        drawn.add_column("shift", overflow="fold", min_width=12)
        for title in ("mean return", "kept", "half lost at", "p", "p (loss)"):
            drawn.add_column(title, no_wrap=True)
        last = None
        for shift, method, _, mean, kept, half, _, p, less in table(results, task):
            if shift != last:
                drawn.add_row(shift, style="bold")
            drawn.add_row(f"  {method}", mean, kept, half, p, less)
            last = shift
        tables.append(drawn)
    return tables


def markdown(results: Results) -> str:
    """Return the whole report as Markdown."""
    parts = ["# Robustness\n", *(f"{text}\n" for text in (*sentences(results), *results.notes))]
    reference = variant_labels(results.variants)[0][results.reference]
    for task in results.tasks:
        head = [title.format(reference=reference) for title in HEADINGS]
        lines = [head, ["---"] * len(head), *table(results, task)]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"## {task}\n\n{body}\n")
    return "\n".join([*parts, *(f"- {rule}" for rule in rules(results)), "", _repeat(results)])


def rules(results: Results) -> list[str]:
    """Say how the numbers are to be read."""
    terms = results.terms
    other = sorted({p.simulated for p in results.panels if p.simulated not in results.tasks})
    found = [
        f"Every policy plays {terms.episodes} episodes at every level, of the same seeds, by its "
        + ("mode." if terms.deterministic else "samples."),
        "Over the levels: mean return over the range of levels by the trapezoid rule, ± half its "
        "95% t interval over policies. Kept: the share of the return above that of random actions.",
        "Half lost: the level, median over policies, at which half of the return above that of "
        "random actions is lost, on either side of what training had.",
        "p: paired t test over seeds of the difference to the reference, corrected by Holm over "
        "the shifts of a task; of what is returned over the levels, and of how much less of its "
        "own return each loses.",
    ]
    if other:
        found.append(
            f"Physics are changed in the benchmark's own implementation ({', '.join(other)}), "
            "where what nothing differs from is measured too."
        )
    return found


def _repeat(results: Results) -> str:
    return f"```\n{results.command}\n```\n" if results.command else ""


def section(results: Results) -> str:
    """Return a section of a page as HTML that needs no script; all text in it is escaped."""
    reference = variant_labels(results.variants)[0][results.reference]
    parts = ['<section class="robustness"><h2>Robustness</h2>']
    parts += [f"<p>{escape(text)}</p>" for text in (*sentences(results), *results.notes)]
    parts.append(embedded_figure(kept_figure(results), "Share of the return that is kept"))
    for task in results.tasks:
        parts.append(f"<h3><bdi>{escape(task)}</bdi></h3>")
        parts.append(
            embedded_figure(curves_figure(results, task), f"Return against level on {task}")
        )
        head = [title.format(reference=reference) for title in HEADINGS]
        parts.append(simple_table(head, table(results, task)))
    parts.append(f"<ul>{''.join(f'<li>{escape(rule)}</li>' for rule in rules(results))}</ul>")
    if results.command:
        parts.append(command_line(results.command))
    return "".join([*parts, "</section>"])


def write_page(results: Results, directory: Path, root: Path) -> Path:
    """Write the section as a page of its own and return its path.

    Raises:
        StorageError: if it could not be written.
    """
    title = f"Robustness: {', '.join(short_task(task) for task in results.tasks)}"
    path = directory / "index.html"
    write_atomically(path, plain_page(title, section(results)).encode("utf-8"), root)
    return path


def write_report(results: Results, directory: Path, root: Path) -> list[Path]:
    """Write table and figures (PNG, SVG and PDF) beside `findings.json`; return their paths.

    Raises:
        StorageError: if a file could not be written.
    """
    report = directory / "robustness.md"
    write_atomically(report, markdown(results).encode(), root)
    files = [report, *save_figure(kept_figure(results), directory / "kept", root)]
    for task in results.tasks:
        stem = "curves" if len(results.tasks) == 1 else f"curves_{slug(task)}"
        files += save_figure(curves_figure(results, task), directory / stem, root)
    return files
