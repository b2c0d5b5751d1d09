"""Claiming a processor core, so that commands started side by side do not share one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

_held: list[Any] = []


def claim_core() -> int | None:
    """Pin this process to a free core of its own affinity mask until it exits.

    Cores are claimed through one advisory lock each, which the system drops with the process.

    Returns:
        The core, or None where pinning is not possible or every core is claimed; the process then
        runs wherever the system puts it.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    import fcntl

    directory = Path(tempfile.gettempdir()) / f"robustpo-cores-{os.getuid()}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        for core in sorted(os.sched_getaffinity(0)):
            lock = open(directory / f"{core}.lock", "w")  # noqa: SIM115 - held until exit
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            os.sched_setaffinity(0, {core})
            _held.append(lock)
            return core
    except OSError:
        return None
    return None


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
