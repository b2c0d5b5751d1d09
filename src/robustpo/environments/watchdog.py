"""Ends a process whose simulator does not return, whatever it is stuck in.

The wait is C's, not Python's, so code that hangs while holding the interpreter's lock is ended too.
A traceback of where it hung goes to standard error first, the process exits with code 1. There is
one wait per process, hence state of this module.
"""

from __future__ import annotations

import contextlib
import faulthandler
import time
from collections.abc import Iterator

NEVER = float("-inf")

_seconds = 0.0
_watching = False
_armed = NEVER


def limit(seconds: float) -> None:
    """Set how long a call of a simulator may take, held to within a second; 0 is for ever."""
    global _seconds
    _seconds = seconds


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Watch the calls of simulators that are made inside; elsewhere nothing is waited for."""
    global _watching, _armed
    outer, _watching = _watching, _seconds > 0
    try:
        yield
    finally:
        if _watching and not outer:
            faulthandler.cancel_dump_traceback_later()
            _armed = NEVER
        _watching = outer


def about_to_call() -> None:
    """Begin to wait anew; cheap enough for every step."""
    global _armed
    if not _watching:
        return
    now = time.monotonic()
    # Arming starts a thread, so not every step does it.
    if now - _armed > min(1.0, _seconds / 4):
        _armed = now
        faulthandler.dump_traceback_later(_seconds, exit=True, file=2)
