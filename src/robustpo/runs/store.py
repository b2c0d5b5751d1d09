"""Reads finished and unfinished runs back from disk: what they are, how they ended, their metrics.

A run is a directory `<out>/<task>/<variant>/seed-<k>/` that holds a `config.json`; the task's id
may contain slashes, so runs are found by that file and not by depth. Reading never fails because
of one bad run: it is left out and a warning is logged. Values that are not finite are read
as unknown, in whichever way they were written. `frames.py` makes data frames of what is read here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line, user_path
from robustpo.config.run import RunConfig
from robustpo.errors import ConfigError
from robustpo.runs.run_files import (
    as_dict,
    as_float,
    as_int,
    as_text,
    read_metrics,
    read_object,
)
from robustpo.runs.run_state import COMPLETED, FAILED, RunState, is_waiting, state_of
from robustpo.runs.metrics_table import Columns
from robustpo.runs.record import CONFIG_FILE

logger = logging.getLogger(__name__)

# A task's id may have slashes, so runs lie at different depths; no deeper than this below `root`.
MAX_DEPTH = 32

INCOMPLETE = "incomplete"
# What a summary calls the states in which a run has ended.
STATUSES = {"done": COMPLETED, "failed": FAILED}


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


@dataclass(frozen=True)
class End:
    """How a run ended, or how far it is.

    Attributes:
        status: `completed` (all steps are made), `failed` (the agent diverged) or `incomplete`
            (running, stopped, or without a result that can be read); then `episodes`, `steps` and
            `seconds` are those of the last recorded row.
        final_return: mean over its last 100 training episodes, None if not known.
        episodes: training episodes.
        steps: simulator steps made.
        seconds: training time.
        error: why it failed, or what is wrong with its record.
    """

    status: str
    final_return: float | None
    episodes: int | None
    steps: int | None
    seconds: float | None
    error: str | None


@dataclass(frozen=True)
class LoadedRun:
    """One run as it was read.

    Attributes:
        run: which it is.
        end: how it ended.
        metrics: columns of `COLUMNS` (`training/bookkeeping.py`), float64 `[R]` each, the steps
            rising; NaN for what is not known. Without rows if there are none that can be read.
    """

    run: Run
    end: End
    metrics: Columns


@dataclass(frozen=True)
class Loaded:
    """What has been read of the runs that were asked for.

    Attributes:
        runs: ordered by task, variant, seed and path.
        refused: for each directory that is there and cannot be used, why.
    """

    runs: tuple[LoadedRun, ...]
    refused: dict[Path, str]


def load_runs(directories: Mapping[RunConfig, Path]) -> Loaded:
    """Read the runs that belong in some directories; a record of any other run is refused there.

    Args:
        directories: where each run is recorded; those that hold nothing yet are left out.
    """
    found, refused = [], {}
    for config, path in directories.items():
        # What is there and no directory is refused below.
        if not os.path.lexists(path) or (path.is_dir() and _is_empty(path)):
            continue
        run = read_run(path) if path.is_dir() else None
        reason = f"its {CONFIG_FILE} cannot be read" if run is None else _misplaced(run, config)
        if run is None or reason:
            refused[path] = reason
        else:
            found.append(run)
    found.sort(key=Run.place)
    return Loaded(tuple(map(_load, found)), refused)


def _is_empty(path: Path) -> bool:
    try:
        return is_waiting(path)
    except OSError:
        return False


def _load(run: Run) -> LoadedRun:
    metrics = metrics_of(run)
    return LoadedRun(run, end_of(run, metrics), metrics)


def metrics_of(run: Run) -> Columns:
    """Read a run's metrics, as `LoadedRun` has them; warn if it has none."""
    metrics = read_metrics(run.path)
    if not metrics["step"].size:
        logger.warning("left out %s: it has no metrics that can be read", run.path)
    return metrics


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
        for name in expected
        if (found := getattr(run, name)) != expected[name]
    ]
    return f"its {CONFIG_FILE} is of another run ({'; '.join(wrong)})" if wrong else ""


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
        run = read_run(Path(here))
        if run is not None:
            yield run


def read_run(path: Path) -> Run | None:
    """Read which run a directory holds; None, with a warning, if its record does not say."""
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


def end_of(run: Run, metrics: Columns | None = None) -> End:
    """Read how a run ended; `metrics` are its own, read here if they are needed and not given."""
    state = state_of(run.path, run.total_steps)
    if state.reason and not state.ended:
        logger.warning("%s: %s; the run counts as incomplete", run.path, state.reason)
    result = state.result
    if not state.ended:
        result = _last_row(read_metrics(run.path) if metrics is None else metrics)
    return End(
        status=STATUSES.get(state.state, INCOMPLETE),
        final_return=as_float(result.get("final_return")),
        episodes=as_int(result.get("episodes")),
        steps=as_int(result.get("steps")),
        seconds=as_float(result.get("seconds")),
        error=_what_is_wrong(state, result),
    )


def _last_row(metrics: Columns) -> dict[str, float]:
    last = {name: float(column[-1]) for name, column in metrics.items() if column.size}
    return last | {"steps": last["step"]} if last else {}


def _what_is_wrong(state: RunState, result: Mapping[str, Any]) -> str | None:
    said = as_text(state.result.get("error")) or state.reason
    return said or _odd_return(result.get("final_return"))


def _odd_return(value: Any) -> str | None:
    """Say what is wrong with a final return that is there and is no measurement."""
    if value is None or as_float(value) is not None:
        return None
    return f"its final return is {one_line(value, 40)}"
