"""Signals that come at a bad moment, and are answered at the next good one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Answer Ctrl-C and SIGTERM at the end of this, not inside.

    For what must not be begun without a note of it: a handler that raises may do so inside a call
    that has made a file or started a process and has not returned yet.
    """
    # Handlers are called in the main thread; without one (SIG_IGN, SIG_DFL) nothing is raised.
    main = threading.current_thread() is threading.main_thread()
    asked = (signal.SIGINT, signal.SIGTERM) if main else ()
    handlers = {n: handler for n in asked if callable(handler := signal.getsignal(n))}
    came: list[int] = []
    try:
        for number in handlers:
            signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)
