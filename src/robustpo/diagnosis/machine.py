"""What the machine lets this process have: cores, memory, and places to write.

Limits of containers and batch systems are those of control groups, of either version. A group is
also bound by every group above it, as far as they can be seen from inside.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from robustpo.diagnosis.finding import Finding, Status
from robustpo.diagnosis.trials import try_apart
from robustpo.training.cores import available_cores

GIB = 2**30
# The most that was measured for a worker with five agents.
WORKER_GIB = 0.9
SMALLEST_FREE_GIB = 1.0
PROBE_BYTES = 2**16


def check_cores(root: Path = Path("/")) -> Finding:
    """Check that as much processor time may be used as there are cores to run on."""
    cores, quota = available_cores(), cpu_quota(root)
    detail = f"{cores} of {os.cpu_count()} available"
    if quota is not None and quota < cores:
        workers = max(1, int(quota))
        return Finding(
            "warn",
            f"{detail}, but a control group limits their time to that of {quota:.3g}",
            f"train with --workers {workers}; by default there is one per core",
        )
    return Finding("ok", detail)


def check_memory(root: Path = Path("/")) -> Finding:
    """Check that the workers that would be started have room."""
    cores, (room, limit) = available_cores(), memory(root)
    if room is None:
        return Finding("ok", "unknown on this system")
    workers = int(room / GIB / WORKER_GIB)
    bound = "" if limit is None else f" within a control group's {limit / GIB:.1f} GiB"
    detail = f"{room / GIB:.1f} GiB available{bound}, enough for {workers} workers of five agents"
    if workers >= cores:
        return Finding("ok", detail)
    advice = f"train with --workers {max(1, workers)}; by default there is one per core"
    return Finding("warn", detail, advice if workers else f"{advice}; and fewer seeds at a time")


def check_cache(directory: Path | None = None) -> Finding:
    """Check that compiled programs can be kept."""
    if directory is None:
        reports, failure = try_apart("cache", timeout=60.0)
        if failure:
            return Finding("fail", f"where it is cannot be told: {failure}", "mend jax first")
        directory = Path(reports[0]["directory"])
    advice = (
        "set ROBUSTPO_CACHE to a directory that can be written; without one every command "
        "compiles anew"
    )
    return _place(directory, "warn", advice)


def check_temporary() -> Finding:
    """Check that there is a temporary directory."""
    advice = "set TMPDIR to a directory that can be written"
    try:
        directory = Path(tempfile.gettempdir())
    except OSError as error:
        return Finding("fail", error.strerror or str(error), advice)
    return _place(directory, "fail", advice)


def check_runs(directory: Path | None = None) -> Finding:
    """Check that runs can be recorded where they are by default."""
    advice = "change to another directory, or train with --out DIRECTORY"
    return _place(directory or Path.cwd() / "runs", "warn", advice)


def _place(directory: Path, status: Status, advice: str) -> Finding:
    """Try to write where a directory is or would be made, and leave nothing behind."""
    ancestor = directory.absolute()
    try:
        while not ancestor.exists():
            ancestor = ancestor.parent
        # Trying is the only honest test: access rights say nothing about read-only file systems.
        with tempfile.TemporaryFile(dir=ancestor) as file:
            file.write(bytes(PROBE_BYTES))
        free = shutil.disk_usage(ancestor).free / GIB
    except OSError as error:
        detail = f"{directory} cannot be written ({error.strerror or error}: {ancestor})"
        return Finding(status, detail, advice)
    detail = f"{directory}, {free:,.1f} GiB free"
    if free < SMALLEST_FREE_GIB:
        return Finding("warn", detail, f"make room in {ancestor}, or {advice}")
    return Finding("ok", detail)


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
