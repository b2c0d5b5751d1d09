"""Where runs are trained: in this process, in workers beside it, or on a Ray cluster."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from robustpo.studies.interruption import stopping
from robustpo.studies.local import Event, OnEvent, Shard, run_shards
from robustpo.studies.manner import Execution
from robustpo.training.limits import default_workers


@contextlib.contextmanager
def counted_workers(execution: Execution, needed: bool) -> Iterator[tuple[int, str | None]]:
    """Yield how many processes train at once, and what a person should know of their number.

    Inside, Ray is connected if it is what trains.
    """
    if execution.ray is None or not needed:
        yield (execution.workers, None) if execution.workers else default_workers()
        return
    from robustpo.studies.cluster_connection import connected, require_room, slots

    asked = (_cpus(execution), execution.gpus)
    with connected(execution.ray) as started:
        require_room(*asked, started=started)
        yield execution.workers or slots(*asked), None


def launch(
    shards: Sequence[Shard],
    on_event: OnEvent,
    constructor: Callable[[], Any] | None,
    workers: int,
    execution: Execution,
) -> KeyboardInterrupt | None:
    """Train shards to their ends; return what has stopped it before, if anything has."""
    if constructor is not None:
        return _run_here(shards, on_event, constructor, execution)
    options = {
        # The processes of a pinned worker would all run on its core.
        "pin": execution.pin and not execution.env_processes,
        "checkpoint_every": execution.checkpoint_every,
        "step_timeout": execution.step_timeout,
        "env_processes": execution.env_processes,
    }
    return _run_there(shards, options, on_event, workers, execution)


def _run_there(
    shards: Sequence[Shard],
    options: dict[str, Any],
    on_event: OnEvent,
    workers: int,
    execution: Execution,
) -> KeyboardInterrupt | None:
    """Train in worker processes, here or on a cluster."""
    if execution.ray is None:
        return run_shards(shards, workers=workers, options=options, on_event=on_event)
    from robustpo.studies.cluster import run_shards_on_ray

    return run_shards_on_ray(
        shards,
        address=execution.ray,
        options=options,
        on_event=on_event,
        num_cpus=_cpus(execution),
        num_gpus=execution.gpus,
    )


def _run_here(
    shards: Sequence[Shard],
    on_event: Callable[[Event, Path | None], None],
    constructor: Callable[[], Any],
    execution: Execution,
) -> KeyboardInterrupt | None:
    """Train in this process; the first Ctrl-C or SIGTERM stops after the running iteration."""
    from robustpo.training.worker import train_shard

    stop = threading.Event()
    with stopping(stop) as reason:
        for shard in shards:
            if stop.is_set():
                break
            train_shard(
                shard.configs,
                shard.directories,
                emit=lambda event, shard=shard: on_event(event, shard.directory_of(event)),
                should_stop=stop.is_set,
                constructor=constructor,
                checkpoint_every=execution.checkpoint_every,
                env_processes=execution.env_processes,
            )
    return reason()


def _cpus(execution: Execution) -> float:
    return 1.0 + execution.env_processes
