"""Reads finished and unfinished runs back from disk as data frames.

A run is a directory `<out>/<task>/<variant>/seed-<k>/` that holds a `config.json`; the task's id
may contain slashes, so runs are found by that file and not by depth. Reading never fails because
of one bad run: it is left out and a warning is logged. Values that are not finite are read as
null, in whichever way they were written.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from robustpo.config import RunConfig
from robustpo.errors import ConfigError
from robustpo.files import one_line, user_path
from robustpo.studies.metrics_tables import read_tables
from robustpo.studies.run_files import (
    METRICS_SCHEMA,
    as_dict,
    as_float,
    as_int,
    as_text,
    read_metrics,
    read_object,
)
from robustpo.studies.run_state import COMPLETED, FAILED, RunState, state_of
from robustpo.training.record import CONFIG_FILE

logger = logging.getLogger(__name__)

# A task's id may have slashes, so runs lie at different depths; no deeper than this below `root`.
MAX_DEPTH = 32

INCOMPLETE = "incomplete"
# What a summary calls the states in which a run has ended.
STATUSES = {"done": COMPLETED, "failed": FAILED}

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
    return _results(find_runs(directory))


@dataclass(frozen=True)
class Loaded:
    """What has been read of the runs that were asked for.

    Attributes:
        results: their metrics, as `load_results` returns them.
        summary: their ends, as `load_summary` returns them.
        refused: for each directory that is there and cannot be used, why.
    """

    results: pl.DataFrame
    summary: pl.DataFrame
    refused: dict[Path, str]


def load_runs(directories: Mapping[RunConfig, Path]) -> Loaded:
    """Read the runs that belong in some directories; a record of any other run is refused there.

    Args:
        directories: where each run is recorded; those that do not exist are left out.
    """
    found, refused = [], {}
    for config, path in directories.items():
        if not os.path.lexists(path):
            continue
        run = _read_run(path) if path.is_dir() else None
        reason = f"its {CONFIG_FILE} cannot be read" if run is None else _misplaced(run, config)
        if run is None or reason:
            refused[path] = reason
        else:
            found.append(run)
    return Loaded(_results(found), _summary(found), refused)


def _misplaced(run: Run, config: RunConfig) -> str:
    """Say what in a run's record contradicts the place it was found in; nothing if all agrees."""
    expected = {
        "task": config.task,
        "variant": config.variant,
        "method": config.method,
        "seed": config.settings.seed,
    }
    wrong = [
        f"{name} {one_line(found, 60)}, expected {expected[name]}"
        for name, found in run.labels().items()
        if found != expected[name]
    ]
    return f"its {CONFIG_FILE} is of another run ({'; '.join(wrong)})" if wrong else ""


def _results(runs: Iterable[Run]) -> pl.DataFrame:
    runs = sorted(runs, key=lambda run: (run.task, run.variant, run.seed))
    labels = pl.DataFrame([run.labels() for run in runs], schema=RUN_SCHEMA, orient="row")
    frames, read = [pl.DataFrame(schema=RESULTS_SCHEMA)], 0
    for metrics, rows in read_tables([run.path for run in runs]):
        for run, count in zip(runs[read:], rows, strict=False):
            if not count:
                logger.warning("left out %s: it has no metrics that can be read", run.path)
        batch = labels[np.repeat(np.arange(read, read + len(rows)), rows)]
        frames.append(batch.hstack(metrics))
        read += len(rows)
    results = pl.concat(frames, rechunk=False)
    if labels.is_duplicated().any():
        # Copies of one run, in different places, lie step by step.
        results = results.sort("task", "variant", "seed", "step", maintain_order=True)
    return results


def load_summary(directory: str | os.PathLike[str]) -> pl.DataFrame:
    """Read how every run below a directory ended.

    Args:
        directory: any directory above the runs, or one run.

    Returns:
        One row per run with the columns of `SUMMARY_SCHEMA`, ordered by task, variant and seed.
        `status` is `completed` (all steps are made), `failed` (the agent diverged) or `incomplete`
        (running, stopped, or without a result that can be read); then `episodes`, `steps` and
        `seconds` are those of the last recorded row.

    Raises:
        ConfigError: if the directory does not exist.
    """
    return _summary(find_runs(directory))


def _summary(runs: Iterable[Run]) -> pl.DataFrame:
    rows = [_summarize(run) for run in runs]
    frame = pl.DataFrame(rows, schema=SUMMARY_SCHEMA, orient="row")
    return frame.sort("task", "variant", "seed", "path")


def find_runs(directory: str | os.PathLike[str]) -> Iterator[Run]:
    """Yield every readable run at or below a directory, in the order of their paths.

    Directories whose name begins with a dot, links to directories, and what lies more than
    `MAX_DEPTH` directories deep are not entered.

    Raises:
        ConfigError: if the directory does not exist.
    """
    root = user_path(directory)
    if not os.path.isdir(root):
        raise ConfigError(
            f"results directory {str(root)!r} does not exist or is not a directory; give the "
            f"directory that runs were written to (their --out)"
        )
    depth = len(root.parts) + MAX_DEPTH
    for here, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if folders and len(Path(here).parts) >= depth:
            folders.clear()
        if CONFIG_FILE not in files:
            continue
        # A run holds no other runs; its checkpoints need not be searched.
        folders.clear()
        run = _read_run(Path(here))
        if run is not None:
            yield run


def summarize(directory: Path) -> dict[str, Any] | None:
    """Read how one run ended, as a row of `load_summary`; None if its record cannot be read."""
    run = _read_run(directory)
    return None if run is None else _summarize(run)


def _read_run(path: Path) -> Run | None:
    if as_text(str(path)) is None:
        logger.warning("left out %r: the name of a directory is not UTF-8", path)
        return None
    config = read_object(path / CONFIG_FILE)
    if config is None:
        logger.warning("left out %s: its %s cannot be read", path, CONFIG_FILE)
        return None
    identity = as_dict(config.get("identity"))
    settings = as_dict(identity.get("settings"))
    task, method = as_text(identity.get("task")), as_text(identity.get("method"))
    variant, seed = as_text(config.get("variant")), as_int(settings.get("seed"))
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
        total_steps=as_int(config.get("total_steps")),
        time_limit=as_text(settings.get("time_limit")),
    )


def _summarize(run: Run) -> dict[str, Any]:
    state = state_of(run.path, run.total_steps)
    if state.reason and not state.ended:
        logger.warning("%s: %s; the run counts as incomplete", run.path, state.reason)
    result = state.result
    if not state.ended:
        last = read_metrics(run.path).tail(1).to_dicts()
        progress = last[0] if last else {}
        result = progress | {"steps": progress.get("step")}
    return run.labels() | {
        "status": STATUSES.get(state.state, INCOMPLETE),
        "final_return": as_float(result.get("final_return")),
        "episodes": as_int(result.get("episodes")),
        "steps": as_int(result.get("steps")),
        "seconds": as_float(result.get("seconds")),
        "path": str(run.path),
        "total_steps": run.total_steps,
        "time_limit": run.time_limit,
        "error": _what_is_wrong(state, result),
    }


def _what_is_wrong(state: RunState, result: Mapping[str, Any]) -> str | None:
    said = as_text(state.result.get("error")) or state.reason
    return said or _odd_return(result.get("final_return"))


def _odd_return(value: Any) -> str | None:
    """Say what is wrong with a final return that is there and is no measurement."""
    if value is None or as_float(value) is not None:
        return None
    return f"its final return is {one_line(value, 40)}"
