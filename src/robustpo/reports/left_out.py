"""The runs that were asked for and are in none of the numbers, each with its reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustpo.base.files import one_line
from robustpo.config.run import RunConfig
from robustpo.reports.quantity import RETURN, Quantity
from robustpo.runs.run_state import COMPLETED
from robustpo.runs.store import End, LoadedRun

WAITING = "waiting"


@dataclass(frozen=True)
class LeftOut:
    """One run that no number is of.

    Attributes:
        config: which.
        state: one word or two, such as `failed`, `unreadable`, `waiting`.
        detail: where it stands and what is wrong, empty if there is nothing to say.
    """

    config: RunConfig
    state: str
    detail: str


def left_out_runs(
    directories: Mapping[RunConfig, Path],
    runs: Sequence[LoadedRun],
    refused: Mapping[Path, str],
    quantity: Quantity = RETURN,
) -> list[LeftOut]:
    """Return what is left out, in the order of the runs.

    Args:
        directories: every run that was asked for, and where it is recorded.
        runs: those that could be read.
        refused: directories that are there and could not be used, and why.
        quantity: what the runs are judged by.
    """
    ends = {one.run.path: one.end for one in runs}
    found = []
    for config, path in directories.items():
        if path in refused:
            found.append(LeftOut(config, "unreadable", f"({refused[path]}; {path})"))
        elif path not in ends:
            found.append(LeftOut(config, WAITING, ""))
        elif not is_usable(ends[path], quantity):
            found.append(_unusable(config, ends[path], quantity))
    return found


def is_usable(end: End, quantity: Quantity = RETURN) -> bool:
    """Whether a run is completed and has what it is judged by; numbers are of no others."""
    return end.status == COMPLETED and math.isfinite(quantity.of(end))


def count_states(runs: Iterable[LeftOut]) -> str:
    """Write `1 failed, 2 waiting`."""
    states = Counter(run.state for run in runs)
    return ", ".join(f"{count} {state}" for state, count in states.items())


def list_runs(runs: Iterable[LeftOut], labels: Mapping[str, str], *, tasks: bool) -> list[str]:
    """Write a line for each run that is there but cannot be used.

    Args:
        runs: what is left out; those that were never begun get no line.
        labels: of the variants.
        tasks: whether to name the task too.
    """
    lines = []
    for run in runs:
        if run.state != WAITING:
            name = f"{labels[run.config.variant]} seed {run.config.settings.seed}"
            place = f"{run.config.task}, {name}" if tasks else name
            lines.append(f"{place}: {run.state} {run.detail}".strip())
    return lines


def _unusable(config: RunConfig, end: End, quantity: Quantity) -> LeftOut:
    completed = end.status == COMPLETED
    lacks = f"without {quantity.name}" if quantity.name else "without a return"
    state = lacks if completed else one_line(end.status, 40)
    at = "" if end.steps is None else f"at step {end.steps:,}"
    # A traceback belongs in the run's own files; its first line says what happened.
    error = one_line((end.error or "").strip().split("\n")[0])
    return LeftOut(config, state, f"{at} ({error})".strip() if error else at)
