"""A study of one task as its tables show it: variants side by side."""

from __future__ import annotations

from dataclasses import dataclass

from robustpo.reports.study_data import StudyData, left_out_lines, sentence, setup_text
from robustpo.reports.variant_row import VariantRow
from robustpo.reports.verdict import worth


@dataclass(frozen=True)
class Comparison:
    """Variants of one task, side by side.

    Attributes:
        task: id of the task.
        reference: label of the variant that the others are compared with.
        rows: one per variant, in order.
        digits: decimals that returns are written with.
        setup: steps, seeds and time-limit mode in words.
        sentence: the verdict.
        worth: what a verdict of so few seeds is worth, empty where there are enough.
        notes: one line per run that is left out of the numbers.
        remarks: what a reader must know of how the runs were made.
    """

    task: str
    reference: str
    rows: tuple[VariantRow, ...]
    digits: int
    setup: str
    sentence: str
    worth: str
    notes: tuple[str, ...]
    remarks: tuple[str, ...]


def comparison_of(data: StudyData) -> Comparison:
    """Return what is shown of a study of one task."""
    (task,) = data.study.tasks
    return Comparison(
        task=task,
        reference=data.labels[data.reference],
        rows=tuple(data.rows[task, variant] for variant in data.variants),
        digits=data.digits[task],
        setup=setup_text(data),
        sentence=sentence(data),
        worth=worth(data.decisions),
        notes=tuple(left_out_lines(data)),
        remarks=data.study.notes,
    )
