"""Following training in other people's tools; each needs its extra."""

from __future__ import annotations

import math
import secrets
from pathlib import Path
from typing import Any, Protocol

from robustpo.base.writing import make_directory
from robustpo.errors import ConfigError


class Tracker(Protocol):
    """Receives the events of training."""

    def update(self, event: dict[str, Any], directory: Path) -> None:
        """Take in one event of the run in `directory`."""

    def close(self) -> None:
        """Write what is pending."""


class TensorboardTracker:
    """Writes scalars beside each run, for `tensorboard --logdir <out>`."""

    def __init__(self) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "track='tensorboard' needs an extra; run: pip install 'robustpo[tensorboard]'"
            ) from error
        self._make: Any = SummaryWriter
        self._writers: dict[Path, Any] = {}

    def update(self, event: dict[str, Any], directory: Path) -> None:
        """Write the numbers of one iteration."""
        if event["kind"] != "iteration":
            return
        if directory not in self._writers:
            self._writers[directory] = self._open(directory, event["step"])
        for name, value in event.items():
            number = isinstance(value, float) and math.isfinite(value)
            if number and name != "seconds":
                self._writers[directory].add_scalar(f"train/{name}", value, event["step"])

    def _open(self, directory: Path, step: int) -> Any:
        """Begin a file of events from a step on, which is where a run that was stopped goes on."""
        place = directory / "tensorboard"
        make_directory(place, directory)
        # What a command wrote that died after its last checkpoint is trained, and written, again.
        # Nobody can know the file's name before, and put a link there.
        return self._make(str(place), purge_step=step, filename_suffix=f".{secrets.token_hex(8)}")

    def close(self) -> None:
        """Write what is pending."""
        for writer in self._writers.values():
            writer.close()


TRACKERS = {"tensorboard": TensorboardTracker}


def make_tracker(name: str | None) -> Tracker | None:
    """Return the tracker of a name, or None for None.

    Raises:
        ConfigError: if the name is unknown or its extra is missing.
    """
    if name is None:
        return None
    if name not in TRACKERS:
        raise ConfigError(f"track={name!r} is unknown; choose one of {', '.join(TRACKERS)}")
    return TRACKERS[name]()
