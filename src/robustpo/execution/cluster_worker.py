"""What trains a shard on a Ray cluster: a task, on whichever node has room.

A task starts the same worker process as `local` does and passes on what it says. It comes again
when its node or its process has died, wherever Ray finds room, and goes on from the checkpoints.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustpo.errors import ConfigError
from robustpo.execution.local import next_events, reason_of
from robustpo.execution.manner import WorkerOptions
from robustpo.execution.worker import TERMINATED
from robustpo.execution.worker_process import Event, Shard, WorkerProcess, worker_environment
from robustpo.runs.run_files import as_float, as_int
from robustpo.runs.run_state import name_of, run_state

# Of the part of a GPU that a shard is given, how much JAX takes; the rest is for its libraries.
GPU_SHARE = 0.9


class WorkerDied(Exception):
    """A worker process was killed by a signal; Ray tries its shard again."""


@dataclass(frozen=True)
class Job:
    """What every shard of one call is told.

    Attributes:
        options: how a worker trains.
        home: working directory of the driver, against which relative paths are meant.
        search_path: where the driver imports tasks from that are given as `module:callable`.
        marker: a file that the driver has written beside the runs.
        token: what stands in it.
        num_gpus: GPUs, or the fraction of one, that a shard has.
    """

    options: WorkerOptions
    home: str
    search_path: tuple[str, ...]
    marker: Path
    token: str
    num_gpus: float


def train(mailbox: Any, index: int, shard: Shard, job: Job) -> str | None:
    """Train a shard, as a task of Ray; return why it was not finished, if it was not.

    Raises:
        WorkerDied: if its worker process was killed.
    """
    # Ray gives the cores of a task away for as long as its main thread waits for an actor.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_train, mailbox, index, shard, job).result()


def _train(mailbox: Any, index: int, shard: Shard, job: Job) -> str | None:
    import ray

    attempt: Any = ray.get(mailbox.begin.remote(index))
    if attempt is None:
        return None

    def say(events: list[Event]) -> None:
        ray.get(mailbox.say.remote(index, attempt, events))

    try:
        _require_shared_storage(job)
        if attempt > 1:
            name, where = name_of(shard.configs[0]), socket.gethostname()
            text = f"{name}: its worker or node died; attempt {attempt}, on {where}"
            say([{"kind": "note", "text": text}])
        shard = _unfinished(shard, say)
        if not shard.configs:
            return None
        return _run(shard, job, say, lambda: ray.get(mailbox.enough.remote(index, attempt)))
    except ConfigError as error:
        return str(error)
    finally:
        ray.get(mailbox.end.remote(index, attempt))


def _run(
    shard: Shard,
    job: Job,
    say: Callable[[list[Event]], None],
    wait_until_replaced: Callable[[], bool],
) -> str | None:
    """Run a worker process to its end, and pass on what it says."""
    events: queue.Queue = queue.Queue()
    with contextlib.suppress(OSError):
        os.chdir(job.home)
    worker = WorkerProcess(shard, events, job.options, _environment(job))

    def stop() -> None:
        if wait_until_replaced():
            worker.process.kill()
        else:
            worker.stop()

    threading.Thread(target=stop, daemon=True).start()
    try:
        while True:
            heard = [event for _, event in next_events(events)]
            if told := [event for event in heard if event["kind"] != "exit"]:
                say(told)
            if len(told) < len(heard):
                return _judge(shard, heard[-1])
    finally:
        worker.process.kill()
        worker.join()


def _judge(shard: Shard, event: Event) -> str | None:
    """Return why a shard was not finished, if it was not.

    Raises:
        WorkerDied: if a signal has ended its worker.
    """
    if not shard.unended():
        return None
    if event["code"] < 0 or event["code"] == TERMINATED:
        raise WorkerDied(reason_of(event))
    return reason_of(event)


def _require_shared_storage(job: Job) -> None:
    """Raise `ConfigError` unless this node sees what the driver has written."""
    try:
        seen = job.marker.read_text(encoding="utf-8") == job.token
    except OSError:
        seen = False
    if not seen:
        raise ConfigError(
            f"node {socket.gethostname()} does not see {job.marker.parent} of the machine where "
            "the command was given; choose an --out on storage that all nodes share"
        )


def _unfinished(shard: Shard, say: Callable[[list[Event]], None]) -> Shard:
    """Return what is left of a shard; say of the rest what the driver may not have heard."""
    left = Shard([], [], errand=shard.errand)
    for config, directory in zip(shard.configs, shard.directories, strict=True):
        state = run_state(directory)
        if not state.ended:
            left.configs.append(config)
            left.directories.append(directory)
            continue
        event = {
            "kind": "finished" if state.done else "failed",
            "task": config.task,
            "variant": config.variant,
            "seed": config.settings.seed,
            "step": as_int(state.result.get("steps")),
            "total_steps": config.total_steps,
            "status": state.result.get("status"),
            "final_return": as_float(state.result.get("final_return")),
        }
        say([event if state.done else event | {"text": state.reason}])
    return left


def _environment(job: Job) -> dict[str, str]:
    """Return the environment of a worker process on this node."""
    import ray

    environment = worker_environment()
    # Ray's own copies of packages must not stand in for those that were installed.
    own = str(Path(ray.__file__).parent)
    paths = [path for path in sys.path if path and not path.startswith(own)]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*paths, *job.search_path]))
    if job.num_gpus:
        if "JAX_PLATFORMS" not in os.environ:
            del environment["JAX_PLATFORMS"]
        share = GPU_SHARE * min(1.0, job.num_gpus)
        environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{share:.3f}")
    return environment
