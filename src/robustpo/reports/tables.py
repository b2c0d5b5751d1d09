"""The tables of a summary: Markdown, LaTeX and CSV files, one line per run, and the terminal's."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from robustpo.base.amounts import format_count
from robustpo.reports.cells import (
    difference_text,
    entropy_text,
    interval_text,
    mean_text,
    p_text,
    permutation_text,
    seeds_text,
    singles_text,
    steps_text,
)
from robustpo.reports.page_data import finite
from robustpo.reports.rows import Row
from robustpo.reports.spreadsheet import csv_cell
from robustpo.reports.summary import Summary
from robustpo.reports.verdict import worth
from robustpo.reports.words import finding, left_out_lines, notes, rules, sentence, setup_text
from robustpo.training.information_log import PREFIX

_WIDE = 110
_MEDIUM = 88
_NARROW = 72
_MAX_NOTES = 8
_MARKS = {"win": " *", "loss": " †"}
_LATEX = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def study_markdown(summary: Summary) -> str:
    """Return the paper's table, mean ± standard deviation of tasks by methods, as Markdown."""
    labels = list(summary.labels.values())
    lines = [_markdown_line(["task", *labels]), "| --- |" + " ---: |" * len(labels)]
    for task in summary.study.tasks:
        cells = [_paper_text(summary, task, variant) for variant in summary.variants]
        lines.append(f"| {_escape(task)} | {' | '.join(cells)} |")
    below = [line for line in (*notes(summary), worth(summary.decisions), *rules(summary)) if line]
    return (
        f"# {_escape(summary.study.title)}\n\n{_escape(finding(summary))}\n\n"
        f"{_escape(setup_text(summary))}. Mean ± standard deviation of "
        f"{'' if summary.quantity.name else 'the '}{_escape(summary.quantity.noun)} over "
        "seeds; * better, † worse than the reference (see below).\n\n"
        + "\n".join(lines)
        + f"\n\n{_bullets(below)}\n"
    )


def study_latex(summary: Summary) -> str:
    """Return the paper's table as a LaTeX tabular."""
    labels = summary.labels.values()
    lines = [
        f"% {setup_text(summary)}",
        rf"\begin{{tabular}}{{l{'r' * len(labels)}}}",
        r"\hline",
        "Task & " + " & ".join(map(_latex, labels)) + r" \\ \hline",
    ]
    for task in summary.study.tasks:
        cells = [_paper_text(summary, task, variant) for variant in summary.variants]
        texts = [
            cell.replace("±", r"$\pm$").replace("*", "$^*$").replace("†", r"$^\dagger$")
            for cell in cells
        ]
        lines.append(f"{_latex(task)} & " + " & ".join(texts) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def _paper_text(summary: Summary, task: str, variant: str) -> str:
    row = summary.by_pair.get((task, variant))
    if row is None or not row.returns:
        return "-"
    mark = _MARKS.get(row.decision.outcome, "") if row.decision else ""
    left_out = f" ({row.left_out})" if row.left_out else ""
    return mean_text(row, summary.digits[task]) + mark + left_out


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def rows_csv(summary: Summary) -> str:
    """Return one line per task and method, everything the page's table shows."""
    return _csv([_csv_row(summary, row) for row in summary.rows])


def _csv_row(summary: Summary, row: Row) -> dict[str, Any]:
    decision = row.decision
    # Without a difference there is no verdict to be called `none` either.
    known = decision if decision and not math.isnan(decision.difference.mean) else None
    difference, improvement = known and known.difference, decision and decision.improvement
    numbers = {
        "mean": row.interval.mean,
        "std": row.interval.std,
        "low": row.interval.low,
        "high": row.interval.high,
        "entropy": row.entropy,
        "difference": difference and difference.mean,
        "difference_low": difference and difference.low,
        "difference_high": difference and difference.high,
        "p": difference and difference.p_adjusted,
        "p_permutation": known and known.permutation,
        "verdict": known and known.outcome,
        "improvement": improvement and improvement.value,
        "improvement_low": improvement and improvement.low,
        "improvement_high": improvement and improvement.high,
        **row.statistics,
    }
    published = [f"{one['mean']} ± {one['std']} ({one['source']})" for one in row.published]
    return {
        "task": row.task,
        "method": row.label,
        "seeds": len(row.seeds),
        "left_out": row.left_out,
        **numbers,
        "reached": row.reached,
        "published": "; ".join(published),
        "command": summary.command(row),
    }


def runs_csv(summary: Summary) -> str:
    """Return one line per run that could be read: which it is and how it ended."""
    which = ("task", "variant", "method", "seed")
    ended = ("status", "final_return", "episodes", "steps", "seconds")
    lines = []
    said = dict.fromkeys(name for one in summary.runs for name in one.end.information)
    for one in summary.runs:
        run, end = one.run, one.end
        line = {name: getattr(run, name) for name in which}
        line |= {name: getattr(end, name) for name in ended}
        line |= {"path": str(run.path), "total_steps": run.total_steps}
        line |= {"time_limit": run.time_limit, "error": end.error}
        means = {name: end.information[name].mean for name in end.information}
        lines.append(line | {f"{PREFIX}{csv_cell(name)}": means.get(name) for name in said})
    return _csv(lines)


def _csv(lines: list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _csv_value(value) for name, value in line.items()} for line in lines)
    return stream.getvalue()


