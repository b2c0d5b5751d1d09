"""Writes what is read of a comparison of one task beside its page: curves, table, summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from robustpo.reports.curves import plot_curves, save_figure
from robustpo.reports.spreadsheet import csv_cell
from robustpo.reports.study_data import StudyData
from robustpo.reports.tables import TerminalTable, markdown_table
from robustpo.reports.task_comparison import Comparison, comparison_of
from robustpo.writing import write_atomically

_FIGURES = {"learning_curves": "return_mean", "entropy_curves": "entropy"}


@dataclass(frozen=True)
class ComparisonReport:
    """A written comparison.

    Attributes:
        comparison: the numbers.
        files: paths of what was written.
        table: the Markdown text of `table.md`.
        sentence: the verdict.
        terminal: a rich renderable of table and verdict.
    """

    comparison: Comparison
    files: tuple[Path, ...]
    table: str
    sentence: str
    terminal: TerminalTable


def write_comparison(data: StudyData, out: Path) -> ComparisonReport:
    """Write curves, table and summary of a study of one task.

    Writes `learning_curves` and `entropy_curves` (PNG, SVG and PDF), `table.md` and `summary.csv`.

    Args:
        data: the study and its runs.
        out: directory to write to, which exists.

    Raises:
        StorageError: if a file could not be written.
    """
    comparison = comparison_of(data)
    table = markdown_table(comparison)
    files = _write_figures(out, data, comparison)
    summary = data.summary.with_columns(pl.col(pl.String).map_elements(csv_cell, pl.String))
    for name, text in (("table.md", table), ("summary.csv", summary.write_csv())):
        write_atomically(out / name, text.encode("utf-8"))
        files.append(out / name)
    return ComparisonReport(
        comparison, tuple(files), table, comparison.sentence, TerminalTable(comparison)
    )


def _write_figures(out: Path, data: StudyData, comparison: Comparison) -> list[Path]:
    labels = {row.variant: row.label for row in comparison.rows}
    files = []
    for name, column in _FIGURES.items():
        figure = plot_curves(
            data.curves, column, title=comparison.task, subtitle=comparison.setup, labels=labels
        )
        files += save_figure(figure, out / name)
    return files
