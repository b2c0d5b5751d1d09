"""Ctrl-C and SIGTERM: both ask to stop in order."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM, treated as a Ctrl-C that nobody pressed."""


class Stopped(KeyboardInterrupt):
    """A callback that returned False."""


def _terminate(*_: Any) -> None:
    raise Terminated


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM into `Terminated` inside; nothing changes outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def stopping(event: threading.Event) -> Iterator[Callable[[], KeyboardInterrupt | None]]:
    """Let SIGINT and SIGTERM set an event inside; yield what tells which it was, if any."""
    caught: list[KeyboardInterrupt] = []

    def stop(number: int, _: Any) -> None:
        caught.append(Terminated() if number == signal.SIGTERM else KeyboardInterrupt())
        event.set()

    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: caught[0] if caught else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
