"""How far the runs of a study have come, read from their directories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from robustpo.config import RunConfig
from robustpo.studies.locks import is_locked
from robustpo.studies.store import COMPLETED, summarize
from robustpo.training.record import run_directory

STATES = ("done", "running", "stopped", "failed", "waiting")


@dataclass(frozen=True)
class RunStatus:
    """How far one run has come.

    Attributes:
        config: the run.
        directory: where it is recorded.
        state: one of `STATES`.
        step: simulator steps made.
        final_return: of a run that is done, None otherwise.
        error: why it failed, empty otherwise.
    """

    config: RunConfig
    directory: Path
    state: str
    step: int
    final_return: float | None
    error: str


def run_statuses(configs: Iterable[RunConfig], out: Path) -> list[RunStatus]:
    """Return how far each run has come; nothing is written, and no record is fatal."""
    return [_status(config, run_directory(out, config)) for config in configs]


def count_states(statuses: Iterable[RunStatus]) -> dict[str, int]:
    """Return how many runs are in each state, in the order of `STATES`."""
    counts = Counter(status.state for status in statuses)
    return {state: counts[state] for state in STATES}


def _status(config: RunConfig, directory: Path) -> RunStatus:
    if not directory.exists():
        return RunStatus(config, directory, "waiting", 0, None, "")
    found = summarize(directory)
    if found is None:
        return RunStatus(config, directory, "stopped", 0, None, "its record cannot be read")
    step = found["steps"] or 0
    if found["status"] == COMPLETED:
        return RunStatus(config, directory, "done", step, found["final_return"], "")
    if found["status"] == "failed":
        return RunStatus(config, directory, "failed", step, None, found["error"] or "")
    state = "running" if is_locked(directory) else "stopped"
    return RunStatus(config, directory, state, step, None, "")
