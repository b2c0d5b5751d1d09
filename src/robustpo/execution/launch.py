"""Where runs are trained: in this process, in workers beside it, or on a Ray cluster."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from robustpo.execution.interruption import Stopped, stopping
from robustpo.execution.limits import default_workers
from robustpo.execution.local import run_shards
from robustpo.execution.manner import Execution
from robustpo.execution.worker_process import Event, OnEvent, Shard


@contextlib.contextmanager
def counted_workers(execution: Execution, needed: bool) -> Iterator[tuple[int, str | None]]:
    """Yield how many processes train at once, and what a person should know of their number.

    Inside, Ray is connected if it is what trains.
    """
    if execution.ray is None or not needed:
        yield (execution.workers, None) if execution.workers else default_workers()
        return
    from robustpo.execution.cluster_connection import connected, require_room, slots

    asked = (execution.cores, execution.gpus)
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
    if execution.ray is None:
        return run_shards(shards, workers=workers, options=execution.worker, on_event=on_event)
    from robustpo.execution.cluster import run_shards_on_ray

    return run_shards_on_ray(shards, execution, on_event)


def _run_here(
    shards: Sequence[Shard],
    on_event: OnEvent,
    constructor: Callable[[], Any],
    execution: Execution,
) -> KeyboardInterrupt | None:
    """Train in this process; the first Ctrl-C or SIGTERM stops after the running iteration."""
    from robustpo.execution.worker import train_shard

    stop = threading.Event()
    stopped: list[Stopped] = []

    def emit(event: Event, shard: Shard) -> None:
        try:
            on_event(event, shard.directory_of(event))
        except Stopped as asked:
            stopped.append(asked)
            stop.set()

    with stopping(stop) as reason:
        for shard in shards:
            if stop.is_set():
                break
            train_shard(
                shard.configs,
                shard.directories,
                emit=functools.partial(emit, shard=shard),
                should_stop=stop.is_set,
                constructor=constructor,
                # A step that does not return can be ended only with its process.
                options=replace(execution.worker, step_timeout=0.0),
            )
    return reason() or (stopped[0] if stopped else None)
