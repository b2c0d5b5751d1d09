"""Running many runs on this machine: one worker process per core, a population in each."""

from __future__ import annotations

import queue
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from robustpo.base.files import one_line
from robustpo.errors import TrainingError
from robustpo.execution.manner import WorkerOptions
from robustpo.execution.worker import TERMINATED
from robustpo.execution.worker_process import Event, OnEvent, Shard, WorkerProcess
from robustpo.runs.run_state import name_of

GRACE_SECONDS = 60.0
# Exit codes of workers that ended when they were asked to.
IN_ORDER = (0, TERMINATED)


def run_shards(
    shards: Sequence[Shard],
    *,
    workers: int,
    options: WorkerOptions,
    on_event: OnEvent = lambda event, directory: None,
) -> KeyboardInterrupt | None:
    """Train every shard, `workers` at a time.

    On Ctrl-C the workers end after their running iteration and keep what they have; a second one
    kills them.

    Args:
        shards: what to train.
        workers: how many processes run at once.
        options: how a worker trains.
        on_event: called with every event and the directory of the run it is about.

    Returns:
        What interrupted it, if anything.

    Raises:
        TrainingError: if the system starts no worker.
    """
    pending = list(shards)
    running: list[WorkerProcess] = []
    events: queue.Queue = queue.Queue()
    interrupted: KeyboardInterrupt | None = None
    try:
        while pending or running:
            while pending and len(running) < workers and not interrupted:
                running.append(_start(pending.pop(0), events, options))
            try:
                for worker, event in next_events(events):
                    _handle(worker, event, running, on_event, stopping=bool(interrupted))
            except KeyboardInterrupt as signalled:
                if interrupted:
                    raise
                interrupted = signalled
                pending.clear()
                on_event({"kind": "note", "text": "stopping; what was recorded is kept"}, None)
                for worker in running:
                    worker.stop()
    finally:
        _kill(running)
    return interrupted


def _start(shard: Shard, events: queue.Queue, options: WorkerOptions) -> WorkerProcess:
    """Start a worker.

    Raises:
        TrainingError: if the system does not.
    """
    try:
        return WorkerProcess(shard, events, options)
    except OSError as error:
        raise TrainingError(
            f"no worker could be started: {sys.executable}: {error.strerror or error}; what was "
            "recorded is kept, fewer --workers need less"
        ) from error


def next_events(events: queue.Queue) -> Iterator[tuple[WorkerProcess, Event]]:
    """Wait briefly for an event, then yield all that are there."""
    try:
        yield events.get(timeout=0.2)
        while True:
            yield events.get_nowait()
    except queue.Empty:
        return


def _handle(
    worker: WorkerProcess,
    event: Event,
    running: list[WorkerProcess],
    on_event: OnEvent,
    *,
    stopping: bool,
) -> None:
    if event["kind"] != "exit":
        on_event(event, worker.shard.directory_of(event))
        return
    running.remove(worker)
    asked = stopping or bool(worker.shard.pause_at)
    if not (asked and event["code"] in IN_ORDER):
        report_lost(worker.shard, reason_of(event), on_event)


def report_lost(shard: Shard, reason: str, on_event: OnEvent) -> None:
    """Say of every run that a worker has left unended that it failed; there may be none."""
    lost = shard.unended()
    if not lost:
        return
    # Said once, however many runs the worker trained.
    first, _ = lost[0]
    beside = len(lost) - 1
    others = f" and {beside} run{'' if beside == 1 else 's'} beside it" if beside > 0 else ""
    text: str | None = (
        f"{name_of(first)}{others}: {reason}; what was recorded is kept, the same command goes on "
        "from there once nothing stands in its way"
    )
    for config, directory in lost:
        failed = {"kind": "failed", "lost": True, "reason": reason, "text": text, "step": 0}
        on_event(
            {**failed, "variant": config.variant, "seed": config.settings.seed},
            directory,
        )
        text = None


def reason_of(event: Event) -> str:
    """Say why a worker has ended before its runs had."""
    code, stderr = event["code"], event["stderr"]
    if event["error"]:
        return event["error"]
    if code == TERMINATED:
        return "its worker was stopped by SIGTERM, which this command had not sent"
    if timeout := re.search(r"^Timeout \((\S+)\)!$", stderr, re.MULTILINE):
        # Of all the threads that are listed, the main one is the last.
        main_thread = re.split(r"^.*\(most recent call first\):$", stderr, flags=re.MULTILINE)[-1]
        place = re.search(r'^  (File ".*", line \d+ in \S+)$', main_thread, re.MULTILINE)
        seen = f", last seen in {place[1]}" if place else ""
        return f"the simulator did not return within {timeout[1]}{seen} (--step-timeout)"
    if code == -signal.SIGKILL:
        return (
            "the worker was killed by signal 9, which is what the system does when memory runs "
            "out (fewer --workers need less)"
        )
    lines = [line for line in stderr.strip().splitlines() if line.strip()]
    said = f": {one_line(lines[-1])}" if lines else ""
    if code == 0:
        return f"the worker's process was ended before its runs had, by its environment{said}"
    status = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"the worker died ({status}{said})"


def _kill(running: list[WorkerProcess]) -> None:
    deadline = time.monotonic() + (GRACE_SECONDS if running else 0)
    for worker in running:
        worker.stop()
    for worker in running:
        try:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            worker.process.kill()
    for worker in running:
        worker.join()
