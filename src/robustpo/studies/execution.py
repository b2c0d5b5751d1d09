"""Carrying out runs: everything is checked first, then trained, recorded and shown."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustpo.config import RunConfig
from robustpo.environments import catalog
from robustpo.environments.base import TaskSpec
from robustpo.environments.make import look, resolve
from robustpo.errors import ConfigError
from robustpo.studies.grid import pack
from robustpo.studies.interruption import interruptible, stopping
from robustpo.studies.local import Event, OnEvent, Shard, run_shards
from robustpo.studies.locks import RunLocks, allow_open_files
from robustpo.studies.preflight import check_bounds, check_policies, starting_notes
from robustpo.studies.recorded_environments import RecordedEnvironments
from robustpo.studies.standing import State, check_writable, examine, require_done
from robustpo.studies.watch import Watch
from robustpo.training.limits import default_workers
from robustpo.training.record import run_directory, set_aside
from robustpo.training.tracking import make_tracker
from robustpo.validation import require_count

MAX_ENV_PROCESSES = 1024


@dataclass(frozen=True)
class Execution:
    """How runs are carried out; none of it changes a result.

    Attributes:
        out: directory that holds all runs.
        workers: processes; None is one per core.
        pin: whether each process claims a core.
        fresh: whether recorded runs are moved aside and trained again.
        track: name of a tracker, or None.
        progress: whether progress is shown.
        checkpoint_every: steps between checkpoints; 0 for one every two minutes.
        step_timeout: seconds a host simulator may take for a step in a worker; 0 is no limit.
        env_processes: processes of each worker that step host simulators; 0 steps them in it.
        ray: address of the Ray cluster that trains, `auto`, or None for this machine alone.
            `workers` then only says into how many shards the runs are packed.
        gpus: GPUs, or the fraction of one, that each worker asks Ray for.
    """

    out: Path
    workers: int | None = None
    pin: bool = True
    fresh: bool = False
    track: str | None = None
    progress: bool = True
    checkpoint_every: int = 0
    step_timeout: float = 60.0
    env_processes: int = 0
    ray: str | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.workers is not None and (not isinstance(self.workers, int) or self.workers < 1):
            raise ConfigError(
                f"workers={self.workers!r} is not valid; expected a whole number of at least 1"
            )
        if not isinstance(self.checkpoint_every, int) or self.checkpoint_every < 0:
            raise ConfigError(
                f"checkpoint_every={self.checkpoint_every!r} is not valid; expected a number of "
                "steps, or 0 for a checkpoint every two minutes"
            )
        require_count("env_processes", self.env_processes, 0, high=MAX_ENV_PROCESSES)
        if not 0 <= self.step_timeout < 1e9:
            raise ConfigError(
                f"step_timeout={self.step_timeout!r} is not valid; expected seconds, or 0 for none"
            )
        if not 0 <= self.gpus < 1e3 or (self.gpus and self.ray is None):
            raise ConfigError(
                f"gpus={self.gpus!r} is not valid; expected a number of GPUs, or a fraction of "
                "one, with --ray; 0 for none"
            )


def execute(
    configs: Sequence[RunConfig],
    execution: Execution,
    *,
    constructor: Callable[[], Any] | None = None,
    callback: Callable[[Event], None] | None = None,
    accepted: Callable[[], object] = lambda: None,
    notes: Sequence[str] = (),
) -> list[Path]:
    """Train what is not yet recorded; runs that were stopped go on from their checkpoints.

    Args:
        configs: the runs, of any tasks.
        execution: how.
        constructor: makes the environment when the task, then the only one, is not a name; trains
            in this process.
        callback: called with the event of every iteration of every agent.
        accepted: called once nothing of it is refused any more, before anything is trained.
        notes: what is to be said of the request before it starts.

    Returns:
        The directory of each run; all of them are done.

    Raises:
        ConfigError: before anything is compiled or written.
        KeyboardInterrupt: after an orderly stop; what was recorded is kept.
        UnfinishedError: if a run has failed, now or before, or is missing; the others are done.
        TrainingError: if a simulator fails in this process.
    """
    if constructor is not None and execution.ray is not None:
        raise ConfigError(
            f"ray={execution.ray!r} needs a task that its nodes can make; give it as "
            "module:callable"
        )
    directories = {config: run_directory(execution.out, config) for config in configs}
    states = examine(directories, fresh=execution.fresh)
    environments = RecordedEnvironments(
        {c: directories[c] for c, s in states.items() if not s.pending or s.step is not None}
    )
    specs = _resolve(states, environments, constructor)
    tracker = make_tracker(execution.track)
    check_bounds(configs, specs)
    check_policies(configs, specs)
    check_writable(execution.out)
    needed = any(state.pending for state in states.values())
    with (
        interruptible(),
        _workers(execution, needed) as (workers, bounded),
        RunLocks(_say if execution.progress else _nothing) as locks,
    ):
        pending = [config for config in configs if states[config].pending]
        allow_open_files(len(pending))
        locks.acquire((directories[config] for config in pending), execution.out)
        # Again: whoever held a lock may have finished the run meanwhile.
        states = examine(directories, fresh=execution.fresh)
        pending = [config for config in configs if states[config].pending]
        accepted()
        shards = [
            Shard(
                group,
                places,
                locks.descriptors(places),
                errand=environments.errand(group[0].task),
            )
            for group in pack(pending, 1 if constructor else workers)
            for places in [[directories[config] for config in group]]
        ]
        watch = Watch(
            {config: directories[config] for config in pending},
            steps=sum(config.total_steps - (states[config].step or 0) for config in pending),
            busy=min(len(shards), workers),
            shown=execution.progress,
            tracker=tracker,
            callback=callback,
        )

        def on_event(event: Event, directory: Path | None) -> None:
            if not environments.hear(event):
                watch.on_event(event, directory)
            for text in environments.news():
                watch.note(text)

        # How many fit on a cluster is Ray's business.
        here = 0 if execution.ray else workers
        with watch:
            begin = starting_notes(configs, specs, states, fresh=execution.fresh, workers=here)
            for text in [*notes, *environments.news(), *begin]:
                watch.note(text)
            if bounded and len(pending) > 1:
                watch.note(bounded)
            for config in pending:
                if states[config].stale:
                    set_aside(directories[config])
            if constructor is not None:
                interrupted = _run_here(shards, on_event, constructor, execution)
            else:
                options = {
                    # The processes of a pinned worker would all run on its core.
                    "pin": execution.pin and not execution.env_processes,
                    "checkpoint_every": execution.checkpoint_every,
                    "step_timeout": execution.step_timeout,
                    "env_processes": execution.env_processes,
                }
                interrupted = _run_there(shards, options, on_event, workers, execution)
    if interrupted:
        raise interrupted
    require_done(directories, watch.lost)
    return list(directories.values())


def _resolve(
    states: Mapping[RunConfig, State],
    environments: RecordedEnvironments,
    constructor: Callable[[], Any] | None,
) -> dict[str, TaskSpec]:
    """Return sizes and limits of every task.

    What nothing is left to train of is not made by any worker, so it is held against its records
    here, as is a catalogued task, which need not be made.
    """
    unfinished = {config.task for config, state in states.items() if state.pending}
    specs = {}
    for task in dict.fromkeys(config.task for config in states):
        if task in unfinished and catalog.find(task) is None:
            specs[task] = resolve(constructor or task)
        else:
            specs[task], fingerprint = look(constructor or task)
            environments.require_same(task, fingerprint)
    return specs


@contextlib.contextmanager
def _workers(execution: Execution, needed: bool) -> Iterator[tuple[int, str | None]]:
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


def _cpus(execution: Execution) -> float:
    return 1.0 + execution.env_processes


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


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _nothing(text: str) -> None:
    del text
