"""One worker process: trains the agents of one shard and reports events as lines of JSON.

It reads one line from standard input, the shard. After that, another line or the end of the input
(the parent has died) stops training after the running iteration, with everything kept; a shard
that is `leashed`, because its parent's death lets it be trained elsewhere, ends at once. Events go
to the original standard output; whatever a simulator prints goes to standard error, and it reads
nothing. How the worker ended says little: what a run has come to stands in its record.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, TextIO

from robustpo.base.descriptors import keep_from_children
from robustpo.base.files import one_line
from robustpo.base.registry import allow
from robustpo.config.run import RunConfig
from robustpo.environments import watchdog
from robustpo.environments.base import Environment, HostEnvironment, TracedEnvironment
from robustpo.environments.fingerprint import fingerprint
from robustpo.environments.pickling import register
from robustpo.errors import EnvironmentMismatch, RobustpoError
from robustpo.execution.cores import claim_core, share_no_core
from robustpo.execution.manner import WorkerOptions
from robustpo.runs.identity import config_from_identity
from robustpo.runs.record import RunRecord
from robustpo.runs.surroundings import Surroundings, recorded, require_one

DEFAULTS = WorkerOptions()
PARENT = os.getppid()
PR_SET_PDEATHSIG = 1
# As a shell says of a program that SIGTERM has ended.
TERMINATED = 128 + signal.SIGTERM


def train_shard(
    configs: Sequence[RunConfig],
    directories: Sequence[Path],
    *,
    emit: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
    constructor: Callable[[], Any] | None = None,
    options: WorkerOptions = DEFAULTS,
    errand: Mapping[str, Any] = MappingProxyType({}),
    pause_at: Sequence[int] = (),
) -> None:
    """Train one population in this process and record every agent.

    Args:
        configs: the agents.
        directories: where each is recorded.
        emit: receives events.
        should_stop: asked before every iteration and every step of an evaluation.
        constructor: makes the environment when the task is not a name.
        options: how.
        errand: what is known of the task's environment, as `RecordedEnvironments.errand` says.
        pause_at: steps of each agent at which training stops, once all have come to theirs.

    Raises:
        EnvironmentMismatch: before anything is written, if the environment is not that of the runs
            beside which these are to stand.
    """
    from robustpo.execution.evaluations import evaluator
    from robustpo.training.compilation import own_settings
    from robustpo.training.trainer import Trainer

    watchdog.limit(options.step_timeout)
    # Before a simulator may change the directory.
    directories = [directory.absolute() for directory in directories]
    task = constructor or configs[0].task
    with own_settings():
        environment = _simulators(configs, task, options.env_processes, emit)
        found = _introduce(environment, task, configs[0].task, directories, errand, emit)
        records = [RunRecord(d, c, found) for d, c in zip(directories, configs, strict=True)]
        for problem in (text for record in records for text in record.problems):
            emit({"kind": "note", "text": problem})
        trainer = Trainer(
            configs,
            records=records,
            emit=emit,
            should_stop=lambda: should_stop() or _paused(trainer, pause_at),
            constructor=constructor,
            checkpoint_every=options.checkpoint_every,
            environment=environment,
            evaluate=evaluator(task, should_stop),
        )
        with contextlib.closing(trainer):
            trainer.run()


def _paused(trainer: Any, pause_at: Sequence[int]) -> bool:
    """Whether all agents have come to where they are to wait."""
    if not pause_at:
        return False
    pairs = zip(trainer.agents, pause_at, strict=True)
    return all(agent.log.step >= step or not agent.running for agent, step in pairs)


def _simulators(
    configs: Sequence[RunConfig],
    task: Any,
    env_processes: int,
    emit: Callable[[dict[str, Any]], None],
) -> TracedEnvironment | HostEnvironment:
    """Say how long a step will take, where that is known, and make what training needs."""
    from robustpo.execution.estimate import seconds_per_step
    from robustpo.execution.evaluations import try_evaluation
    from robustpo.training.simulators import make_simulators

    estimated = seconds_per_step(configs[0], len(configs), task, env_processes)
    if estimated is not None:
        emit({"kind": "estimate", "seconds_per_step": estimated})
    environment = make_simulators(configs, task, env_processes)
    try_evaluation(configs, task, environment)
    return environment


def _introduce(
    environment: Environment,
    task: Any,
    name: str,
    directories: Sequence[Path],
    errand: Mapping[str, Any],
    emit: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Say and return what an environment is, once it is known to be that of the runs beside."""
    # A call that does not return ends the process.
    with watchdog.watching():
        found = {**fingerprint(environment, task), "command": errand.get("command", "")}
    notes = _require_known(name, found, directories, errand)
    about = {"task": name, "where": str(directories[0])}
    emit({"kind": "environment", "environment": found, "notes": notes, **about})
    return found


