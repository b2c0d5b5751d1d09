"""Checkpoints of one run: one safetensors file each, of which the last two are kept."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robustpo.errors import ConfigError, StorageError
from robustpo.files import read_tensors, write_tensors

CHECKPOINT_DIRECTORY = "checkpoint"
KEPT = 2
FORMAT = 1
MAX_BYTES = 2**30
DEFAULT_SECONDS = 120.0

_NAME = re.compile(r"step-(\d{12})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The whole state of one agent after an iteration.

    Attributes:
        tensors: arrays by name.
        state: everything else, as JSON has it.
    """

    tensors: dict[str, np.ndarray]
    state: dict[str, Any]

    @property
    def step(self) -> int:
        """Simulator steps made."""
        return self.state["step"]


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint of a run beside the one before; older ones go.

    Raises:
        StorageError: if it could not be written; the earlier ones are still there.
    """
    place = directory / CHECKPOINT_DIRECTORY
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(place, error) from error
    path = place / f"step-{checkpoint.step:012d}.safetensors"
    write_tensors(path, checkpoint.tensors, checkpoint.state | {"format": FORMAT})
    for old in _files(directory)[KEPT:]:
        with contextlib.suppress(OSError):
            old.unlink()


def load_checkpoint(
    directory: Path, identity: Mapping[str, Any], check: Callable[[dict[str, Any]], None]
) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint of a run that is whole, and what is wrong with newer ones.

    Args:
        directory: the run.
        identity: what the run is, as `RunConfig.identity()` says; another run's is refused.
        check: raises `ConfigError` for a state that is not to be used.
    """
    problems = []
    for path in _files(directory):
        try:
            tensors, state = read_tensors(path, MAX_BYTES)
            _require_ours(state, identity)
            check(state)
            return Checkpoint(tensors, state), problems
        except ConfigError as error:
            text = str(error)
            problems.append(text if str(path) in text else f"{path} cannot be used: {text}")
    return None, problems


def remove_checkpoints(directory: Path) -> None:
    """Remove the checkpoints of a run that has ended."""
    place = directory / CHECKPOINT_DIRECTORY
    with contextlib.suppress(OSError):
        for path in place.iterdir():
            path.unlink()
        place.rmdir()


def _files(directory: Path) -> list[Path]:
    """Return the checkpoints of a run, the newest first."""
    try:
        names = [path.name for path in (directory / CHECKPOINT_DIRECTORY).iterdir()]
    except OSError:
        return []
    found = sorted((name for name in names if _NAME.fullmatch(name)), reverse=True)
    return [directory / CHECKPOINT_DIRECTORY / name for name in found]


def _require_ours(state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    step = state.get("step")
    if state.get("format") != FORMAT or type(step) is not int or step < 0:
        raise ConfigError(f"it is no checkpoint of format {FORMAT}")
    if state.get("identity") != identity:
        raise ConfigError("it belongs to another experiment")


class Schedule:
    """Says when a checkpoint is due; the moment of one changes no result.

    Args:
        every: steps of an agent between checkpoints, or 0 for one every two minutes.
        clock: seconds from any origin, never set back.
    """

    def __init__(self, every: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._clock = every, clock
        self._steps, self._last = 0, clock()

    def due(self, new_steps: int) -> bool:
        """Take in an iteration of so many steps; return whether to save after it."""
        self._steps += new_steps
        if self._every:
            due = self._steps >= self._every
        else:
            due = self._clock() - self._last >= DEFAULT_SECONDS
        if due:
            self._steps, self._last = 0, self._clock()
        return due