def _csv_value(value: Any) -> Any:
    if isinstance(value, float):
        return finite(value)
    return csv_cell(value) if isinstance(value, str) else value


def comparison_markdown(summary: Summary) -> str:
    """Return a study of one task as Markdown: verdict, variants, meaning of columns, what misses.

    Every variant has a line, with all that is known of it.
    """
    (task,) = summary.study.tasks
    few, tested = _has_few_seeds(summary), _has_tests(summary)
    digits, reference = summary.digits[task], summary.labels[summary.reference]
    header = ["variant", "seeds", summary.quantity.noun, "95% interval"]
    header += ["single seeds"] if few else []
    header += ["entropy", "episodes", "steps", f"difference to {reference}"]
    tests = [] if summary.quantity.proportion else ["p (Welch)"]
    header += [*tests, "p (permutation)"] if tested else []
    lines = [_markdown_line(header), "|" + " --- |" * len(header)]
    for row in summary.rows:
        seeds = f"{len(row.seeds)} ({row.left_out})" if row.left_out else str(len(row.seeds))
        cells = [row.label, seeds, mean_text(row, digits), interval_text(row, digits)]
        cells += [singles_text(row, digits)] if few else []
        cells += [entropy_text(row), str(row.episodes), steps_text(row)]
        cells += [difference_text(row, digits, reference)]
        cells += [p_text(row)] if tested and tests else []
        cells += [_permutation_text(summary)(row)] if tested else []
        lines.append(_markdown_line(cells))
    parts = [f"# {_escape(task)}", _escape(sentence(summary)), "\n".join(lines)]
    parts.append(_bullets(_footnotes(summary)))
    parts += [_escape(line) for line in (worth(summary.decisions), *summary.study.notes) if line]
    if left_out := left_out_lines(summary):
        parts.append(f"Left out of these numbers:\n\n{_bullets(left_out)}")
    return "\n\n".join(parts) + "\n"


def _permutation_text(summary: Summary) -> Callable[[Row], str]:
    """Return what writes the permutation test's p: adjusted, where it is the only test."""
    return p_text if summary.quantity.proportion else permutation_text


def _has_few_seeds(summary: Summary) -> bool:
    """Tell whether a variant has too few seeds, so that they are shown one by one."""
    return any(row.has_few_seeds for row in summary.rows)


def _has_tests(summary: Summary) -> bool:
    """Tell whether any variant has enough seeds for p-values."""
    return any(one.has_enough_seeds for one in summary.decisions)


