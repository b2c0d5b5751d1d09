"""What the machine lets this process have: cores, memory, and places to write."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from robustpo.base.finding import Finding, Status
from robustpo.doctor.trials import try_apart
from robustpo.execution.limits import GIB, available_cores, cpu_quota, memory, workers_with_room

SMALLEST_FREE_GIB = 1.0
PROBE_BYTES = 2**16


def check_cores(root: Path = Path("/")) -> Finding:
    """Say how many cores there are to train on; by default there is one worker for each."""
    quota = cpu_quota(root)
    bound = "" if quota is None else f" (a control group limits their time to that of {quota:.3g})"
    return Finding("ok", f"{available_cores(root)} of {os.cpu_count()} available{bound}")


def check_memory(root: Path = Path("/")) -> Finding:
    """Check that a worker for every core has room."""
    cores, workers, (room, limit) = available_cores(root), workers_with_room(root), memory(root)
    if room is None or workers is None:
        return Finding("ok", "unknown on this system")
    bound = "" if limit is None else f" within a control group's {limit / GIB:.1f} GiB"
    detail = f"{room / GIB:.1f} GiB available{bound}, enough for {workers} workers of five agents"
    if workers >= cores:
        return Finding("ok", detail)
    advice = f"by default {max(1, workers)} of {cores} workers train at once"
    return Finding("warn", detail, advice if workers else f"{advice}; train fewer seeds at a time")


def check_cache(directory: Path | None = None) -> Finding:
    """Check that compiled programs can be kept."""
    advice = (
        "set ROBUSTPO_CACHE to a directory that can be written; without one every command "
        "compiles anew"
    )
    if directory is None:
        reports, failure = try_apart("cache", timeout=60.0)
        if failure:
            return Finding("fail", f"where it is cannot be told: {failure}", "mend jax first")
        if reports[0]["directory"] is None:
            return Finding("warn", "this user has no home directory", advice)
        directory = Path(reports[0]["directory"])
    return _place(directory, "warn", advice)


def check_temporary() -> Finding:
    """Check that there is a temporary directory; training does without, some simulators do not."""
    advice = "set TMPDIR to a directory that can be written"
    try:
        directory = Path(tempfile.gettempdir())
    except OSError as error:
        return Finding("warn", error.strerror or str(error), advice)
    return _place(directory, "warn", advice)


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
