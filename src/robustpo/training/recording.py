"""What training asks of whatever keeps an agent; training itself writes no file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robustpo.policy.policy import Policy

DEFAULT_SECONDS = 120.0


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


class Recording(Protocol):
    """Keeps one agent; `RunRecord` does so in a directory.

    Attributes:
        directory: what an error names.
        checkpoint: what the agent goes on from; None if it begins.
    """

    directory: Path
    checkpoint: Checkpoint | None

    @property
    def evaluated_at(self) -> int:
        """The step of the last evaluation made during training; 0 if there is none."""
        ...

    def add_row(self, row: Mapping[str, Any], /) -> None:
        """Keep one row of metrics."""

    def add_evaluation(self, row: Mapping[str, Any], /) -> None:
        """Keep one evaluation made during training."""

    def save_policy(self, name: str, policy: Policy, /) -> None:
        """Keep a policy under a name."""

    def save_checkpoint(self, tensors: dict[str, Any], state: Mapping[str, Any], /) -> None:
        """Keep the whole state of the agent."""

    def save_final(self, tensors: dict[str, Any], state: Mapping[str, Any], /) -> None:
        """Keep the state in which the agent has made its last step."""

    def write_table(self) -> None:
        """Put the rows in order: the agent is interrupted."""

    def finish(self, result: Mapping[str, Any], /) -> None:
        """Keep the result; nothing more will come."""


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
