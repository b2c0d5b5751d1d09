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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line, user_path
from robustpo.config.run import RunConfig
from robustpo.errors import ConfigError
from robustpo.runs.run_files import Run, as_dict, as_float, as_int, as_text, read_metrics
from robustpo.runs.run_state import COMPLETED, FAILED, RunState, run_state
from robustpo.runs.metrics_table import METRICS_TABLE, Columns
from robustpo.runs.record import CONFIG_FILE, METRICS_LINES
from robustpo.environments.information import is_name

logger = logging.getLogger(__name__)

# A task's id may have slashes, so runs lie at different depths; no deeper than this below `root`.
MAX_DEPTH = 32

INCOMPLETE = "incomplete"
# What a summary calls the states in which a run has ended.
STATUSES = {"done": COMPLETED, "failed": FAILED}


@dataclass(frozen=True)
class Said:
    """What the environments of a run said, under one name, of its last training episodes.

    Attributes:
        mean: over the last 100 episodes that had it; None if it is text.
        proportion: whether each of these values was 0 or 1.
        episodes: how many they are.
        text: whether it is text.
    """

    mean: float | None
    proportion: bool = False
    episodes: int = 0
    text: bool = False


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
        information: what its environments said of its last 100 training episodes, by name; only of
            a run that has ended.
    """

    status: str
    final_return: float | None
    episodes: int | None
    steps: int | None
    seconds: float | None
    error: str | None
    information: Mapping[str, Said] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadedRun:
    """One run as it was read.

    Attributes:
        run: which it is.
        end: how it ended.
        metrics: columns as of `metrics_table.columns_of`, float64 `[R]` each, the steps
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
        state = run_state(path)
        if state.state == "waiting":
            continue
        reason = state.reason if state.run is None else _misplaced(state.run, config)
        if state.run is None or reason:
            refused[path] = reason
        else:
            metrics = metrics_of(state.run)
            found.append(LoadedRun(state.run, end_of(state.run, state, metrics), metrics))
    return Loaded(tuple(sorted(found, key=lambda one: one.run.place())), refused)


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


def find_runs(directory: str | os.PathLike[str]) -> Iterator[tuple[Run, RunState]]:
    """Yield every readable run at or below a directory and how far it is, by their paths.

    What is not readable is left out with a logged warning. Directories whose name begins with a dot, links to directories, and what lies more than
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
        if not {CONFIG_FILE, METRICS_LINES, METRICS_TABLE}.intersection(files):
            continue
        if CONFIG_FILE in files:
            # A run holds no other runs; its checkpoints need not be searched.
            folders.clear()
        if as_text(here) is None:
            logger.warning("left out %r: the name of a directory is not UTF-8", here)
            continue
        state = run_state(Path(here))
        if state.run is None:
            logger.warning("left out %s: %s", here, state.reason)
        else:
            yield state.run, state


def end_of(run: Run, state: RunState, metrics: Columns | None = None) -> End:
    """Say how a run ended; `metrics` are its own, read here if they are needed and not given."""
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
        information=_said(result.get("information")),
    )


def _said(stored: Any) -> dict[str, Said]:
    found = {}
    for name, one in as_dict(stored).items():
        mean, episodes = as_float(as_dict(one).get("mean")), as_int(as_dict(one).get("episodes"))
        if is_name(name):
            known = None if not episodes or episodes < 1 else mean
            proportion = as_dict(one).get("proportion") is True
            inside = known is not None and 0 <= known <= 1
            text = as_dict(one).get("text") is True
            found[name] = Said(known, proportion and inside, episodes or 0, text)
    return found


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
