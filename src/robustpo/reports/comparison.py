"""Writes everything a person needs to judge variants of one task: curves, table, sentence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from robustpo.errors import ConfigError
from robustpo.reports.aggregate import Comparison, aggregate
from robustpo.reports.curves import plot_curves, save_figure
from robustpo.reports.tables import TerminalTable, markdown_table
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


def write_comparison(
    out_dir: str | os.PathLike[str],
    results: pl.DataFrame,
    summary: pl.DataFrame,
    variants: Sequence[str] | None = None,
) -> ComparisonReport:
    """Compare the variants of one task and write curves, table and summary.

    Writes `learning_curves` and `entropy_curves` (PNG, SVG and PDF), `table.md` and `summary.csv`.

    Args:
        out_dir: directory to write to; made if it does not exist.
        results: metrics as `load_results` returns them, of one task.
        summary: runs as `load_summary` returns them, of the same task.
        variants: which variants and in which order; by default all, PPO first.

    Raises:
        ConfigError: if the runs are not comparable (`aggregate`) or the directory cannot be
            written to.
    """
    comparison = aggregate(results, summary, variants)
    table = markdown_table(comparison)
    out = Path(out_dir)
    try:
        out.mkdir(parents=True, exist_ok=True)
        files = _write_figures(out, results, comparison)
        files.append(out / "table.md")
        write_atomically(files[-1], table.encode())
        files.append(out / "summary.csv")
        names = [row.variant for row in comparison.rows]
        ended = summary.filter(pl.col("variant").is_in(names)).write_csv()
        write_atomically(files[-1], ended.encode())
    except OSError as error:
        raise ConfigError(
            f"report directory {str(out)!r} cannot be written to ({error.strerror or error}); "
            f"choose a directory that can be created and written"
        ) from error
    return ComparisonReport(
        comparison, tuple(files), table, comparison.sentence, TerminalTable(comparison)
    )


def _write_figures(out: Path, results: pl.DataFrame, comparison: Comparison) -> list[Path]:
    labels = {row.variant: row.label for row in comparison.rows}
    files = []
    for name, column in _FIGURES.items():
        figure = plot_curves(
            results, column, title=comparison.task, subtitle=comparison.setup, labels=labels
        )
        files += save_figure(figure, out / name)
    return files
