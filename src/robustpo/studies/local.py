"""Running many runs on this machine: one worker process per core, a population in each."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustpo.config import RunConfig

Event = dict[str, Any]
OnEvent = Callable[[Event, Path | None], None]

GRACE_SECONDS = 60.0
LAST_WORDS = 20_000


@dataclass
class Shard:
    """The runs of one population and where each is recorded.

    Attributes:
        configs: what is trained.
        directories: where, in the same order.
        locks: open files whose locks the worker inherits.
        finished: directories whose runs have ended.
        errand: what the worker has to know of the task's environment.
    """

    configs: list[RunConfig]
    directories: list[Path]
    locks: list[int] = field(default_factory=list)
    finished: set[Path] = field(default_factory=set)
    errand: dict[str, Any] = field(default_factory=dict)

    def directory_of(self, event: Event) -> Path | None:
        """Return the directory of the run that an event names."""
        for config, directory in zip(self.configs, self.directories, strict=True):
            if (config.variant, config.settings.seed) == (event.get("variant"), event.get("seed")):
                return directory
        return None


class WorkerProcess:
    """A worker process and the two threads that read what it says.

    Args:
        shard: what it trains.
        events: takes pairs of this object and an event; the last one is of kind `exit`.
        options: how it trains, as in `run_shards`.
        environment: its environment; None is `worker_environment()`.

    Attributes:
        error: what it said of its end.
    """

    def __init__(
        self,
        shard: Shard,
        events: queue.Queue,
        options: dict[str, Any],
        environment: dict[str, str] | None = None,
    ) -> None:
        self.shard = shard
        self.error: str | None = None
        self._events = events
        self._stderr = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "robustpo.training.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment or worker_environment(),
            # Ctrl-C in the terminal is for the parent, which then stops its workers in order.
            start_new_session=True,
            pass_fds=shard.locks,
        )
        self._say(
            json.dumps(
                {
                    "configs": [config.identity() for config in shard.configs],
                    "directories": [str(directory) for directory in shard.directories],
                    "errand": shard.errand,
                    **options,
                }
            )
        )
        self._complaints = threading.Thread(target=self._read_stderr, daemon=True)
        self._complaints.start()
        self._reader = threading.Thread(target=self._read_events, daemon=True)
        self._reader.start()

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except (OSError, ValueError):
            return

    def stop(self) -> None:
        """Ask the worker to end after its running iteration."""
        self._say("stop")

    def join(self) -> None:
        """Wait until all that the ended process said has been read and its pipes are closed."""
        self._reader.join(timeout=5.0)

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._stderr = (self._stderr + line)[-LAST_WORDS:]

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._events.put((self, json.loads(line)))
        self._complaints.join()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._events.put((self, {"kind": "exit", "code": code, "stderr": self._stderr}))


def worker_environment() -> dict[str, str]:
    """Return the workers' environment: one thread for everything that computes."""
    env = dict(os.environ)
    flags = env.get("XLA_FLAGS", "")
    env["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    env |= {"NPROC": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    env.setdefault("JAX_PLATFORMS", "cpu")
    # A task given as module:callable is imported from wherever this process would import it.
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    env.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return env


def run_shards(
    shards: Sequence[Shard],
    *,
    workers: int,
    options: dict[str, Any],
    on_event: OnEvent = lambda event, directory: None,
) -> KeyboardInterrupt | None:
    """Train every shard, `workers` at a time.

    On Ctrl-C the workers end after their running iteration and keep what they have; a second one
    kills them.

    Args:
        shards: what to train.
        workers: how many processes run at once.
        options: how a worker trains: `pin`, `checkpoint_every`, `step_timeout`.
        on_event: called with every event and the directory of the run it is about.

    Returns:
        What interrupted it, if anything.
    """
    pending = list(shards)
    running: list[WorkerProcess] = []
    events: queue.Queue = queue.Queue()
    interrupted: KeyboardInterrupt | None = None
    try:
        while pending or running:
            while pending and len(running) < workers and not interrupted:
                running.append(WorkerProcess(pending.pop(0), events, options))
            try:
                for worker, event in next_events(events):
                    _handle(worker, event, running, on_event)
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


def next_events(events: queue.Queue) -> Iterator[tuple[WorkerProcess, Event]]:
    """Wait briefly for an event, then yield all that are there."""
    try:
        yield events.get(timeout=0.2)
        while True:
            yield events.get_nowait()
    except queue.Empty:
        return


def _handle(
    worker: WorkerProcess, event: Event, running: list[WorkerProcess], on_event: OnEvent
) -> None:
    if event["kind"] == "error":
        worker.error = event["text"]
    elif event["kind"] != "exit":
        pass_on(worker.shard, event, on_event)
    else:
        running.remove(worker)
        if event["code"] != 0:
            report_lost(worker.shard, worker.error or reason_of(event), on_event)


def pass_on(shard: Shard, event: Event, on_event: OnEvent) -> None:
    """Hand on what a worker said, and remember which of its runs have ended."""
    directory = shard.directory_of(event)
    if event["kind"] in ("finished", "failed") and directory is not None:
        shard.finished.add(directory)
    on_event(event, directory)


def report_lost(shard: Shard, reason: str, on_event: OnEvent) -> None:
    """Say of every run that a worker left unfinished that it failed."""
    lost = [
        (config, directory)
        for config, directory in zip(shard.configs, shard.directories, strict=True)
        if directory not in shard.finished
    ]
    # Said once, however many runs the worker trained.
    first, _ = lost[0] if lost else (shard.configs[0], None)
    others = f" and {len(lost) - 1} runs beside it" if len(lost) > 1 else ""
    text: str | None = (
        f"{first.task}, {first.variant}, seed {first.settings.seed}{others}: {reason}; what was "
        "recorded is kept, the same command goes on from there"
    )
    for config, directory in lost:
        failed = {
            "kind": "failed",
            "lost": True,
            "variant": config.variant,
            "seed": config.settings.seed,
        }
        on_event({**failed, "step": 0, "text": text}, directory)
        text = None


def reason_of(event: Event) -> str:
    """Say why a worker ended that did not say so itself."""
    code, stderr = event["code"], event["stderr"]
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
    status = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"the worker died ({status}{': ' + lines[-1].strip() if lines else ''})"


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
