"""Reads the files of one run, whatever state they are in and whoever wrote them.

Values that are not finite, or larger than float32 can hold, are read as unknown, in whichever way
they were written. A file that is larger than a run's could be counts as one that cannot be read.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustpo.base.files import open_regular, parse_json, read_bytes
from robustpo.errors import ConfigError
from robustpo.training.bookkeeping import COLUMNS, COUNTS
from robustpo.training.information_log import is_column
from robustpo.runs.metrics_table import (
    MAX_COUNT,
    MAX_MEASURE,
    METRICS_TABLE,
    Columns,
    columns_of,
    read_table,
)
from robustpo.runs.record import METRICS_LINES

logger = logging.getLogger(__name__)

# Read, JSON takes up to 25 times its length.
MAX_OBJECT_BYTES = 4 * 2**20
MAX_METRICS_BYTES = 64 * 2**20
MAX_LINE_BYTES = 2**16
# Several of the longest lines that robustpo writes.
TAIL_BYTES = 8192
# Twenty times what a run writes.
MAX_ROWS = 10_000
MAX_TEXT = 4096


@dataclass(frozen=True)
class Run:
    """One run directory whose `config.json` could be read.

    Attributes:
        path: the directory.
        task: id of the task.
        variant: name of the variant.
        method: name of the method.
        seed: the seed.
        total_steps: simulator steps the whole run makes, None if not recorded.
        time_limit: `terminal` or `bootstrap`, None if not recorded.
    """

    path: Path
    task: str
    variant: str
    method: str
    seed: int
    total_steps: int | None
    time_limit: str | None

    def place(self) -> tuple[str, str, int, str]:
        """Return what runs are ordered by."""
        return self.task, self.variant, self.seed, str(self.path)


def run_of(path: Path, record: Mapping[str, Any]) -> Run | None:
    """Return the run that the content of a `config.json` names; None if it does not say."""
    identity = as_dict(record.get("identity"))
    settings = as_dict(identity.get("settings"))
    task, method = as_text(identity.get("task")), as_text(identity.get("method"))
    variant, seed = as_text(record.get("variant")), as_int(settings.get("seed"))
    if not task or not variant or not method or seed is None:
        return None
    return Run(
        path=path,
        task=task,
        variant=variant,
        method=method,
        seed=seed,
        total_steps=as_int(record.get("total_steps")),
        time_limit=as_text(settings.get("time_limit")),
    )


def read_metrics(path: Path) -> Columns:
    """Read the metrics of a run from whichever of its two files reaches further.

    Returns:
        Columns as of `columns_of`, float64 `[R]` each, the steps rising, NaN for what is not known.
    """
    table, log = path / METRICS_TABLE, path / METRICS_LINES
    stored, reach = None, -1.0
    if os.path.lexists(table):
        try:
            stored = read_table(table)
            reach = stored["step"].max(initial=-1.0)
        except ConfigError as error:
            logger.warning("%s; using %s", error, METRICS_LINES)
    if stored is not None and reach >= _logged_step(log):
        return stored
    rows = _parse_rows(_read_lines(log), log)
    if stored is not None and reach >= (rows[-1]["step"] if rows else -1):
        return stored
    # A resumed run may have written some steps twice; the later row is the one it went on from.
    latest = {row["step"]: row for row in rows}
    return columns_of([latest[step] for step in sorted(latest)])


def _logged_step(path: Path) -> float:
    """Return the step of the last whole line of a log, -1 if there is no log.

    Infinity if its end does not tell, so that it is looked at more closely.
    """
    if not os.path.lexists(path):
        return -1
    try:
        with open_regular(path) as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(start)
            lines = file.read(TAIL_BYTES).splitlines(keepends=True)
    except (ConfigError, OSError):
        return float("inf")
    rows = map(_parse_row, reversed(lines[1:] if start else lines))
    return next((row["step"] for row in rows if row is not None), float("inf"))


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


def _parse_row(line: bytes) -> dict[str, Any] | None:
    row = _parse_object(line) if len(line) <= MAX_LINE_BYTES else None
    if row is None or _as_count(row.get("step")) is None:
        return None
    said = {name: as_float(row[name]) for name in filter(is_column, row)}
    return {name: read(row.get(name)) for name, read in _METRICS_READERS.items()} | said


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


def _as_count(value: Any) -> int | None:
    found = as_int(value)
    return found if found is not None and abs(found) <= MAX_COUNT else None


# Chosen once per column and not per value: a study has millions of values.
_METRICS_READERS: dict[str, Callable[[Any], int | float | None]] = {
    name: _as_count if name in COUNTS else as_float for name in COLUMNS
}
