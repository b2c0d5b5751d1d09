"""What a command prints and how it ends, whatever simulators print and leave behind."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

SECONDS_TO_END = 2.0
MARK = "ROBUSTPO_COMMAND"
CUT_HINT = "(default: 10000, or the task's time limit if that is longer)"


@contextlib.contextmanager
def prints_on_stderr() -> Iterator[None]:
    """Send what is printed inside to standard error, by Python, by C and by child processes.

    Simulators print; what a command prints on standard output is its result alone.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:
        # Standard output is closed.
        kept = None
    else:
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        # Handles that simulators have kept, and C, hold back what they have printed.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()
        with contextlib.suppress(Exception):
            ctypes.CDLL(None).fflush(None)
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def name_page(files: Sequence[Path]) -> None:
    """Say where to read what a command has found, in one line."""
    page = next((file for file in files if file.suffix == ".html"), files[0])
    print(f"\nwritten: {page}, figures and tables beside it")


class Interrupted(KeyboardInterrupt):
    """A Ctrl-C of the person who gave the command, and of no environment."""


def know_interrupts() -> None:
    """Have Ctrl-C raise `Interrupted`: environments raise `KeyboardInterrupt` themselves."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    # Where it is ignored, as in the background of a shell, it stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)


def cut_line(cut: int, episodes: int) -> str:
    """Say how many episodes were cut."""
    return (
        f"{cut} of {episodes} episodes had not ended when they were cut (--max-steps); their "
        "returns are those so far"
    )


def end_children_at_exit() -> None:
    """Have what simulators leave running in this process killed when it ends.

    A child holds the pipes of its parent: whoever reads what a command prints, as `| tee log` does,
    would wait for it. One that has left this process group wants to live on, and does.
    """
    # Children of children that have ended are nobody's, but still say by whose order they run.
    os.environ[MARK] = str(os.getpid())
    atexit.register(_kill_children)


def _kill_children() -> None:
    mark = f"{MARK}={os.getpid()}".encode()
    parents: dict[int, int] = {}
    ours = {os.getpid()}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            # After the program's name, in brackets, which may hold anything: state, parent, group.
            _, parent, group = (place / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(group) == os.getpgrp():
                parents[int(place.name)] = int(parent)
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    ours.add(int(place.name))
    while grown := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= grown
    for child in ours - {os.getpid()}:
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)


def end_soon(code: int) -> None:
    """End this process with a code even if threads of a simulator live on.

    What ends by itself has a few seconds for that; everything of ours is written by now.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()

    def end() -> None:
        time.sleep(SECONDS_TO_END)
        _kill_children()
        os._exit(code)

    threading.Thread(target=end, daemon=True).start()
