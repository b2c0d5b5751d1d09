"""How far the runs of a study have come, read from their directories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from robustpo.config.run import RunConfig
from robustpo.runs.record import run_directory
from robustpo.runs.run_state import STATES, run_state
from robustpo.runs.store import end_of


@dataclass(frozen=True)
class RunStatus:
    """How far one run has come.

    Attributes:
        config: the run.
        directory: where it is recorded.
        state: one of `STATES`.
        step: simulator steps made.
        final_return: of a run that is done, None otherwise.
        error: why it failed, or what is wrong with its record; empty otherwise.
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
    found = run_state(directory)
    if found.run is None:
        # Its metrics cannot be told apart from another run's without its configuration.
        return RunStatus(config, directory, found.state, 0, None, found.reason)
    end = end_of(found.run, found)
    final_return = end.final_return if found.done else None
    return RunStatus(config, directory, found.state, end.steps or 0, final_return, found.reason)
