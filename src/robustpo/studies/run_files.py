"""Reads the files of one run, whatever state they are in.

Values that are not finite are read as null, in whichever way they were written.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from robustpo.training.bookkeeping import COLUMNS, COUNTS
from robustpo.training.record import METRICS_LINES, METRICS_TABLE

logger = logging.getLogger(__name__)

METRICS_SCHEMA: dict[str, pl.DataType] = {
    name: pl.Int64() if name in COUNTS else pl.Float64() for name in COLUMNS
}

# Enough for several lines of metrics, so that the last whole one is found without reading all.
_TAIL_BYTES = 65_536
# A damaged Parquet file can make the reader panic, which is not an ordinary exception.
_PARQUET_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError)


def read_metrics(path: Path) -> pl.DataFrame:
    """Read the metrics of a run from whichever of its two files reaches further."""
    log, table = path / METRICS_LINES, path / METRICS_TABLE
    stored = _read_parquet(table) if table.exists() else None
    if stored is not None and not stored.is_empty() and stored["step"][-1] >= _last_step(log):
        return stored
    rows = _read_lines(log)
    if not rows and stored is not None:
        return stored
    return _in_order(pl.DataFrame(rows, schema=METRICS_SCHEMA, orient="row"))


def _read_parquet(path: Path) -> pl.DataFrame | None:
    try:
        frame = pl.read_parquet(path)
        columns = [
            (pl.col(name) if name in frame.columns else pl.lit(None))
            .cast(dtype, strict=False)
            .alias(name)
            for name, dtype in METRICS_SCHEMA.items()
        ]
        frame = frame.select(columns)
    except _PARQUET_ERRORS as error:
        logger.warning("%s cannot be read (%s); using %s", path, error, METRICS_LINES)
        return None
    floats = pl.col(pl.Float64)
    return _in_order(frame.with_columns(pl.when(floats.is_finite()).then(floats)))


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    # A resumed run may have written some steps twice; the later row is the one it went on from.
    known = frame.drop_nulls("step").unique("step", keep="last", maintain_order=True)
    return known.sort("step")


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        content = path.read_bytes()
    except OSError:
        return []
    lines = [line for line in content.split(b"\n") if line.strip()]
    rows = [row for row in map(_parse_row, lines) if row is not None]
    # The last line of a running or killed run is expected to be cut, so it is no cause to warn.
    whole_lines = len(lines) - (not content.endswith(b"\n"))
    if len(rows) < whole_lines:
        logger.warning("%s: %d lines cannot be read", path, whole_lines - len(rows))
    return rows


def _last_step(path: Path) -> int:
    """Return the step of the last whole line, or -1, reading only the file's end."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read()
    except OSError:
        return -1
    for line in reversed(tail.split(b"\n")):
        row = _parse_row(line)
        if row is not None:
            return row["step"]
    return -1


def _parse_row(line: bytes) -> dict[str, Any] | None:
    row = _parse_object(line)
    if row is None or as_int(row.get("step")) is None:
        return None
    return {name: read(row.get(name)) for name, read in _METRICS_READERS.items()}


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None if there is none that can be read."""
    try:
        return _parse_object(path.read_bytes())
    except OSError:
        return None


def _parse_object(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def as_dict(value: Any) -> dict[str, Any]:
    """Return the value if it is an object, an empty one otherwise."""
    return value if isinstance(value, dict) else {}


def as_text(value: Any) -> str | None:
    """Return the value if it is text."""
    return value if isinstance(value, str) else None


def as_float(value: Any) -> float | None:
    """Return the value if it is a finite number."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    # An integer beyond the range of a float is not a measurement either.
    return float(value) if type(value) is int and abs(value) < 2**1000 else None


def as_int(value: Any) -> int | None:
    """Return the value if it is a whole number of at most 64 bits."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and abs(value) < 2**63 else None


# Chosen once per column and not per value: a study has millions of values.
_METRICS_READERS: dict[str, Callable[[Any], int | float | None]] = {
    name: as_int if dtype == pl.Int64 else as_float for name, dtype in METRICS_SCHEMA.items()
}
