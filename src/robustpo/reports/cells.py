"""What the cells of tables say of a variant on a task."""

from __future__ import annotations

import math

from robustpo.base.amounts import format_count
from robustpo.reports.formats import format_p, format_value
from robustpo.reports.rows import Row


def seeds_text(row: Row) -> str:
    """Write the number of completed seeds: `5`, or `4 of 5` if some are left out."""
    done, asked = len(row.seeds), len(row.configs)
    return str(done) if done == asked else f"{done} of {asked}"


def mean_text(row: Row, digits: int) -> str:
    """Write mean ± standard deviation, the mean alone for one seed."""
    interval = row.interval
    if interval.count == 0:
        return "-"
    mean = format_value(interval.mean, digits)
    return mean if math.isnan(interval.std) else f"{mean} ± {format_value(interval.std, digits)}"


def interval_text(row: Row, digits: int) -> str:
    """Write the ends of the t interval, or `-` for fewer than two seeds."""
    return _range_text(row.interval.low, row.interval.high, digits)


def singles_text(row: Row, digits: int) -> str:
    """Write every seed's final return if there are too few for statistics."""
    if not row.has_few_seeds:
        return "-"
    return ", ".join(format_value(value, digits) for value in row.returns) or "-"


def entropy_text(row: Row) -> str:
    """Write the entropy at the end, or `-` if it was not recorded."""
    return "-" if math.isnan(row.entropy) else f"{row.entropy:.2f}"


def steps_text(row: Row) -> str:
    """Write the steps of one run, or their range."""
    low, high = (format_count(count) for count in row.steps)
    return low if low == high else f"{low} to {high}"


def difference_text(row: Row, digits: int, reference: str) -> str:
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


def p_text(row: Row) -> str:
    """Write Welch's adjusted p-value, without a name as the column has it."""
    return _p_text(row.decision.difference.p_adjusted if row.decision else math.nan)


def permutation_text(row: Row) -> str:
    """Write the permutation test's p-value, without a name as the column has it."""
    return _p_text(row.decision.permutation if row.decision else math.nan)


def _p_text(value: float) -> str:
    return "-" if math.isnan(value) else format_p(value).removeprefix("p ").removeprefix("= ")


def _range_text(low: float, high: float, digits: int) -> str:
    if math.isnan(low):
        return "-"
    return f"{format_value(low, digits)} to {format_value(high, digits)}"
