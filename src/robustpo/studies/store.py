"""Reads finished and unfinished runs back from disk as data frames.

A run is a directory `<out>/<task>/<variant>/seed-<k>/` that holds a `config.json`; the task's id
may contain slashes, so runs are found by that file and not by depth. Reading never fails because
of one bad run: it is left out and a warning is logged. Values that are not finite are read as
null, in whichever way they were written.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from robustpo.errors import ConfigError

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
RESULT_FILE = "result.json"
METRICS_LOG = "metrics.jsonl"
METRICS_TABLE = "metrics.parquet"

COMPLETED = "completed"
INCOMPLETE = "incomplete"

METRICS_SCHEMA: dict[str, pl.DataType] = {
    "step": pl.Int64(),
    "transitions": pl.Int64(),
    "seconds": pl.Float64(),
    "episodes": pl.Int64(),
    "return_mean": pl.Float64(),
    "length_mean": pl.Float64(),
    "entropy": pl.Float64(),
    "action_std": pl.Float64(),
    "alpha": pl.Float64(),
    "learning_rate": pl.Float64(),
    "policy_loss": pl.Float64(),
    "value_loss": pl.Float64(),
    "approx_kl": pl.Float64(),
    "clip_fraction": pl.Float64(),
    "explained_variance": pl.Float64(),
}
RUN_SCHEMA: dict[str, pl.DataType] = {
    "task": pl.String(),
    "variant": pl.String(),
    "method": pl.String(),
    "seed": pl.Int64(),
}
RESULTS_SCHEMA = RUN_SCHEMA | METRICS_SCHEMA
SUMMARY_SCHEMA: dict[str, pl.DataType] = RUN_SCHEMA | {
    "status": pl.String(),
    "final_return": pl.Float64(),
    "episodes": pl.Int64(),
    "steps": pl.Int64(),
    "seconds": pl.Float64(),
    "path": pl.String(),
    "total_steps": pl.Int64(),
    "time_limit": pl.String(),
    "error": pl.String(),
}

# Enough for several lines of metrics, so that the last whole one is found without reading all.
_TAIL_BYTES = 65_536
# A damaged Parquet file can make the reader panic, which is not an ordinary exception.
_PARQUET_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError)


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

    def labels(self) -> dict[str, Any]:
        """Return the columns that say which run a row belongs to."""
        return {name: getattr(self, name) for name in RUN_SCHEMA}


def load_results(directory: str | os.PathLike[str]) -> pl.DataFrame:
    """Read the training metrics of every run below a directory, tidy.

    Args:
        directory: any directory above the runs, or one run.

    Returns:
        One row per recorded row of metrics with the columns of `RESULTS_SCHEMA`, ordered by task,
        variant, seed and step. Runs without readable metrics are left out with a logged warning.

    Raises:
        ConfigError: if the directory does not exist.
    """
    frames = [pl.DataFrame(schema=RESULTS_SCHEMA)]
    for run in find_runs(directory):
        metrics = _read_metrics(run.path)
        if metrics.is_empty():
            logger.warning("left out %s: it has no metrics that can be read", run.path)
            continue
        labels = [pl.lit(v, dtype=RUN_SCHEMA[k]).alias(k) for k, v in run.labels().items()]
        frames.append(metrics.select(*labels, *METRICS_SCHEMA))
    return pl.concat(frames).sort("task", "variant", "seed", "step", maintain_order=True)


def load_summary(directory: str | os.PathLike[str]) -> pl.DataFrame:
    """Read how every run below a directory ended.

    Args:
        directory: any directory above the runs, or one run.

    Returns:
        One row per run with the columns of `SUMMARY_SCHEMA`, ordered by task, variant and seed.
        `status` is what `result.json` says, or `incomplete` (running or interrupted) without one;
        then `episodes`, `steps` and `seconds` are those of the last recorded row.

    Raises:
        ConfigError: if the directory does not exist.
    """
    rows = [_summarize(run) for run in find_runs(directory)]
    frame = pl.DataFrame(rows, schema=SUMMARY_SCHEMA, orient="row")
    return frame.sort("task", "variant", "seed", "path")


def find_runs(directory: str | os.PathLike[str]) -> Iterator[Run]:
    """Yield every readable run at or below a directory, in the order of their paths.

    Directories whose name begins with a dot are not entered.

    Raises:
        ConfigError: if the directory does not exist.
    """
    root = Path(directory)
    if not root.is_dir():
        raise ConfigError(
            f"results directory {str(root)!r} does not exist or is not a directory; give the "
            f"directory that runs were written to (their --out)"
        )
    for here, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if CONFIG_FILE not in files:
            continue
        # A run holds no other runs; its checkpoints need not be searched.
        folders.clear()
        run = _read_run(Path(here))
        if run is not None:
            yield run


def _read_run(path: Path) -> Run | None:
    config = _read_object(path / CONFIG_FILE)
    if config is None:
        logger.warning("left out %s: its %s cannot be read", path, CONFIG_FILE)
        return None
    identity = _as_dict(config.get("identity"))
    settings = _as_dict(identity.get("settings"))
    task, method = _as_text(identity.get("task")), _as_text(identity.get("method"))
    variant, seed = _as_text(config.get("variant")), _as_int(settings.get("seed"))
    if not task or not variant or not method or seed is None:
        logger.warning(
            "left out %s: its %s lacks the task, variant, method or seed", path, CONFIG_FILE
        )
        return None
    return Run(
        path=path,
        task=task,
        variant=variant,
        method=method,
        seed=seed,
        total_steps=_as_int(config.get("total_steps")),
        time_limit=_as_text(settings.get("time_limit")),
    )


def _summarize(run: Run) -> dict[str, Any]:
    result = None
    if (run.path / RESULT_FILE).exists():
        result = _read_object(run.path / RESULT_FILE)
        if result is None:
            logger.warning("%s cannot be read; the run counts as incomplete", run.path)
    if result is None:
        last = _read_metrics(run.path).tail(1).to_dicts()
        progress = last[0] if last else {}
        result = {
            "status": INCOMPLETE,
            "episodes": progress.get("episodes"),
            "steps": progress.get("step"),
            "seconds": progress.get("seconds"),
        }
    return run.labels() | {
        "status": _as_text(result.get("status")) or INCOMPLETE,
        "final_return": _as_float(result.get("final_return")),
        "episodes": _as_int(result.get("episodes")),
        "steps": _as_int(result.get("steps")),
        "seconds": _as_float(result.get("seconds")),
        "path": str(run.path),
        "total_steps": run.total_steps,
        "time_limit": run.time_limit,
        "error": _as_text(result.get("error")),
    }


def _read_metrics(path: Path) -> pl.DataFrame:
    """Read the metrics of a run from whichever of its two files reaches further."""
    log, table = path / METRICS_LOG, path / METRICS_TABLE
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
        logger.warning("%s cannot be read (%s); using %s", path, error, METRICS_LOG)
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
    if row is None or _as_int(row.get("step")) is None:
        return None
    return {name: read(row.get(name)) for name, read in _METRICS_READERS.items()}


def _read_object(path: Path) -> dict[str, Any] | None:
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


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _as_float(value: Any) -> float | None:
    if type(value) is float:
        return value if math.isfinite(value) else None
    # An integer beyond the range of a float is not a measurement either.
    return float(value) if type(value) is int and abs(value) < 2**1000 else None


def _as_int(value: Any) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and abs(value) < 2**63 else None


# Chosen once per column and not per value: a study has millions of values.
_METRICS_READERS: dict[str, Callable[[Any], int | float | None]] = {
    name: _as_int if dtype == pl.Int64 else _as_float for name, dtype in METRICS_SCHEMA.items()
}
