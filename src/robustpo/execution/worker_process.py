"""One worker process as its parent sees it: what it is told, what it says, how it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustpo.config.run import RunConfig
from robustpo.execution.manner import WorkerOptions
from robustpo.runs.provenance import ONE_THREAD
from robustpo.runs.run_state import run_state

Event = dict[str, Any]
OnEvent = Callable[[Event, Path | None], None]

LAST_WORDS = 20_000
PIPE_BYTES = 2**16
# What a pipe holds at most is read in fewer.
LAST_READS = 64
# How often to look whether a worker lives whose pipes somebody holds.
LISTEN_SECONDS = 0.2
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
        pause_at: steps that each run is to come to, in the same order; then all stop, with what
            they are kept. Empty for all of them.
    """

    configs: list[RunConfig]
    directories: list[Path]
    locks: list[int] = field(default_factory=list)
    errand: dict[str, Any] = field(default_factory=dict)
    pause_at: list[int] = field(default_factory=list)

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
        options: how it trains.
        environment: its environment; None is `worker_environment()`.
    """

    def __init__(
        self,
        shard: Shard,
        events: queue.Queue,
        options: WorkerOptions,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.shard = shard
        self._events = events
        self._error: str | None = None
        self._stdout, self._stderr = b"", b""
        self.process = subprocess.Popen(
            # A file in the working directory must not stand in for a module (-P).
            [sys.executable, "-P", "-m", "robustpo.execution.worker"],
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
                    "pause_at": shard.pause_at,
                    "options": dataclasses.asdict(options),
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
