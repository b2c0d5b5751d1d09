"""What belongs to the process and not to a simulator, put back after calls that may change it.

Simulators take Ctrl-C for themselves, move to the folder of their assets, compute in double
precision, have NumPy raise, or silence standard error for good. The process is ours. What a
simulator needs of this for itself, its directory and JAX's double precision, it is given again
whenever it is called (`Apart`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

HANDLED = (signal.SIGINT, signal.SIGTERM)
STREAMS = (1, 2)


@dataclass(frozen=True)
class Apart:
    """In what a simulator differs from the process around it.

    Attributes:
        directory: its own working directory, or None.
        double: whether it computes with JAX in double precision.
    """

    directory: str | None = None
    double: bool = False

    def __bool__(self) -> bool:
        return self.directory is not None or self.double

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Give the simulator its own while it is called; who calls it leaves its directory."""
        if self.directory is not None:
            return_to(self.directory)
        if not self.double:
            yield
            return
        import jax

        with jax.enable_x64(True):
            yield


@dataclass(frozen=True)
class ProcessState:
    """What stood before a call, but for signal handlers: directory, precision, NumPy's errors."""

    directory: str | None
    double: bool
    errors: dict[str, Any]

    @classmethod
    def now(cls) -> ProcessState:
        """Take down what stands now; it takes about a microsecond."""
        return cls(working_directory(), _double(), dict(np.geterr()))

    def restore(self) -> Apart:
        """Put it back; return what a simulator has changed for itself."""
        if np.geterr() != self.errors:
            np.seterr(**self.errors)
        moved = working_directory()
        moved = None if self.directory is None or moved == self.directory else moved
        return_to(self.directory)
        double = _double() and not self.double
        if double:
            sys.modules["jax"].config.update("jax_enable_x64", False)
        return Apart(moved, double)


class SignalHandlers:
    """Our handlers of Ctrl-C and SIGTERM, as they stand now."""

    def __init__(self) -> None:
        # Handlers belong to the main thread; one that Python did not set (None) cannot be put back.
        main = threading.current_thread() is threading.main_thread()
        self._handlers = {int(n): signal.getsignal(n) for n in HANDLED} if main else {}

    def restore(self) -> None:
        """Put them back; without asking, since C may have taken a signal unknown to Python."""
        for number, handler in self._handlers.items():
            if handler is not None:
                signal.signal(number, handler)


@contextlib.contextmanager
def kept_streams() -> Iterator[None]:
    """Put standard output, standard error and the filters of warnings back, whatever is done."""
    saved = {}
    for number in STREAMS:
        with contextlib.suppress(OSError):
            saved[number] = os.dup(number)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for number, copy in saved.items():
            os.dup2(copy, number)
            os.close(copy)


@contextlib.contextmanager
def kept_interpreter() -> Iterator[None]:
    """Give back what is taken away inside: places of modules, depth of calls, rights of new files.

    What is added stays, for a simulator may need it.
    """
    places, depth, mask = list(sys.path), sys.getrecursionlimit(), _umask()
    try:
        yield
    finally:
        sys.path.extend(place for place in places if place not in sys.path)
        sys.setrecursionlimit(max(depth, sys.getrecursionlimit()))
        os.umask(mask)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _double() -> bool:
    # Whoever has not imported JAX has not changed it either, and nobody else should import it.
    config: Any = getattr(sys.modules.get("jax"), "config", None)
    return bool(getattr(config, "jax_enable_x64", False))


def return_to(directory: str | None) -> None:
    """Make a directory the working directory again, if there still is one."""
    if directory is not None and working_directory() != directory:
        with contextlib.suppress(OSError):
            os.chdir(directory)


def working_directory() -> str | None:
    """Return the working directory, or None if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None
