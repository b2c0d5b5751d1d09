"""Everything a study, or a comparison on one task, leaves to read: a page, figures, tables."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from robustpo.reports.comparison import ComparisonReport, write_comparison
from robustpo.reports.curves import save_figure
from robustpo.reports.page import write_page
from robustpo.reports.study_data import read_study_data, sentence
from robustpo.reports.study_figures import study_figure
from robustpo.reports.study_page import page_of
from robustpo.reports.study_tables import csv_of, latex_of, markdown_of
from robustpo.studies.commands import compare_command, study_command
from robustpo.studies.manifest import study_directory
from robustpo.studies.study import Study
from robustpo.training.record import task_directory
from robustpo.writing import make_directory, write_atomically


@dataclass(frozen=True)
class StudyReport:
    """A written report.

    Attributes:
        sentence: what the study says in one sentence.
        files: paths of what was written, the page first.
    """

    sentence: str
    files: tuple[Path, ...]


def write_study_report(study: Study, out: Path) -> StudyReport:
    """Write the report of what a study has so far into `<out>/studies/<name>/`.

    Raises:
        ConfigError: if none of its runs can be read.
        StorageError: if a file could not be written.
    """
    directory = study_directory(out, study.name)
    data = read_study_data(study, out)
    page = page_of(data, directory / "index.html", study_command(study, out))
    make_directory(directory, out)
    files = [write_page(page, directory / "index.html")]
    for quantity in ("return", "entropy"):
        files += save_figure(study_figure(page, quantity), directory / quantity)
    for name, text in (
        ("table.md", markdown_of(page)),
        ("table.tex", latex_of(page)),
        ("table.csv", csv_of(page)),
    ):
        write_atomically(directory / name, text.encode("utf-8"))
        files.append(directory / name)
    return StudyReport(sentence(data), tuple(files))


def write_comparison_report(study: Study, out: Path) -> ComparisonReport:
    """Write the report of a study of one task into `<out>/<task>/comparison_<variants>/`.

    Raises:
        ConfigError: if none of its runs can be read, or they are not comparable.
        StorageError: if a file could not be written.
    """
    data = read_study_data(study, out)
    name = "-vs-".join(data.variants)
    if len(name) > 100:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{len(data.variants)}-variants-{digest}"
    directory = task_directory(out, study.tasks[0]) / f"comparison_{name}"
    make_directory(directory, out)
    page = page_of(data, directory / "index.html", compare_command(study.parts[0], out))
    file = write_page(page, directory / "index.html")
    report = write_comparison(data, directory)
    return replace(report, files=(file, *report.files))
