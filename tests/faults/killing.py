"""Starts the command as a user does, kills what it started, and compares what is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import robustpo

COMMAND = Path(sys.executable).with_name("robustpo")
HERE = Path(__file__).parent


def start(*arguments, cwd, **environment):
    """Type a command and do not wait for it."""
    # A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
    # Whoever handles a signal passes on its default.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def workers_in(directory):
    """Return the worker processes that work in a directory."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(place / "cwd") == str(directory):
                command = (place / "cmdline").read_bytes()
                if b"robustpo.execution.worker" in command:
                    found.append(int(place.name))
        except OSError:
            continue
    return found


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def end(process):
    """Kill whatever a test has left of a command."""
    if process.poll() is None:
        process.kill()
    process.communicate()


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_clocks(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def runs_in(directory):
    """Return the runs below a directory, without records that were moved aside."""
    found = sorted(path.parent for path in Path(directory).rglob("config.json"))
    return [run for run in found if not run.name.startswith(".")]


def assert_same_runs(reference, other):
    """Compare policies, metrics and results of two directories; clocks aside, bit for bit."""
    ones, others = runs_in(reference), runs_in(other)
    names = [run.relative_to(reference) for run in ones]
    assert names == [run.relative_to(other) for run in others] and names
    for one, two in zip(ones, others, strict=True):
        first, second = robustpo.load_policy(one).tensors, robustpo.load_policy(two).tensors
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name], err_msg=f"{two} {name}")
        for name in ("metrics.jsonl", "evaluations.jsonl"):
            assert (one / name).exists() == (two / name).exists()
            if (one / name).exists():
                rows = [without_clocks(lines_of(run / name)) for run in (one, two)]
                assert rows[0] == rows[1]
        results = [json.loads((run / "result.json").read_text()) for run in (one, two)]
        assert without_clocks(results[:1]) == without_clocks(results[1:])
        assert results[0]["status"] == "completed"
        assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
