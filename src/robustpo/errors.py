"""The errors that a person who uses robustpo can cause and mend."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class RobustpoError(Exception):
    """Base of every error that robustpo raises on purpose; its text is one clear line."""


class ConfigError(RobustpoError, ValueError):
    """A request that cannot be carried out as written (bad value, unknown name, no permission).

    The message states the offending value, what was expected and what to do. The command line
    prints it as one line and exits with code 2.
    """


class EnvironmentMismatch(ConfigError):
    """An environment that the runs asked for cannot be trained on: another one, or a shared one."""


class TrainingError(RobustpoError, RuntimeError):
    """Training started and could not go on (a simulator died, every agent diverged)."""


class UnfinishedError(TrainingError):
    """Of the runs that were asked for some have failed or are missing; all others are whole.

    It is raised after everything has been written, a comparison's report included.

    Args:
        message: which runs, and why.
        directories: of the runs that are done.

    Attributes:
        directories: as given.
        report: a comparison's `ComparisonReport` of the runs that are done; None if there is none.

    Example:
        >>> import robustpo
        >>> try:  # doctest: +SKIP
        ...     runs = robustpo.train("Pendulum-v1", seeds="0:10")
        ... except robustpo.UnfinishedError as error:
        ...     print(error)
        ...     runs = error.directories
    """

    def __init__(self, message: str, directories: Sequence[Path]) -> None:
        super().__init__(message)
        self.directories = list(directories)
        self.report: Any = None


class StorageError(RobustpoError):
    """A file could not be written; what was there before is untouched.

    The message says what to do about it, by the system's number of the error.

    Args:
        path: the file.
        error: what the system said.
    """

    def __init__(self, path: object, error: OSError) -> None:
        advice = _ADVICE.get(error.errno or 0, "mend that")
        super().__init__(
            f"{path} could not be written ({error.strerror or error}); nothing recorded before is "
            f"lost: {advice}, then give the same command again to go on from the last checkpoint"
        )


_ROOM, _RIGHTS = "make room", "get the right to write there or choose another --out"
_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    # A limit on the size of files.
    errno.EFBIG: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "choose an --out that can be written",
    errno.ENAMETOOLONG: "choose a shorter name or --out",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "let other programs close files",
    errno.ENOTDIR: "move the file away that stands where a directory is needed",
    errno.EISDIR: "move the directory away that stands where a file is needed",
}


class SimulatorError(TrainingError):
    """A simulator raised an error; the message names the task and the simulator's seed.

    Args:
        message: what happened.
        index: which of the environments that were stepped together it was, if that is known.

    Attributes:
        index: as given.
        row: steps of the running rollout that were made before it.
    """

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index
        self.row = 0
