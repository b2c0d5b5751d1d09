"""Claiming a processor core, so that commands started side by side do not share one.

Cores are claimed by locks of this user in the temporary directory. Other users and containers
have others, so the idlest core is taken, and a process that has to wait for its core all the same
gives it up. All of it is convenience: whatever goes wrong, the process runs unpinned.
"""

from __future__ import annotations

import os
import random
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

# How long the load of the cores is measured before one is chosen.
SAMPLE_SECONDS = 0.1
# How often a pinned process looks whether it has its core for itself. Not the same in all, so that
# of two that share a core one leaves first.
WATCH_SECONDS = (5.0, 10.0)
# The share of the time it could have run that it may spend waiting for its core.
MOST_WAITING = 0.25


@dataclass(frozen=True)
class Claim:
    """A core that this process is pinned to.

    Attributes:
        core: its number.
        mask: the cores it may use besides.
        lock: the open file that holds the claim.
    """

    core: int
    mask: Set[int]
    lock: int

    def give_up(self) -> None:
        """Let every thread of this process run where it could before; the core is free again."""
        for thread in _threads():
            _allow(thread, self.mask)
        os.close(self.lock)


def claim_core() -> Claim | None:
    """Pin this process to the idlest free core of its own affinity mask until it exits.

    Returns:
        The claim, or None where pinning is not possible or every core is claimed; the process then
        runs wherever the system puts it.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    try:
        mask = os.sched_getaffinity(0)
        directory = _own_directory()
        for core in _idlest_first(mask):
            lock = _try_lock(directory, f"{core}.lock")
            if lock is None:
                continue
            claim = Claim(core, mask, lock)
            for thread in _threads():
                _allow(thread, {core})
            if os.sched_getaffinity(0) == {core}:
                return claim
            claim.give_up()
    except OSError:
        return None
    return None


def share_no_core(claim: Claim, moved: Callable[[], None] = lambda: None) -> None:
    """Watch a claim from a thread of its own; give it up if others keep the core busy.

    Args:
        claim: of this process, whose main thread is watched.
        moved: called when it was given up.
    """
    threading.Thread(target=_watch, args=(claim, moved), daemon=True).start()


def _watch(claim: Claim, moved: Callable[[], None]) -> None:
    while (before := _scheduled()) is not None:
        time.sleep(random.uniform(*WATCH_SECONDS))
        now = _scheduled()
        if now is not None and _is_shared(before, now):
            claim.give_up()
            moved()
            return


@dataclass(frozen=True)
class Scheduled:
    """What a process has had of its core, in seconds from any origin.

    Attributes:
        clock: the time.
        used: processor time of all its threads.
        ran: for how long its main thread has run.
        waited: for how long that could have run and had to wait.
    """

    clock: float
    used: float
    ran: float
    waited: float


def _is_shared(before: Scheduled, now: Scheduled) -> bool:
    """Whether a process that is pinned had to wait between two times, and not for itself."""
    waited, used = now.waited - before.waited, now.used - before.used
    could_run = now.ran - before.ran + waited
    # The main thread also waits while a thread of its simulator runs; then the core is all used.
    starved = used < (1 - MOST_WAITING) * (now.clock - before.clock)
    return starved and waited > MOST_WAITING * could_run


def _scheduled() -> Scheduled | None:
    """Return what this process has had so far; None where the system does not say."""
    try:
        # Of a process, this file is about its first thread.
        ran, waited, _ = Path("/proc/self/schedstat").read_text(encoding="ascii").split()
        return Scheduled(time.monotonic(), time.process_time(), int(ran) / 1e9, int(waited) / 1e9)
    except (OSError, ValueError):
        return None


def _own_directory() -> Path:
    """Return the directory of this user's locks.

    Raises:
        OSError: if there is no temporary directory, or the place is not this user's alone.
    """
    directory = Path(tempfile.gettempdir()) / f"robustpo-cores-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = os.lstat(directory)
    # Anybody can make something of this name in a directory that all may write to.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{directory} is not this user's own directory")
    return directory


def _try_lock(directory: Path, name: str) -> int | None:
    """Return the open file of a lock, which the system drops with the process; None if it is held.

    Raises:
        OSError: if it cannot be opened.
    """
    import fcntl

    lock = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _idlest_first(mask: Set[int]) -> list[int]:
    """Return cores, those first that others have used least in a short while."""
    before = _busy()
    time.sleep(SAMPLE_SECONDS)
    after = _busy()
    load = {core: after.get(core, 0) - before.get(core, 0) for core in mask}
    return sorted(mask, key=lambda core: (load[core], core))


def _busy() -> dict[int, int]:
    """Return how long each core has worked, in the system's ticks; nothing where it is unknown."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        found = {}
        for line in lines:
            name, *ticks = line.split()
            if name.startswith("cpu") and name != "cpu":
                # user nice system idle iowait irq softirq
                found[int(name[3:])] = sum(map(int, ticks[:3])) + sum(map(int, ticks[5:7]))
        return found
    except (OSError, ValueError):
        return {}


def _threads() -> list[int]:
    """Return the threads of this process; 0 stands for the calling one."""
    try:
        return [int(name) for name in os.listdir("/proc/self/task")]
    except OSError:
        return [0]


def _allow(thread: int, cores: Set[int]) -> None:
    try:
        os.sched_setaffinity(thread, cores)
    except OSError:
        # It has ended, or a control group has just taken the cores away.
        return
