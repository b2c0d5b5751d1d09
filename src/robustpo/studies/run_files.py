"""Reads the files of one run, whatever state they are in and whoever wrote them.

Values that are not finite, or larger than float32 can hold, are read as null, in whichever way they
were written. A file that is larger than a run's could be, packed or unpacked, counts as one that
cannot be read.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from robustpo.errors import ConfigError
from robustpo.files import one_line, parse_json, read_bytes
from robustpo.studies.parquet_bounds import require_modest
from robustpo.training.bookkeeping import COLUMNS, COUNTS
from robustpo.training.record import METRICS_LINES, METRICS_TABLE

logger = logging.getLogger(__name__)

METRICS_SCHEMA: dict[str, pl.DataType] = {
    name: pl.Int64() if name in COUNTS else pl.Float64() for name in COLUMNS
}

# Read, JSON takes up to 25 times its length.
MAX_OBJECT_BYTES = 4 * 2**20
MAX_METRICS_BYTES = 64 * 2**20
MAX_LINE_BYTES = 2**16
MAX_UNPACKED_BYTES = 16 * 2**20
# Twenty times what a run writes.
MAX_ROWS = 10_000
MAX_TEXT = 4096
# The largest number that training in float32 can mean; beyond it, sums and squares overflow.
MAX_MEASURE = 3.4e38
# A damaged Parquet file can make the reader panic, which is not an ordinary exception.
PARQUET_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError)


def read_metrics(path: Path) -> pl.DataFrame:
    """Read the metrics of a run from whichever of its two files reaches further."""
    table, log = path / METRICS_TABLE, path / METRICS_LINES
    stored, lines = _read_parquet(table), _read_lines(log)
    if stored is not None and not stored.is_empty() and stored["step"][-1] >= last_step(lines):
        return stored
    rows = _parse_rows(lines, log)
    if not rows and stored is not None:
        return stored
    return _in_order(pl.DataFrame(rows, schema=METRICS_SCHEMA, orient="row"))


def _read_parquet(path: Path) -> pl.DataFrame | None:
    if not os.path.lexists(path):
        return None
    try:
        content = read_bytes(path, MAX_METRICS_BYTES)
        require_modest(content, MAX_ROWS, MAX_UNPACKED_BYTES)
        frame = _read_numbers(content)
    except PARQUET_ERRORS as error:
        logger.warning("%s cannot be read (%s); using %s", path, one_line(error), METRICS_LINES)
        return None
    return _in_order(finite(frame))


def finite(frame: pl.DataFrame) -> pl.DataFrame:
    """Make null of what is not a finite number, or larger than any that is measured."""
    floats = pl.col(pl.Float64)
    return frame.with_columns(
        pl.when(floats.is_finite() & (floats.abs() <= MAX_MEASURE)).then(floats)
    )


def _read_numbers(content: bytes) -> pl.DataFrame:
    # Text or lists of a few rows can be as long as they like; only numbers are ever read.
    types = pl.read_parquet_schema(io.BytesIO(content))
    stored = {name: types[name] for name in METRICS_SCHEMA if name in types}
    if other := [name for name, dtype in stored.items() if not dtype.is_numeric()]:
        raise ValueError(f"{other[0]} is {types[other[0]]}, expected numbers")
    frame = pl.read_parquet(io.BytesIO(content), columns=list(stored))
    return frame.select(
        (pl.col(name) if name in stored else pl.lit(None)).cast(dtype, strict=False).alias(name)
        for name, dtype in METRICS_SCHEMA.items()
    )


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    # A resumed run may have written some steps twice; the later row is the one it went on from.
    known = frame.drop_nulls("step").unique("step", keep="last", maintain_order=True)
    return known.sort("step")


def _read_lines(path: Path) -> list[bytes]:
    """Return the lines of a file that are not blank; the last may be cut."""
    if not os.path.lexists(path):
        return []
    try:
        content = io.BytesIO(read_bytes(path, MAX_METRICS_BYTES))
    except ConfigError as error:
        logger.warning("%s", error)
        return []
    lines = []
    for number, line in enumerate(content):
        if number >= MAX_ROWS:
            logger.warning("%s has more than %d lines; it is not ours", path, MAX_ROWS)
            return []
        if line.strip():
            lines.append(line)
    return lines


def _parse_rows(lines: list[bytes], path: Path) -> list[dict[str, Any]]:
    rows = [row for row in map(_parse_row, lines) if row is not None]
    # The last line of a running or killed run is expected to be cut, so it is no cause to warn.
    whole_lines = len(lines) - (bool(lines) and not lines[-1].endswith(b"\n"))
    if len(rows) < whole_lines:
        logger.warning("%s: %d lines cannot be read", path, whole_lines - len(rows))
    return rows


def last_step(lines: list[bytes]) -> int:
    """Return the step of the last whole line, or -1."""
    rows = (_parse_row(line) for line in reversed(lines))
    return next((row["step"] for row in rows if row is not None), -1)


def _parse_row(line: bytes) -> dict[str, Any] | None:
    row = _parse_object(line) if len(line) <= MAX_LINE_BYTES else None
    if row is None or as_int(row.get("step")) is None:
        return None
    return {name: read(row.get(name)) for name, read in _METRICS_READERS.items()}


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None if there is none that can be read."""
    try:
        return _parse_object(read_bytes(path, MAX_OBJECT_BYTES))
    except ConfigError:
        return None


def _parse_object(text: bytes) -> dict[str, Any] | None:
    try:
        value = parse_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def as_dict(value: Any) -> dict[str, Any]:
    """Return the value if it is an object, an empty one otherwise."""
    return value if isinstance(value, dict) else {}


def as_text(value: Any) -> str | None:
    """Return the value if it is text of at most 4,096 signs that can be written as UTF-8."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        # JSON can name halves of signs ("\\ud800"), which no file or data frame takes.
        return None
    return value


def as_float(value: Any) -> float | None:
    """Return the value if it is a finite number, and no larger than any that is measured."""
    if type(value) not in (float, int):
        return None
    # Written so that it is false of nan.
    return float(value) if abs(value) <= MAX_MEASURE else None


def as_int(value: Any) -> int | None:
    """Return the value if it is a whole number of at most 64 bits."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and abs(value) < 2**63 else None


# Chosen once per column and not per value: a study has millions of values.
_METRICS_READERS: dict[str, Callable[[Any], int | float | None]] = {
    name: as_int if dtype == pl.Int64 else as_float for name, dtype in METRICS_SCHEMA.items()
}