def _require_known(
    task: str, found: dict[str, Any], directories: Sequence[Path], errand: Mapping[str, Any]
) -> list[str]:
    """Raise unless the environment is that of the runs beside; return what to say of it."""
    known = [Surroundings(k["environment"], k["where"]) for k in errand.get("known", ())]
    known += [own for own in map(recorded, directories) if own is not None]
    notes = require_one(task, Surroundings(found), known)
    if reason := found.get("skipped"):
        notes.append(f"task {task!r}: a change of its behaviour will not be noticed: {reason}")
    return notes


def main() -> int:
    """Run the worker; return its exit code."""
    events, orders = _private_streams()
    shard = json.loads(orders.readline())
    keep_from_children([events.fileno(), orders.fileno(), *shard["locks"]])
    stop, begun = threading.Event(), threading.Event()
    signals: list[int] = []

    def terminate(number: int, _: Any) -> None:
        signals.append(number)
        stop.set()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, terminate)
    threading.Thread(target=_watch, args=(orders, stop, begun), daemon=True).start()
    options = WorkerOptions(**shard["options"])
    if options.pin and (claim := claim_core()):
        share_no_core(claim)
    if options.leashed:
        _die_with_parent()

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "started":
            begun.set()
        try:
            events.write(json.dumps(event) + "\n")
        except OSError:
            stop.set()

    if error := _train(shard, options, emit, stop):
        emit(error)
        return 1
    return TERMINATED if signals else 0


def _train(
    shard: dict[str, Any],
    options: WorkerOptions,
    emit: Callable[[dict[str, Any]], None],
    stop: threading.Event,
) -> dict[str, Any] | None:
    """Train a shard; return the event of what went wrong, if anything did."""
    errand = shard.get("errand", {})
    try:
        register(errand.get("registration"))
        allow(options.allow)
        train_shard(
            [config_from_identity(identity) for identity in shard["configs"]],
            [Path(directory) for directory in shard["directories"]],
            emit=emit,
            should_stop=stop.is_set,
            options=options,
            errand=errand,
            pause_at=shard["pause_at"],
        )
    except EnvironmentMismatch as error:
        return {"kind": "refused", "text": str(error)}
    except RobustpoError as error:
        text = str(error)
    except SystemExit as error:
        text = f"its environment asked to end the process (sys.exit({error.code!r}))"
    except Exception as error:
        traceback.print_exc()
        text = f"{type(error).__name__}: {one_line(error)}"
    else:
        return None
    return {"kind": "error", "text": text}


def _private_streams() -> tuple[TextIO, TextIO]:
    """Return where events go and where orders come from, out of the reach of simulators."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    orders = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return events, orders


def _die_with_parent() -> None:
    """Have the system kill this process as soon as the thread that started it has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch(stream: TextIO, stop: threading.Event, begun: threading.Event) -> None:
    stream.readline()
    stop.set()
    # A compilation cannot be interrupted and there is nothing yet that would have to be kept.
    if not begun.is_set():
        _leave(0)


def _leave(code: int) -> NoReturn:
    """End this process at once: threads of simulators may outlive the interpreter's teardown."""
    sys.stderr.flush()
    # The parent kills what an environment has left running; if it has died, nobody else does.
    if os.getppid() != PARENT and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
