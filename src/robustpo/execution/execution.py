"""Carrying out runs: everything is checked first, then trained, recorded and shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustpo.base.devices import accelerator
from robustpo.config.run import RunConfig
from robustpo.environments import catalog
from robustpo.environments.base import TaskSpec
from robustpo.environments.make import look, resolve
from robustpo.errors import ConfigError
from robustpo.execution.extensions import require_usable
from robustpo.execution.interruption import Stopped, interruptible
from robustpo.execution.launch import counted_workers, launch
from robustpo.execution.manner import Execution
from robustpo.execution.packing import MAX_AGENTS, MAX_AGENTS_AT_ONCE, pack
from robustpo.execution.preflight import check_bounds, check_policies, starting_notes
from robustpo.execution.recorded_environments import RecordedEnvironments
from robustpo.execution.standing import (
    State,
    check_writable,
    examine,
    remove_outlived,
    require_done,
)
from robustpo.execution.tracking import make_tracker
from robustpo.execution.watch import Watch
from robustpo.execution.worker_process import Event, OnEvent, Shard
from robustpo.runs.extension import begin_extension, require_extensible
from robustpo.runs.locks import RunLocks, allow_open_files
from robustpo.runs.record import run_directory, set_aside


@dataclass(frozen=True)
class _Request:
    """What is asked for, and what is known of it before anything is trained.

    Attributes:
        directories: of the runs.
        states: how far each is.
        environments: what the runs that are begun or done were trained on.
        specs: sizes and limits by task.
        tracker: takes events, or None.
        changed: what is to be said of extensions whose source has changed.
    """

    directories: Mapping[RunConfig, Path]
    states: dict[RunConfig, State]
    environments: RecordedEnvironments
    specs: dict[str, TaskSpec]
    tracker: Any
    changed: list[str]

    @property
    def pending(self) -> list[RunConfig]:
        """The runs that are to be trained."""
        return [config for config, state in self.states.items() if state.pending]

    @property
    def stale(self) -> list[Path]:
        """What lies in the way of those, and is moved aside."""
        return [self.directories[c] for c in self.pending if self.states[c].stale]


def execute(
    configs: Sequence[RunConfig],
    execution: Execution,
    *,
    constructor: Callable[[], Any] | None = None,
    callback: Callable[[Event], object] | None = None,
    accepted: Callable[[], object] = lambda: None,
    notes: Sequence[str] = (),
    pause_at: Mapping[RunConfig, int] | None = None,
) -> list[Path]:
    """Train what is not yet recorded; runs that were stopped go on from their checkpoints.

    Args:
        configs: the runs, of any tasks.
        execution: how.
        constructor: makes the environment when the task, then the only one, is not a name; trains
            in this process.
        callback: called with the event of every iteration of every agent; False of it stops, as
            Ctrl-C does, and nothing is raised.
        accepted: called once nothing of it is refused any more, before anything is trained.
        notes: what is to be said of the request before it starts.
        pause_at: steps that each run is to come to here, in worker processes; the next call goes on
            from there. None is to their ends.

    Returns:
        The directory of each run; all of them are done, unless they pause or the callback stopped
        them.

    Raises:
        ConfigError: before anything is compiled or written.
        KeyboardInterrupt: after an orderly stop; what was recorded is kept.
        UnfinishedError: if a run has failed, now or before, or is missing; the others are done.
        TrainingError: if a simulator fails in this process.
    """
    request = _check(configs, execution, constructor)
    if any(spec.simulator == "vector" for spec in request.specs.values()):
        # Its processes and threads would all run on the worker's core.
        execution = replace(execution, pin=False)
    with (
        interruptible(),
        counted_workers(execution, bool(request.pending)) as (workers, bounded),
        RunLocks(_say if execution.progress else _nothing) as locks,
    ):
        request = _lock(request, locks, execution)
        accepted()
        remove_outlived(request.directories, request.states)
        shards = _pack(request, locks, 1 if constructor else workers, pause_at)
        watch = _watch(request, min(len(shards), workers), execution.progress, callback)
        with watch:
            for text in [*notes, *_opening(request, execution, workers, bounded)]:
                watch.note(text)
            _put_aside(request, watch, fresh=execution.fresh)
            for config in request.pending:
                if config.extends is not None:
                    begin_extension(config, execution.out)
            on_event = _hearing(request.environments, watch)
            interrupted = launch(shards, on_event, constructor, workers, execution)
    if isinstance(interrupted, Stopped):
        return list(request.directories.values())
    if interrupted:
        raise interrupted
    if pause_at is None or watch.lost:
        require_done(request.directories, watch.lost)
    return list(request.directories.values())


def _check(
    configs: Sequence[RunConfig], execution: Execution, constructor: Callable[[], Any] | None
) -> _Request:
    """Refuse what cannot be carried out as written."""
    if constructor is not None and execution.ray is not None:
        raise ConfigError(
            f"ray={execution.ray!r} needs a task that its nodes can make; give it as "
            "module:callable"
        )
    directories = {config: run_directory(execution.out, config) for config in configs}
    changed = require_usable(directories)
    states = examine(directories, fresh=execution.fresh)
    environments = RecordedEnvironments(
        {c: directories[c] for c, s in states.items() if not s.pending or s.step is not None}
    )
    for config, state in states.items():
        if config.extends is not None and state.pending:
            require_extensible(config)
    specs = _resolve(states, environments, constructor)
    tracker = make_tracker(execution.track)
    check_bounds(configs, specs)
    check_policies(configs, specs)
    check_writable(execution.out)
    return _Request(directories, states, environments, specs, tracker, changed)


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


def _lock(request: _Request, locks: RunLocks, execution: Execution) -> _Request:
    """Lock the runs that are to be trained; return how far they are then."""
    allow_open_files(len(request.pending))
    locks.acquire((request.directories[config] for config in request.pending), execution.out)
    # Again: whoever held a lock may have finished the run meanwhile.
    return replace(request, states=examine(request.directories, fresh=execution.fresh))


def _pack(
    request: _Request,
    locks: RunLocks,
    workers: int,
    pause_at: Mapping[RunConfig, int] | None,
) -> list[Shard]:
    """Return what each worker is to train, and what it needs to know for that."""
    most = MAX_AGENTS_AT_ONCE if accelerator() else MAX_AGENTS
    return [
        Shard(
            group,
            places,
            locks.descriptors(places),
            errand=request.environments.errand(group[0].task),
            pause_at=[] if pause_at is None else [pause_at[config] for config in group],
        )
        for group in pack(request.pending, workers, most)
        for places in [[request.directories[config] for config in group]]
    ]


def _watch(
    request: _Request, busy: int, shown: bool, callback: Callable[[Event], object] | None
) -> Watch:
    pending, states = request.pending, request.states
    return Watch(
        {config: request.directories[config] for config in pending},
        steps=sum(config.total_steps - (states[config].step or 0) for config in pending),
        busy=busy,
        shown=shown,
        tracker=request.tracker,
        callback=callback,
    )


def _opening(
    request: _Request, execution: Execution, workers: int, bounded: str | None
) -> list[str]:
    """Return what is to be said before the first run begins."""
    begin = starting_notes(
        list(request.directories),
        request.specs,
        request.states,
        # How many fit on a cluster is Ray's business.
        workers=0 if execution.ray else workers,
    )
    news = [*request.changed, *request.environments.news(), *begin]
    return [*news, bounded] if bounded and len(request.pending) > 1 else news


def _put_aside(request: _Request, watch: Watch, *, fresh: bool) -> None:
    """Move out of the way what is not gone on from, and say what and where to."""
    for problem in (text for state in request.states.values() for text in state.problems):
        watch.warn(problem)
    if aside := [set_aside(place) for place in request.stale]:
        count = f"{len(aside)} of {len(request.states)} runs"
        why = "begin anew" if fresh else "have no checkpoint that can be used and start again"
        others = " and so on" if len(aside) > 1 else ""
        (watch.note if fresh else watch.warn)(
            f"{count} {why}; their records are moved aside: {aside[0]}{others}"
        )


def _hearing(environments: RecordedEnvironments, watch: Watch) -> OnEvent:
    """Return what takes in an event: an environment that was found is compared, the rest shown."""

    def on_event(event: Event, directory: Path | None) -> None:
        if not environments.hear(event):
            watch.on_event(event, directory)
        for text in environments.news():
            watch.note(text)

    return on_event


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _nothing(text: str) -> None:
    del text
