"""The table of a comparison: Markdown for a file, rich for a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from robustpo.reports.formats import format_p, format_value
from robustpo.reports.task_comparison import Comparison
from robustpo.reports.variant_row import VariantRow
from robustpo.training.progress_state import format_count

_WIDE = 110
_MEDIUM = 88
_NARROW = 72
_MAX_NOTES = 8


def markdown_table(comparison: Comparison) -> str:
    """Return the comparison as Markdown: verdict, table, meaning of columns, what is missing."""
    few, tested = has_few_seeds(comparison), has_tests(comparison)
    header = ["variant", "seeds", "final return", "95% interval"]
    header += ["single seeds"] if few else []
    header += ["entropy", "episodes", "steps", f"difference to {comparison.reference}"]
    header += ["p (Welch)", "p (permutation)"] if tested else []
    lines = [_markdown_line(header), "|" + " --- |" * len(header)]
    digits = comparison.digits
    for row in comparison.rows:
        seeds = f"{len(row.seeds)} ({row.left_out})" if row.left_out else str(len(row.seeds))
        cells = [row.label, seeds, mean_text(row, digits), interval_text(row, digits)]
        cells += [singles_text(row, digits)] if few else []
        cells += [entropy_text(row), str(row.episodes), steps_text(row)]
        cells += [difference_text(row, digits, comparison.reference)]
        cells += [p_text(row), permutation_text(row)] if tested else []
        lines.append(_markdown_line(cells))
    parts = [
        f"# {_escape(comparison.task)}",
        _escape(comparison.sentence),
        "\n".join(lines),
        "\n".join(f"- {_escape(line)}" for line in footnotes(comparison)),
    ]
    parts += [_escape(line) for line in (comparison.worth, *comparison.remarks) if line]
    if comparison.notes:
        left_out = "\n".join(f"- {_escape(note)}" for note in comparison.notes)
        parts.append(f"Left out of these numbers:\n\n{left_out}")
    return "\n\n".join(parts) + "\n"


def has_few_seeds(comparison: Comparison) -> bool:
    """Tell whether a variant has too few seeds, so that they are shown one by one."""
    return any(row.has_few_seeds for row in comparison.rows)


def has_tests(comparison: Comparison) -> bool:
    """Tell whether any variant has enough seeds for p-values."""
    return any(row.decision and row.decision.has_enough_seeds for row in comparison.rows)


def footnotes(comparison: Comparison) -> tuple[str, ...]:
    """Say what the columns mean and how the runs were made."""
    tests = ""
    if has_tests(comparison):
        tests = " p: Welch's t test"
        if len(comparison.rows) > 2:
            tests += ", Holm-adjusted over all comparisons with the reference"
        tests += "; permutation test of the difference of means"
        tests += ", not adjusted" if len(comparison.rows) > 2 else ""
        tests += (
            ". A difference is shown where both are below 0.05; each interval stands for itself."
        )
    return (
        f"{comparison.setup}.",
        "Final return: mean of the last 100 training episodes; mean ± standard deviation over "
        "seeds, Student t interval. Difference: 95% Welch interval." + tests,
        "Entropy: of the policy at the end of training. Episodes: of all seeds together. Steps: "
        "of one seed.",
    )


class TerminalTable:
    """The comparison as a rich renderable that leaves out columns a terminal has no room for."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table, the verdict and what was left out, fitted to the width."""
        comparison = self.comparison
        parts = [
            Text(comparison.task, style="bold"),
            Text(comparison.setup, style="dim"),
            _rich_table(comparison, options.max_width),
        ]
        for row in comparison.rows:
            if row.has_few_seeds and len(row.returns) > 1:
                parts.append(
                    Text(f"{row.label}, single seeds: {singles_text(row, comparison.digits)}")
                )
        notes = [f"left out: {note}" for note in comparison.notes[:_MAX_NOTES]]
        if len(comparison.notes) > _MAX_NOTES:
            notes.append(f"left out: {len(comparison.notes) - _MAX_NOTES} more, see table.md")
        notes += comparison.remarks
        parts += [Text(note, style="yellow") for note in notes]
        parts += [Text(""), Text(comparison.sentence)]
        if comparison.worth:
            parts.append(Text(comparison.worth, style="dim"))
        yield Group(*parts)


