"""Runs as data frames, for people; nothing else here needs Polars."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robustpo.errors import ConfigError
from robustpo.runs.run_files import Run
from robustpo.runs.store import End, end_of, find_runs, metrics_of
from robustpo.training.bookkeeping import COLUMNS, COUNTS
from robustpo.training.information_log import PREFIX
from robustpo.runs.metrics_table import Columns

if TYPE_CHECKING:
    import polars as pl

RUN_SCHEMA: dict[str, type] = {"task": str, "variant": str, "method": str, "seed": int}
METRICS_SCHEMA: dict[str, type] = {name: int if name in COUNTS else float for name in COLUMNS}
RESULTS_SCHEMA = RUN_SCHEMA | METRICS_SCHEMA
SUMMARY_SCHEMA: dict[str, type] = RUN_SCHEMA | {
    "status": str,
    "final_return": float,
    "episodes": int,
    "steps": int,
    "seconds": float,
    "path": str,
    "total_steps": int,
    "time_limit": str,
    "error": str,
}
# Rows are copied once on their way into a frame, those of so many runs at a time.
BATCH = 256


def load_results(directory: str | os.PathLike[str]) -> pl.DataFrame:
    """Read the training metrics of every run below a directory, tidy.

    A run's own files hold no Parquet; `load_results(directory).write_parquet(file)` writes it for
    those who want it.

    Args:
        directory: any directory above the runs, or one run.

    Returns:
        One row per recorded row of metrics with the columns of `RESULTS_SCHEMA`, and what the
        environments said of episodes (`info/...`), ordered by task, variant, seed and step, null
        for what is not known. Runs without readable metrics are left out with a logged warning.

    Raises:
        ConfigError: if the directory does not exist, or Polars is not installed.
    """
    polars = _polars()
    runs = sorted((run for run, _ in find_runs(directory)), key=Run.place)
    frames = [polars.DataFrame(schema=RESULTS_SCHEMA)]
    for start in range(0, len(runs), BATCH):
        batch = runs[start : start + BATCH]
        frames.append(_results(batch, [metrics_of(run) for run in batch]))
    results = polars.concat(frames, rechunk=False, how="diagonal")
    if len({_labels(run) for run in runs}) < len(runs):
        # Copies of one run, in different places, lie step by step.
        results = results.sort("task", "variant", "seed", "step", maintain_order=True)
    return results


def load_summary(directory: str | os.PathLike[str]) -> pl.DataFrame:
    """Read how every run below a directory ended.

    Args:
        directory: any directory above the runs, or one run.

    Returns:
        One row per run with the columns of `SUMMARY_SCHEMA`, and of what the environments said of
        the last 100 episodes (`info/...`), ordered by task, variant and seed.
        `status` is `completed` (all steps are made), `failed` (the agent diverged) or `incomplete`
        (running, stopped, or without a result that can be read); then `episodes`, `steps` and
        `seconds` are those of the last recorded row.

    Raises:
        ConfigError: if the directory does not exist, or Polars is not installed.
    """
    _polars()
    found = sorted(find_runs(directory), key=lambda one: one[0].place())
    return _summary((run, end_of(run, state)) for run, state in found)


def _results(runs: Sequence[Run], metrics: Sequence[Columns]) -> pl.DataFrame:
    polars = _polars()
    if not runs:
        return polars.DataFrame(schema=RESULTS_SCHEMA)
    said = dict.fromkeys(name for own in metrics for name in own if name not in COLUMNS)
    columns = {
        name: np.concatenate([own.get(name, np.full(len(own["step"]), np.nan)) for own in metrics])
        for name in (*COLUMNS, *said)
    }
    frame = polars.DataFrame(columns, nan_to_null=True).cast(dict.fromkeys(COUNTS, int))
    labels = polars.DataFrame(list(map(_labels, runs)), schema=RUN_SCHEMA, orient="row")
    rows = np.repeat(np.arange(len(runs)), [len(own["step"]) for own in metrics])
    return labels[rows].hstack(frame)


def _summary(ends: Iterable[tuple[Run, End]]) -> pl.DataFrame:
    rows = []
    for run, end in ends:
        said = {f"{PREFIX}{name}": one.mean for name, one in end.information.items()}
        rows.append(vars(run) | vars(end) | said | {"path": str(run.path)})
    own = dict.fromkeys(name for row in rows for name in row if name.startswith(PREFIX))
    schema = SUMMARY_SCHEMA | dict.fromkeys(own, float)
    return _polars().DataFrame(
        [{name: row.get(name) for name in schema} for row in rows], schema=schema, orient="row"
    )


def _labels(run: Run) -> tuple[Any, ...]:
    return tuple(getattr(run, name) for name in RUN_SCHEMA)


def _polars() -> Any:
    try:
        import polars
    except ImportError as error:
        raise ConfigError(
            "data frames of runs need Polars, which is not installed; pip install "
            "'robustpo[frames]'"
        ) from error
    return polars
