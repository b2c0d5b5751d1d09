"""What is really tried: simulators, a picture, a training.

Each is tried in a process of its own, because what is broken in compiled code ends the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from robustpo.base.finding import Finding, one_line
from robustpo.doctor.packages import lock_file, pinned, pip_install, read_lock

SIMULATORS = MappingProxyType(
    {
        "DeepMind Control": "dm_control/cartpole-balance-v0",
        "MuJoCo": "HalfCheetah-v4",
        "Box2D": "BipedalWalker-v3",
        "classic control": "Pendulum-v1",
        "Gymnasium": "gymnasium/Pendulum-v1",
    }
)
SIMULATOR_SECONDS = 60.0
# What Gymnasium alone steps.
_EVERYWHERE = {name: task for name, task in SIMULATORS.items() if task.startswith("gymnasium/")}
RENDERERS = ("egl", "osmesa")
RENDERER_SECONDS = 60.0
TRAINING_STEPS = 20_480
TRAINING_SECONDS = 120.0


def check_simulators(
    tasks: Mapping[str, str] | None = None, timeout: float = SIMULATOR_SECONDS
) -> Finding:
    """Step a task of each family; one that ends the process does not hide those after it."""
    if tasks is None:
        tasks = _EVERYWHERE if find_spec("envpool") is None else SIMULATORS
    pending, broken = list(tasks), {}
    deadline = time.monotonic() + timeout
    while pending:
        left = max(1.0, deadline - time.monotonic())
        reports, failure = try_apart("simulators", *(tasks[name] for name in pending), timeout=left)
        for report in reports:
            name = pending.pop(0)
            if report["error"]:
                broken[name] = report["error"]
        if pending:
            broken[pending.pop(0)] = failure or "nothing was reported"
    if not broken:
        rest = "; the catalog's others need the extra envpool" if tasks is _EVERYWHERE else ""
        return Finding("ok", f"{', '.join(tasks)} step{'s' * (len(tasks) == 1)}{rest}")
    # One cause is told once, however many simulators it stops.
    causes = {
        error: [f"{name} ({tasks[name]})" for name in broken if broken[name] == error]
        for error in broken.values()
    }
    detail = "; ".join(f"{', '.join(names)}: {error}" for error, names in causes.items())
    if "ModuleNotFoundError" in detail:
        return Finding("fail", detail, "install what is missing; the line on packages says how")
    names = dict.fromkeys("gymnasium" if name == "Gymnasium" else "envpool" for name in broken)
    return Finding("fail", detail, _reinstall(names))


def check_rendering(
    renderers: Sequence[str] = RENDERERS, timeout: float = RENDERER_SECONDS
) -> Finding:
    """Encode a film and draw a picture without a screen; nothing but videos needs them."""
    if find_spec("imageio_ffmpeg") is None:
        return Finding("ok", "the extra video is not installed (needed for videos only)")
    _, failure = try_apart("encode", timeout=timeout)
    if failure:
        return Finding(
            "warn", f"no videos can be made ({failure})", _reinstall({"imageio-ffmpeg": None})
        )
    if find_spec("mujoco") is None:
        return Finding("ok", "videos, but not of MuJoCo: the extra mujoco is not installed")
    chosen, problems = os.environ.get("MUJOCO_GL"), []
    for renderer in dict.fromkeys([chosen, *renderers] if chosen else renderers):
        _, failure = try_apart("render", timeout=timeout, MUJOCO_GL=renderer)
        if failure:
            problems.append(f"{renderer}: {failure}")
        elif chosen and chosen != renderer:
            detail = f"MUJOCO_GL={chosen} is set and does not work, {renderer} does"
            return Finding("warn", detail, f"export MUJOCO_GL={renderer}")
        elif problems:
            # Without the variable, what is installed first is taken.
            return Finding(
                "warn",
                f"only MUJOCO_GL={renderer} works ({'; '.join(problems)})",
                f"export MUJOCO_GL={renderer}",
            )
        else:
            return Finding("ok", f"off-screen with MUJOCO_GL={renderer}")
    return Finding(
        "warn",
        f"no videos can be made ({'; '.join(problems)})",
        "on Debian or Ubuntu: apt-get install libegl1 libgl1 (or libosmesa6)",
    )


def check_training(
    task: str | None = None, steps: int = TRAINING_STEPS, timeout: float = TRAINING_SECONDS
) -> Finding:
    """Train a policy as a user would, with a worker process, and let it act."""
    if task is None:
        pool = sys.platform == "linux" and find_spec("envpool") is not None
        task = SIMULATORS["DeepMind Control" if pool else "Gymnasium"]
    advice = (
        "mend what is wrong above first; then see more of it with: robustpo train "
        f"{task} --workers 1 --steps {steps} --out {Path(tempfile.gettempdir()) / 'trial'}"
    )
    with tempfile.TemporaryDirectory(
        prefix="robustpo-doctor-", ignore_cleanup_errors=True
    ) as place:
        reports, failure = try_apart("training", task, str(steps), place, timeout=timeout)
    if failure:
        # What a trainer says of going on does not hold here: the directory is gone.
        return Finding("fail", failure.partition("; the same command goes on")[0], advice)
    (result,) = reports
    return Finding(
        "ok",
        f"{task}: {result['steps'] / result['seconds']:,.0f} steps/s in one worker, first "
        f"iteration after {result['first_iteration']:.1f} s, the policy acts",
    )


def try_apart(
    trial: str, *arguments: str, timeout: float, **environment: str
) -> tuple[list[dict[str, Any]], str | None]:
    """Try something in a process of its own (`robustpo.doctor.probe`).

    Args:
        trial: name of a function there.
        *arguments: what it is given.
        timeout: seconds after which the process is killed.
        **environment: variables set for it.

    Returns:
        What it reported before it ended, and why it failed or None.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "robustpo.doctor.probe", trial, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | environment,
    )
    late = False
    try:
        try:
            said, complaints = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            late = True
            _kill(process)
            said, complaints = process.communicate()
    finally:
        _kill(process)
    reports = [json.loads(line) for line in said.splitlines()]
    failure = reports.pop()["failure"] if reports and "failure" in reports[-1] else None
    if late:
        failure = f"did not end within {timeout:.0f} s"
    elif process.returncode and not failure:
        failure = _how_it_ended(process.returncode, complaints)
    return reports, failure


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a process that still runs, with its workers, which would first finish an iteration."""
    if process.poll() is not None:
        return
    workers = []
    with contextlib.suppress(OSError):
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    for worker in workers:
        with contextlib.suppress(OSError):
            os.kill(int(worker), signal.SIGKILL)


def _how_it_ended(code: int, complaints: str) -> str:
    if code < 0:
        return f"the process was ended by signal {-code} ({signal.Signals(-code).name})"
    lines = complaints.strip().splitlines()
    return one_line(lines[-1]) if lines else f"the process ended with exit code {code}"


def _reinstall(names: Mapping[str, Any]) -> str:
    lock = lock_file()
    locked = read_lock(lock) if lock.is_file() else {}
    return pip_install(["--force-reinstall", "--no-deps", *pinned(locked, names)])