def _rich_table(comparison: Comparison, width: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("variant", overflow="fold")
    table.add_column("seeds", justify="right")
    digits = comparison.digits
    columns: list[tuple[str, Callable[[VariantRow], str]]] = [
        ("final return", lambda row: mean_text(row, digits)),
        ("95% interval", lambda row: interval_text(row, digits)),
    ]
    if width >= _NARROW:
        versus = f"vs {comparison.reference} (95%)"
        columns.append((versus, lambda row: difference_text(row, digits, comparison.reference)))
        # The sentence below has the tests of the best in any width.
        if has_tests(comparison) and width >= _MEDIUM:
            columns += [("p Welch", p_text), ("p perm.", permutation_text)]
    if width >= _WIDE:
        columns.append(("entropy", entropy_text))
        columns.append(("episodes", lambda row: format_count(row.episodes)))
        columns.append(("steps", steps_text))
    for name, _ in columns:
        table.add_column(Text(name), justify="right")
    for row in comparison.rows:
        values = [Text(text_of(row)) for _, text_of in columns]
        table.add_row(Text(row.label), Text(seeds_text(row)), *values)
    return table


def seeds_text(row: VariantRow) -> str:
    """Write the number of completed seeds: `5`, or `4 of 5` if some are left out."""
    done, asked = len(row.seeds), len(row.configs)
    return str(done) if done == asked else f"{done} of {asked}"


def mean_text(row: VariantRow, digits: int) -> str:
    """Write mean ± standard deviation, the mean alone for one seed."""
    interval = row.interval
    if interval.count == 0:
        return "-"
    mean = format_value(interval.mean, digits)
    return mean if math.isnan(interval.std) else f"{mean} ± {format_value(interval.std, digits)}"


def interval_text(row: VariantRow, digits: int) -> str:
    """Write the ends of the t interval, or `-` for fewer than two seeds."""
    return _range_text(row.interval.low, row.interval.high, digits)


def singles_text(row: VariantRow, digits: int) -> str:
    """Write every seed's final return if there are too few for statistics."""
    if not row.has_few_seeds:
        return "-"
    return ", ".join(format_value(value, digits) for value in row.returns) or "-"


def entropy_text(row: VariantRow) -> str:
    """Write the entropy at the end, or `-` if it was not recorded."""
    return "-" if math.isnan(row.entropy) else f"{row.entropy:.2f}"


def steps_text(row: VariantRow) -> str:
    """Write the steps of one run, or their range."""
    low, high = (format_count(count) for count in row.steps)
    return low if low == high else f"{low} to {high}"


def difference_text(row: VariantRow, digits: int, reference: str) -> str:
    """Write the difference to the reference with its interval: `+120 (40 to 200)`."""
    if row.label == reference:
        return "reference"
    if row.decision is None or math.isnan(row.decision.difference.mean):
        return "-"
    difference = row.decision.difference
    sign = "+" if difference.mean > 0 else ""
    text = f"{sign}{format_value(difference.mean, digits)}"
    interval = _range_text(difference.low, difference.high, digits)
    return text if interval == "-" else f"{text} ({interval})"


def p_text(row: VariantRow) -> str:
    """Write Welch's adjusted p-value, without a name as the column has it."""
    return _p_text(row.decision.difference.p_adjusted if row.decision else math.nan)


def permutation_text(row: VariantRow) -> str:
    """Write the permutation test's p-value, without a name as the column has it."""
    return _p_text(row.decision.permutation if row.decision else math.nan)


def _p_text(value: float) -> str:
    return "-" if math.isnan(value) else format_p(value).removeprefix("p ").removeprefix("= ")


def _range_text(low: float, high: float, digits: int) -> str:
    if math.isnan(low):
        return "-"
    return f"{format_value(low, digits)} to {format_value(high, digits)}"


def _markdown_line(cells: list[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(text: str) -> str:
    """Keep names from ending a cell or becoming markup."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
