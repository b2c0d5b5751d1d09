"""Everything a study, or a comparison on one task, leaves to read: a page, figures, tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from matplotlib.figure import Figure

from robustpo.base.writing import make_directory, write_atomically
from robustpo.reports.figures import comparison_figure, study_figure
from robustpo.reports.page import write_page
from robustpo.reports.page_data import page_of
from robustpo.reports.robustness import section
from robustpo.reports.style import save_figure
from robustpo.reports.summary import Summary, read_summary
from robustpo.reports.tables import (
    TerminalTable,
    comparison_markdown,
    rows_csv,
    runs_csv,
    study_latex,
    study_markdown,
)
from robustpo.reports.words import sentence
from robustpo.runs.record import task_directory
from robustpo.stress.results import DIRECTORY as ROBUSTNESS
from robustpo.stress.results import load_results
from robustpo.studies.commands import compare_command, study_command
from robustpo.studies.manifest import study_directory
from robustpo.studies.study import Study

Draw = Callable[[Summary, str], Figure]


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        summary: the numbers.
        files: paths of what was written, the page first.
    """

    summary: Summary
    files: tuple[Path, ...]

    @cached_property
    def sentence(self) -> str:
        """What the study says in one sentence."""
        return sentence(self.summary)


@dataclass(frozen=True)
class ComparisonReport(Report):
    """A written report on one task."""

    @cached_property
    def table(self) -> str:
        """The Markdown text of `table.md`."""
        return comparison_markdown(self.summary)

    @property
    def comparison(self) -> Summary:
        """The numbers, by another name."""
        return self.summary

    @property
    def terminal(self) -> TerminalTable:
        """A rich renderable of table and verdict."""
        return TerminalTable(self.summary)


def write_study_report(study: Study, out: Path) -> Report:
    """Write the report of what a study has so far into `<out>/studies/<name>/`.

    Raises:
        ConfigError: if none of its runs can be read.
        StorageError: if a file could not be written.
    """
    summary = read_summary(study, out)
    directory = study_directory(out, study.name)
    figures = {"return": ("return", study_figure), "entropy": ("entropy", study_figure)}
    figures |= _judged(summary, study_figure)
    tables = {"table.md": study_markdown, "table.tex": study_latex, "table.csv": rows_csv}
    command = study_command(study, out)
    return Report(summary, _write(summary, directory, command, figures, tables))


def write_comparison_report(study: Study, out: Path) -> ComparisonReport:
    """Write the report of a study of one task into `<out>/<task>/comparison_<variants>/`.

    Raises:
        ConfigError: if none of its runs can be read, or they are not comparable.
        StorageError: if a file could not be written.
    """
    summary = read_summary(study, out)
    name = "-vs-".join(summary.variants)
    if study.judged_by:
        name += f"_by-{summary.quantity.file}"
    if len(name) > 100:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{len(summary.variants)}-variants-{digest}"
    directory = task_directory(out, study.tasks[0]) / f"comparison_{name}"
    figures = {
        "learning_curves": ("return", comparison_figure),
        "entropy_curves": ("entropy", comparison_figure),
    }
    figures |= _judged(summary, comparison_figure)
    tables = {"table.md": comparison_markdown, "summary.csv": runs_csv}
    command = compare_command(study.parts[0], out, study.judged_by)
    return ComparisonReport(summary, _write(summary, directory, command, figures, tables))


def _judged(summary: Summary, draw: Draw) -> dict[str, tuple[str, Draw]]:
    """Return the figure of what runs are judged by, where that is not the return."""
    if not summary.quantity.name:
        return {}
    return {f"{summary.quantity.file}_curves": (summary.quantity.key, draw)}


def _write(
    summary: Summary,
    directory: Path,
    command: str,
    figures: Mapping[str, tuple[str, Draw]],
    tables: Mapping[str, Callable[[Summary], str]],
) -> tuple[Path, ...]:
    """Write page, figures (PNG, SVG and PDF) and tables, and return their paths."""
    found = load_results(directory / ROBUSTNESS)
    page = page_of(summary, directory / "index.html", command)
    make_directory(directory, summary.out)
    robustness = "" if found is None else section(found)
    files = [write_page(page, directory / "index.html", robustness)]
    for name, (quantity, draw) in figures.items():
        files += save_figure(draw(summary, quantity), directory / name)
    for name, text_of in tables.items():
        write_atomically(directory / name, text_of(summary).encode("utf-8"))
        files.append(directory / name)
    return tuple(files)
