"""Running many runs on this machine: one worker process per core, a population in each."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import selectors
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
from robustpo.errors import TrainingError
from robustpo.files import one_line
from robustpo.studies.run_state import name_of, run_state
from robustpo.training.provenance import ONE_THREAD
from robustpo.training.worker import TERMINATED

Event = dict[str, Any]
OnEvent = Callable[[Event, Path | None], None]

GRACE_SECONDS = 60.0
LAST_WORDS = 20_000
PIPE_BYTES = 2**16
# What a pipe holds at most is read in fewer.
LAST_READS = 64
# How often to look whether a worker lives whose pipes somebody holds.
LISTEN_SECONDS = 0.2
# Exit codes of workers that ended when they were asked to.
IN_ORDER = (0, TERMINATED)
# Variables that say which devices to use; all other settings of JAX are the worker's own.
JAX_DEVICES = ("JAX_PLATFORMS", "JAX_CUDA_VISIBLE_DEVICES", "JAX_ROCM_VISIBLE_DEVICES")


@dataclass
class Shard:
    """The runs of one population and where each is recorded.

    Attributes:
        configs: what is trained.
        directories: where, in the same order.
        locks: open files whose locks the worker inherits.
        errand: what the worker has to know of the task's environment.
    """

    configs: list[RunConfig]
    directories: list[Path]
    locks: list[int] = field(default_factory=list)
    errand: dict[str, Any] = field(default_factory=dict)

    def unended(self) -> list[tuple[RunConfig, Path]]:
        """Return the runs that their records do not say to have ended, and where they are."""
        pairs = zip(self.configs, self.directories, strict=True)
        return [(config, place) for config, place in pairs if not run_state(place).ended]

    def directory_of(self, event: Event) -> Path | None:
        """Return the directory of the run that an event names."""
        for config, directory in zip(self.configs, self.directories, strict=True):
            if (config.variant, config.settings.seed) == (event.get("variant"), event.get("seed")):
                return directory
        return None


class WorkerProcess:
    """A worker process and the thread that listens to it.

    The end of a worker is that of its process, not of its pipes: what its environment has started
    may hold those for hours. It is killed with the worker, unless it has left its group.

    Args:
        shard: what it trains.
        events: takes pairs of this object and an event; the last one is of kind `exit`.
        options: how it trains, as in `run_shards`.
        environment: its environment; None is `worker_environment()`.
    """

    def __init__(
        self,
        shard: Shard,
        events: queue.Queue,
        options: dict[str, Any],
        environment: dict[str, str] | None = None,
    ) -> None:
        self.shard = shard
        self._events = events
        self._error: str | None = None
        self._stdout, self._stderr = b"", b""
        self.process = subprocess.Popen(
            # A file in the working directory must not stand in for a module (-P).
            [sys.executable, "-P", "-m", "robustpo.training.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
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
                    "locks": shard.locks,
                    **options,
                }
            )
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        content = memoryview(f"{line}\n".encode())
        try:
            while content:
                content = content[self.process.stdin.write(content) :]
        except (OSError, ValueError):
            return

    def stop(self) -> None:
        """Ask the worker to end after its running iteration."""
        self._say("stop")

    def join(self) -> None:
        """Wait until all that the ended process said has been read and its pipes are closed."""
        self._listener.join(timeout=5.0)

    def _listen(self) -> None:
        """Hear what the worker says until its process has ended, and say that it has."""
        process = self.process
        assert process.stdin and process.stdout and process.stderr
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, self._take_events)
            selector.register(process.stderr, selectors.EVENT_READ, self._take_words)
            while selector.get_map() and process.poll() is None:
                _read(selector, LISTEN_SECONDS)
            code = process.wait()
            _kill_group(process.pid)
            # All that the worker itself has said is in the pipes by now.
            for _ in range(LAST_READS):
                if not selector.get_map() or not _read(selector, 0.0):
                    break
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                pipe.close()
        stderr = self._stderr.decode(errors="replace")
        content = {"code": code, "error": self._error, "stderr": stderr}
        self._events.put((self, {"kind": "exit", **content}))

    def _take_events(self, content: bytes) -> None:
        *lines, self._stdout = (self._stdout + content).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                # A fork that an environment has let loose may have written between two halves.
                continue
            if event["kind"] == "error":
                self._error = event["text"]
            else:
                self._events.put((self, event))

    def _take_words(self, content: bytes) -> None:
        self._stderr = (self._stderr + content)[-LAST_WORDS:]


def _read(selector: selectors.BaseSelector, seconds: float) -> bool:
    """Take in what pipes hold, waiting that long for it; return whether there was anything."""
    ready = selector.select(seconds)
    for key, _ in ready:
        content = os.read(key.fd, PIPE_BYTES)
        key.data(content)
        if not content:
            selector.unregister(key.fileobj)
    return bool(ready)


def _kill_group(leader: int) -> None:
    """Kill what an ended worker has left running in its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def worker_environment() -> dict[str, str]:
    """Return the workers' environment: one thread for everything that computes, JAX as it comes."""
    env = {n: v for n, v in os.environ.items() if not n.startswith("JAX_") or n in JAX_DEVICES}
    env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} {ONE_THREAD}".strip()
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


def _start(shard: Shard, events: queue.Queue, options: dict[str, Any]) -> WorkerProcess:
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
    if not (stopping and event["code"] in IN_ORDER):
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
