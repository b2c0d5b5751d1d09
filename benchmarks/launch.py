"""Starting measuring processes and reading what they found."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plan import Measurement

# The variables that robustpo gives its workers: one thread for everything that computes.
from robustpo.execution.worker_process import worker_environment

PROBE = Path(__file__).with_name("probe.py")
POLL_SECONDS = 0.01
COMMAND_SECONDS = 240.0
STEPS_OF_COMMAND = 20_480
WHOLE_COMMAND_SECONDS = 900.0
STEPS_OF_WHOLE_COMMAND = 100_000_000

Sample = dict[str, float]


class Launcher:
    """Takes measurements.

    Args:
        work: an empty directory for caches and records.
        seconds: how long each speed is timed, at least.
    """

    def __init__(self, work: Path, seconds: float) -> None:
        self._work = work
        self._seconds = seconds
        self._cores = sorted(os.sched_getaffinity(0))

    def take(self, measurement: Measurement) -> Sample:
        """Measure once.

        Raises:
            RuntimeError: if a process fails, or there are not enough cores.
        """
        if measurement.kind in ("cold", "warm"):
            return self._time_command(measurement)
        if measurement.kind == "whole":
            return self._time_whole_command(measurement)
        if measurement.processes > len(self._cores):
            raise RuntimeError(
                f"{measurement} needs {measurement.processes} cores and this process may use "
                f"{len(self._cores)}; leave it out with --only"
            )
        samples = self._run_probes(measurement)
        # Side by side, processes add up; what disturbed one of them disturbed the measurement.
        added = [name for name in ("steps/s", "steps/core-s", "MiB") if name in samples[0]]
        return {
            **{name: value for name, value in samples[0].items() if name.startswith("ms ")},
            **{name: sum(sample[name] for sample in samples) for name in added},
            "core": min(sample["core"] for sample in samples),
        }

    def _run_probes(self, measurement: Measurement) -> list[Sample]:
        """Run the processes side by side, timed from the moment the last of them is ready."""
        environment = worker_environment() | {"ROBUSTPO_CACHE": str(self._work / "cache")}
        cores = self._cores[: measurement.processes]
        probes = [self._start_probe(measurement, core, environment) for core in cores]
        try:
            for probe in probes:
                _read(probe)
            for probe in probes:
                assert probe.stdin is not None
                probe.stdin.write("go\n")
                probe.stdin.flush()
            return [_read(probe) for probe in probes]
        finally:
            for probe in probes:
                probe.kill()
                probe.communicate()

    def _start_probe(
        self, measurement: Measurement, core: int, environment: dict[str, str]
    ) -> subprocess.Popen[str]:
        order = {
            "kind": measurement.kind,
            "task": measurement.task,
            "agents": measurement.agents,
            "seconds": self._seconds,
            "core": core,
        }
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", str(PROBE), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )

    def _time_command(self, measurement: Measurement) -> Sample:
        """Run `robustpo train`; return the seconds until its first iteration is on disk."""
        cache = self._work / "command-cache"
        if measurement.kind == "cold":
            shutil.rmtree(cache, ignore_errors=True)
        options = ["--seeds", f"0:{measurement.agents}", "--steps", str(STEPS_OF_COMMAND)]
        with self._command(measurement.task, options, cache) as (process, out, start):
            seconds = _wait_for_row(out, process, start)
            code = process.wait(COMMAND_SECONDS)
        if seconds is None or code != 0:
            raise RuntimeError(f"the command recorded nothing or failed: exit code {code}")
        return {"s": seconds}

    def _time_whole_command(self, measurement: Measurement) -> Sample:
        """Run `robustpo train` to its end; return the seconds and the final return."""
        options = ["--seeds", f"0:{measurement.agents}", "--steps", str(STEPS_OF_WHOLE_COMMAND)]
        with self._command(measurement.task, options, self._work / "cache") as (
            process,
            out,
            start,
        ):
            code = process.wait(WHOLE_COMMAND_SECONDS)
            seconds = time.perf_counter() - start
            found = [json.loads(file.read_text()) for file in out.rglob("result.json")]
        if code != 0 or not found:
            raise RuntimeError(f"the command failed: exit code {code}")
        return {"s": seconds, "return": min(result["final_return"] for result in found)}

    @contextlib.contextmanager
    def _command(
        self, task: str, options: list[str], cache: Path
    ) -> Iterator[tuple[subprocess.Popen[Any], Path, float]]:
        """Start `robustpo train` as a person does; whatever happens, it is ended."""
        out = self._work / "runs"
        shutil.rmtree(out, ignore_errors=True)
        command = [str(Path(sys.executable).with_name("robustpo")), "train", task, *options]
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--out", str(out)],
            env=os.environ | {"ROBUSTPO_CACHE": str(cache)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process, out, start
        finally:
            process.kill()
            process.wait()


def _wait_for_row(out: Path, process: subprocess.Popen[Any], start: float) -> float | None:
    while process.poll() is None and time.perf_counter() - start < COMMAND_SECONDS:
        if any(file.stat().st_size for file in out.rglob("metrics.jsonl")):
            return time.perf_counter() - start
        time.sleep(POLL_SECONDS)
    return None


def _read(probe: subprocess.Popen[str]) -> Sample:
    """Read the next message of a process; whatever a simulator prints is skipped."""
    assert probe.stdout is not None
    for line in probe.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise RuntimeError(f"a measuring process ended early with exit code {probe.wait()}")
