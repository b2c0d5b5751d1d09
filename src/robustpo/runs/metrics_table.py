"""The metrics of a run as columns in one safetensors file, `metrics.safetensors`.

Every column is a vector of float64, counts included, which are exact up to 2⁵³. What is not known
is NaN, and a column of which nothing is known is left out. Reading takes no more memory than the
file has bytes, a few times; its digest tells a damaged one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robustpo.base.files import parse_tensors, read_bytes, write_tensors
from robustpo.errors import ConfigError
from robustpo.training.bookkeeping import COLUMNS, COUNTS
from robustpo.training.information_log import is_column

METRICS_TABLE = "metrics.safetensors"
FORMAT = 1
# Ten thousand rows, twenty times what a run writes, take 1.6 MiB; so does what is read of them.
MAX_BYTES = 4 * 2**20
MAX_HEADER_BYTES = 2**16
# The largest number that training in float32 can mean; beyond it, sums and squares overflow.
MAX_MEASURE = 3.4e38
MAX_COUNT = 2**53

# By name, all of one length.
Columns = dict[str, np.ndarray]


def columns_of(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Return rows of numbers, None for what is not known, as float64 columns.

    They are those of `COLUMNS`, and what environments said (`info/...`), in the order in which it
    came up.
    """
    own = dict.fromkeys(name for row in rows for name in row if is_column(name))
    return {
        name: np.array([row.get(name) for row in rows], np.float64) for name in (*COLUMNS, *own)
    }


def write_table(path: Path, columns: Columns, root: Path | None = None) -> None:
    """Write columns atomically, as `files.write_tensors` does."""
    known = {name: column for name, column in columns.items() if not np.isnan(column).all()}
    write_tensors(path, known, {"format": FORMAT}, root)


def read_table(path: Path) -> Columns:
    """Read what `write_table` wrote: columns as `columns_of` returns them, their steps rising.

    What is not finite, or no number that can be measured, is NaN; other columns are ignored.

    Raises:
        ConfigError: if the file cannot be read, is larger than a run's, or is no such table.
    """
    content = read_bytes(path, MAX_BYTES)
    stored, state = parse_tensors(content, path, max_header_bytes=MAX_HEADER_BYTES)
    if state.get("format") != FORMAT:
        raise ConfigError(f"{path} is no table of metrics of format {FORMAT}")
    unknown = np.full(stored["step"].size if "step" in stored else 0, np.nan)
    columns = {name: stored.get(name, unknown) for name in COLUMNS}
    columns |= {name: stored[name] for name in sorted(filter(is_column, stored))}
    for name, column in columns.items():
        if (column.dtype, column.shape) != (unknown.dtype, unknown.shape):
            raise ConfigError(f"{path} holds {column.dtype}{list(column.shape)} as its {name}")
    found = {name: _measured(name, column) for name, column in columns.items()}
    step = found["step"]
    # Comparisons with NaN are false.
    if not (step >= 0).all() or not (np.diff(step) > 0).all():
        raise ConfigError(f"{path} holds steps that do not rise")
    return found


def _measured(name: str, column: np.ndarray) -> np.ndarray:
    size = np.abs(column)
    good = (size <= MAX_COUNT) & (column % 1 == 0) if name in COUNTS else size <= MAX_MEASURE
    return np.where(good, column, np.nan)
