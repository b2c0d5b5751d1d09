"""Reads the metrics of many runs at once, as `run_files.read_metrics` reads those of one.

Most of what a table costs to read comes with every call and not with its size, so tables that look
like our own are read together; whatever is in any way unusual goes the careful way, one by one.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from robustpo.errors import ConfigError
from robustpo.files import read_bytes
from robustpo.studies.parquet_bounds import require_modest
from robustpo.studies.run_files import (
    MAX_ROWS,
    METRICS_SCHEMA,
    PARQUET_ERRORS,
    finite,
    last_step,
    read_metrics,
)
from robustpo.training.record import METRICS_LINES, METRICS_TABLE

# What a batch of files from a stranger can take, packed or unpacked, is at most their product. Ten
# thousand rows of our own columns take 1.5 MiB.
BATCH = 64
MAX_BYTES = 4 * 2**20
# Several of the longest lines that robustpo writes.
TAIL_BYTES = 8192
# Parquet's numbers of the physical types of whole numbers and floats of 64 bits.
_PHYSICAL = {pl.Int64(): 2, pl.Float64(): 5}
_OWN_COLUMNS = tuple((name.encode(), _PHYSICAL[kind]) for name, kind in METRICS_SCHEMA.items())


@dataclass(frozen=True)
class _Table:
    """A table that looks like our own: its bytes, its rows, and how far the log reaches."""

    content: bytes
    rows: int
    logged: int


def read_tables(paths: Sequence[Path]) -> Iterator[tuple[pl.DataFrame, list[int]]]:
    """Read the metrics of runs, a batch at a time.

    Args:
        paths: directories of runs.

    Yields:
        Rows with the columns of `METRICS_SCHEMA`, run by run in the order of `paths` and by step
        within, and how many of them belong to each run of the batch.
    """
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    # Polars lets go of the interpreter while it unpacks, and the next files can be looked at.
    with ThreadPoolExecutor(1) as thread:
        ahead = (
            thread.submit(_unpack, batch, [_own_table(path) for path in batch]) for batch in batches
        )
        waiting = next(ahead, None)
        while waiting is not None:
            unpacked, waiting = waiting, next(ahead, None)
            yield unpacked.result()


def _own_table(path: Path) -> _Table | None:
    """Return a run's table if it is made as robustpo makes it, or None."""
    try:
        content = read_bytes(path / METRICS_TABLE, MAX_BYTES)
        extent = require_modest(content, MAX_ROWS, MAX_BYTES)
        if extent.columns != _OWN_COLUMNS or not extent.rows:
            return None
        return _Table(content, extent.rows, _logged_step(path / METRICS_LINES))
    except (ConfigError, ValueError, OSError):
        return None


def _logged_step(path: Path) -> int:
    """Return the step of the last row in a log, or -1 if there is no log.

    Raises:
        ValueError: if its end does not tell.
    """
    if not os.path.lexists(path):
        return -1
    if not path.is_file():
        raise ValueError("it is no file")
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - TAIL_BYTES)
        file.seek(start)
        lines = file.read(TAIL_BYTES).splitlines(keepends=True)
    step = last_step(lines[1:] if start else lines)
    if step < 0 and size:
        raise ValueError("it has no row at its end")
    return step


def _unpack(
    paths: Sequence[Path], tables: Sequence[_Table | None]
) -> tuple[pl.DataFrame, list[int]]:
    """Return the rows of all runs, and how many each has."""
    own = [table for table in tables if table is not None]
    together, good = _unpack_own(own)
    rows = [table.rows for table in own]
    if len(own) == len(paths) and good.all():
        return together.rechunk(), rows
    begins = iter(zip(np.cumsum(rows) - rows, rows, good, strict=True))
    frames = []
    for path, table in zip(paths, tables, strict=True):
        begin, count, fine = next(begins) if table is not None else (0, 0, False)
        # Whatever is unusual is looked at more closely.
        frames.append(together.slice(begin, count) if fine else read_metrics(path))
    return pl.concat(frames, rechunk=True), [frame.height for frame in frames]


def _unpack_own(own: Sequence[_Table]) -> tuple[pl.DataFrame, np.ndarray]:
    """Return the rows of tables that look like our own, and of which that is true."""
    none = pl.DataFrame(schema=METRICS_SCHEMA), np.zeros(len(own), bool)
    if not own:
        return none
    try:
        frame = finite(pl.read_parquet([io.BytesIO(table.content) for table in own], glob=False))
    except PARQUET_ERRORS:
        return none
    rows = np.array([table.rows for table in own])
    if dict(frame.schema) != METRICS_SCHEMA or frame.height != rows.sum():
        return none
    ends = np.cumsum(rows)
    begins = ends - rows
    steps = frame["step"].fill_null(-1).to_numpy()
    rising = np.diff(steps, prepend=-1) > 0
    rising[begins] = steps[begins] >= 0
    good = np.logical_and.reduceat(rising, begins)
    return frame, good & (steps[ends - 1] >= [table.logged for table in own])