def _footnotes(summary: Summary) -> tuple[str, ...]:
    """Say what the columns mean and how the runs were made."""
    tests, proportion = "", summary.quantity.proportion
    if _has_tests(summary) and proportion:
        adjusted = ", Holm-adjusted over all comparisons with the reference"
        tests = " p: permutation test of the difference of means over seeds"
        tests += (adjusted if len(summary.rows) > 2 else "") + "."
    elif _has_tests(summary):
        several = len(summary.rows) > 2
        tests = " p: Welch's t test"
        tests += ", Holm-adjusted over all comparisons with the reference" if several else ""
        tests += "; permutation test of the difference of means"
        tests += ", not adjusted" if several else ""
        tests += (
            ". A difference is shown where both are below 0.05; each interval stands for itself."
        )
    return (
        f"{setup_text(summary)}.",
        f"{summary.quantity.rule}; mean ± standard deviation over seeds, "
        + ("Wilson interval" if proportion else "Student t interval")
        + f". Difference: 95% {'Newcombe' if proportion else 'Welch'} interval."
        + tests,
        "Entropy: of the policy at the end of training. Episodes: of all seeds together. Steps: "
        "of one seed.",
    )


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_escape(line)}" for line in lines)


def _markdown_line(cells: list[str]) -> str:
    return "| " + " | ".join(map(_escape, cells)) + " |"


def _escape(text: str) -> str:
    """Keep names from ending a cell or becoming markup."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())


class TerminalTable:
    """A study of one task as a rich renderable, without columns a terminal has no room for."""

    def __init__(self, summary: Summary) -> None:
        self.summary = summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the verdict, the table and what was left out, fitted to the width."""
        summary = self.summary
        (task,) = summary.study.tasks
        parts = [
            Text(sentence(summary), style="bold"),
            Text(""),
            Text(task, style="bold"),
            Text(setup_text(summary), style="dim"),
            _rich_table(summary, options.max_width),
        ]
        for row in summary.rows:
            if row.has_few_seeds and len(row.returns) > 1:
                singles = singles_text(row, summary.digits[task])
                parts.append(Text(f"{row.label}, single seeds: {singles}"))
        left_out = left_out_lines(summary)
        lines = [f"left out: {line}" for line in left_out[:_MAX_NOTES]]
        if len(left_out) > _MAX_NOTES:
            lines.append(f"left out: {len(left_out) - _MAX_NOTES} more, see table.md")
        parts += [Text(line, style="yellow") for line in (*lines, *summary.study.notes)]
        if text := worth(summary.decisions):
            parts.append(Text(text, style="dim"))
        yield Group(*parts)


def _rich_table(summary: Summary, width: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("variant", overflow="fold")
    table.add_column("seeds", justify="right")
    digits, reference = summary.digits[summary.study.tasks[0]], summary.labels[summary.reference]
    columns: list[tuple[str, Callable[[Row], str]]] = [
        (summary.quantity.noun, lambda row: mean_text(row, digits)),
        ("95% interval", lambda row: interval_text(row, digits)),
    ]
    if width >= _NARROW:
        versus = f"vs {reference} (95%)"
        columns.append((versus, lambda row: difference_text(row, digits, reference)))
        # The sentence below has the tests of the best in any width.
        if _has_tests(summary) and width >= _MEDIUM:
            columns += [] if summary.quantity.proportion else [("p Welch", p_text)]
            columns.append(("p perm.", _permutation_text(summary)))
    if width >= _WIDE:
        columns.append(("entropy", entropy_text))
        columns.append(("episodes", lambda row: format_count(row.episodes)))
        columns.append(("steps", steps_text))
    for name, _ in columns:
        table.add_column(Text(name), justify="right")
    for row in summary.rows:
        values = [Text(text_of(row)) for _, text_of in columns]
        table.add_row(Text(row.label), Text(seeds_text(row)), *values)
    return table
