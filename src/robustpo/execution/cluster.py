"""Running many runs on a Ray cluster: one task per shard, which Ray places and tries again.

This process holds the locks of the runs and hears all that happens. Where a shard runs changes no
result; `cluster_worker` is what runs there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line
from robustpo.base.writing import make_directory, write_atomically
from robustpo.execution.cluster_connection import connected, require_room
from robustpo.execution.cluster_mailbox import Mailbox
from robustpo.execution.cluster_worker import Job, WorkerDied, train
from robustpo.execution.local import report_lost
from robustpo.execution.manner import Execution
from robustpo.execution.worker_process import OnEvent, Shard

# How often a shard is tried again after its worker or node has died.
RETRIES = 5
KILL_SECONDS = 10.0
# Shards that train at once: each keeps a call of the mailbox waiting.
MAX_TRAINING = 10_000


def run_shards_on_ray(
    shards: Sequence[Shard],
    execution: Execution,
    on_event: OnEvent = lambda event, directory: None,
) -> KeyboardInterrupt | None:
    """Train every shard on a Ray cluster, as many at once as it has room for.

    On Ctrl-C the workers end after their running iteration and keep what they have; a second one
    kills them.

    Args:
        shards: what to train; their directories lie on storage that all nodes see.
        execution: the cluster (`ray`, as in `connected`), what each shard asks of it (`cores`,
            `gpus`), and how its worker trains.
        on_event: called with every event and the directory of the run it is about.

    Returns:
        What interrupted it, if anything.

    Raises:
        ConfigError: if Ray is missing or cannot be reached, or has no room for a shard.
        StorageError: if nothing could be written where the runs lie.
        TrainingError: if Ray does not start on this machine.
    """
    if not shards or execution.ray is None:
        return None
    with connected(execution.ray) as ours, _marker(shards) as (marker, token):
        if note := require_room(execution.cores, execution.gpus, started=ours):
            on_event({"kind": "note", "text": note}, None)
        search_path = tuple(path for path in sys.path if path and not _is_installation(path))
        job = Job(
            # Ray places it, and it must not write while another attempt begins.
            options=replace(execution.worker, pin=False, leashed=True),
            home=os.getcwd(),
            search_path=search_path,
            marker=marker,
            token=token,
            num_gpus=execution.gpus,
        )
        mailbox, running = _submit(shards, job, execution.cores)
        try:
            return _follow(shards, mailbox, running, on_event)
        finally:
            _end(mailbox, running)


@contextlib.contextmanager
def _marker(shards: Sequence[Shard]) -> Iterator[tuple[Path, str]]:
    """Write a file beside the runs by which a node knows that it sees the same storage."""
    token = secrets.token_hex(8)
    marker = shards[0].directories[0].absolute().parent / f".ray-{token}"
    make_directory(marker.parent, marker.parent)
    try:
        write_atomically(marker, token.encode())
        yield marker, token
    finally:
        with contextlib.suppress(OSError):
            marker.unlink()


def _is_installation(path: str) -> bool:
    """Whether a path belongs to Python itself, of which every node has its own."""
    return any(Path(path).is_relative_to(prefix) for prefix in (sys.prefix, sys.base_prefix))


def _submit(shards: Sequence[Shard], job: Job, num_cpus: float) -> tuple[Any, dict[Any, int]]:
    """Hand all shards to Ray; return the mailbox, and the shard of each task."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    mailbox = (
        ray.remote(Mailbox)
        .options(num_cpus=0, max_concurrency=MAX_TRAINING, scheduling_strategy=here)
        .remote(len(shards))
    )
    task = ray.remote(train).options(
        name="robustpo",
        num_cpus=num_cpus,
        num_gpus=job.num_gpus,
        max_retries=RETRIES,
        # Errors of a run would only come again.
        retry_exceptions=[WorkerDied],
    )
    running = {}
    for index, shard in enumerate(shards):
        directories = [directory.absolute() for directory in shard.directories]
        sent = Shard(shard.configs, directories, errand=shard.errand)
        running[task.remote(mailbox, index, sent, job)] = index
    return mailbox, running


def _follow(
    shards: Sequence[Shard], mailbox: Any, running: dict[Any, int], on_event: OnEvent
) -> KeyboardInterrupt | None:
    """Hear of the shards until none is left; forget tasks that have ended."""
    import ray

    heard = 0
    interrupted: KeyboardInterrupt | None = None
    while running:
        try:
            # In this order: all that a task has said is heard before its end is.
            ended, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
            for index, event in ray.get(mailbox.listen.remote(heard)):
                heard += 1
                on_event(event, shards[index].directory_of(event))
            for task in ended:
                index, reason = running.pop(task), _reason(task)
                if reason and not interrupted:
                    report_lost(shards[index], reason, on_event)
        except KeyboardInterrupt as signalled:
            if interrupted:
                raise
            interrupted = signalled
            on_event({"kind": "note", "text": "stopping; what was recorded is kept"}, None)
            training = ray.get(mailbox.stop.remote())
            for task, index in running.items():
                if index not in training:
                    ray.cancel(task)
    return interrupted


def _reason(task: Any) -> str | None:
    """Return why an ended task did not finish its shard, if it did not."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(task)
    except RayTaskError as error:
        if isinstance(error.cause, WorkerDied):
            return f"{error.cause}; {RETRIES + 1} attempts were made"
        return one_line(f"{type(error.cause).__name__}: {error.cause}")
    except RayError as error:
        first = str(error).partition("\n")[0]
        return one_line(f"its worker or node died, {RETRIES + 1} attempts were made: {first}")


def _end(mailbox: Any, running: dict[Any, int]) -> None:
    """Kill what still runs."""
    import ray

    for task in running:
        ray.cancel(task, force=True)
    if running:
        ray.wait(list(running), num_returns=len(running), timeout=KILL_SECONDS)
    ray.kill(mailbox)
