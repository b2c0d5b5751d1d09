"""What the machine lets this process have: processor time and memory.

Limits of containers and batch systems are those of control groups, of either version. A group is
also bound by every group above it, as far as they can be seen from inside. Imports nothing that
has to be installed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from robustpo.base.devices import accelerator

GIB = 2**30
# The most that was measured for a worker with five agents.
WORKER_GIB = 0.9


def available_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use, of which a control group may allow a part."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = cpu_quota(root)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def workers_with_room(root: Path = Path("/")) -> int | None:
    """Return how many workers the memory is enough for, perhaps none; None where it is unknown."""
    room, _ = memory(root)
    return None if room is None else int(room / GIB / WORKER_GIB)


def default_workers(root: Path = Path("/")) -> tuple[int, str | None]:
    """Return how many workers train unless a number is asked for, and what to say of it.

    Returns:
        One per core, but no more than have room in memory, and at least one; a line if memory is
        what bounds them. On an accelerator one, which trains all agents of a shape at once.
    """
    if platform := accelerator():
        return 1, f"JAX_PLATFORMS asks for {platform}: one worker trains the agents at once"
    cores, room = available_cores(root), workers_with_room(root)
    if room is None or room >= cores:
        return cores, None
    count = max(1, room)
    free = (memory(root)[0] or 0.0) / GIB
    text = f"{free:.1f} GiB of memory are free, so {count} of {cores} workers train at once"
    return count, None if count == cores else f"{text}; --workers {cores} starts all"


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the processors' worth of time that control groups allow; None if they do not limit."""
    quotas = []
    for group, version in _groups(root, "cpu"):
        if version == 2:
            quota, _, period = _text(group / "cpu.max").partition(" ")
        else:
            quota = _text(group / "cpu.cfs_quota_us")
            period = _text(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory(root: Path = Path("/")) -> tuple[float | None, float | None]:
    """Return the bytes that can still be had and the control groups' limit, None where unknown."""
    room, total, limits = *_system_memory(root), []
    for group, version in _groups(root, "memory"):
        limit_file, used_file, cached = (
            ("memory.max", "memory.current", "inactive_file")
            if version == 2
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        limit, used = _text(group / limit_file), _text(group / used_file)
        # Without a limit, version 1 states a number beyond all memory.
        if not limit.isdigit() or (total is not None and int(limit) >= total):
            continue
        limits.append(int(limit))
        # Files kept in memory are given up when it gets scarce.
        files = _field(_text(group / "memory.stat"), cached) or 0
        left = int(limit) - (max(0, int(used) - files) if used.isdigit() else 0)
        room = left if room is None else min(room, left)
    return None if room is None else max(room, 0), min(limits, default=None)


def _system_memory(root: Path) -> tuple[int | None, int | None]:
    """Return the bytes that are available and those that there are."""
    text = _text(root / "proc/meminfo")
    available, total = _field(text, "MemAvailable:"), _field(text, "MemTotal:")
    if available is not None and total is not None:
        return available * 1024, total * 1024
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return total, total
    return None, None


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Yield this process's control groups and those above, with the version of their files."""
    mounts = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount, version = (mounts / controller, 1) if controllers else (mounts, 2)
        # Inside a container the path may be the host's, of which only the mount itself is here.
        for group in (PurePosixPath(path), *PurePosixPath(path).parents):
            yield mount / str(group).lstrip("/"), version


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _field(text: str, name: str) -> int | None:
    """Return the number behind a name in lines of `name number`."""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == [name] and len(words) > 1:
            return int(words[1])
    return None
