"""One worker process: trains the agents of one shard and reports events as lines of JSON.

It reads one line from standard input, the shard. After that, another line or the end of the input
(the parent has died) stops training after the running iteration, with everything kept; a shard
that is `leashed`, because its parent's death lets it be trained elsewhere, ends at once. Events go
to the original standard output; whatever a simulator prints goes to standard error.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

from robustpo.config import RunConfig
from robustpo.environments import watchdog
from robustpo.environments.base import Environment
from robustpo.environments.fingerprint import fingerprint
from robustpo.environments.pickling import register
from robustpo.errors import EnvironmentMismatch, RobustpoError
from robustpo.training.cores import claim_core
from robustpo.training.record import RunRecord, config_from_identity
from robustpo.training.surroundings import Surroundings, recorded, require_one

PR_SET_PDEATHSIG = 1


def train_shard(
    configs: Sequence[RunConfig],
    directories: Sequence[Path],
    *,
    emit: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
    constructor: Callable[[], Any] | None = None,
    checkpoint_every: int = 0,
    step_timeout: float = 0.0,
    env_processes: int = 0,
    errand: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Train one population in this process and record every agent.

    Args:
        configs: the agents.
        directories: where each is recorded.
        emit: receives events.
        should_stop: asked once per iteration.
        constructor: makes the environment when the task is not a name.
        checkpoint_every: steps between checkpoints; 0 for one every two minutes.
        step_timeout: seconds after which a host simulator that does not return ends the process;
            0 waits for ever.
        env_processes: processes that step host simulators; 0 steps them in this one.
        errand: what is known of the task's environment, as `RecordedEnvironments.errand` says.

    Raises:
        EnvironmentMismatch: before anything is written, if the environment is not that of the runs
            beside which these are to stand.
    """
    from robustpo.training.compilation import use_cache
    from robustpo.training.estimate import seconds_per_step
    from robustpo.training.trainer import Trainer, make_simulators

    use_cache()
    watchdog.limit(step_timeout)
    task = constructor or configs[0].task
    estimated = seconds_per_step(configs[0], len(configs), task, env_processes)
    if estimated is not None:
        emit({"kind": "estimate", "seconds_per_step": estimated})
    environment = make_simulators(configs, task, env_processes)
    found = {**_look(environment, task), "command": errand.get("command", "")}
    notes = _require_known(configs[0].task, found, directories, errand)
    about = {"task": configs[0].task, "where": str(directories[0])}
    emit({"kind": "environment", "environment": found, "notes": notes, **about})
    records = [RunRecord(d, c, found) for d, c in zip(directories, configs, strict=True)]
    Trainer(
        configs,
        records=records,
        emit=emit,
        should_stop=should_stop,
        constructor=constructor,
        checkpoint_every=checkpoint_every,
        env_processes=env_processes,
        environment=environment,
    ).run()


def _look(environment: Environment, task: Any) -> dict[str, Any]:
    """Ask an environment what it is; a call that does not return ends the process."""
    with watchdog.watching():
        return fingerprint(environment, task)


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
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    shard = json.loads(sys.stdin.readline())
    stop, begun = threading.Event(), threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_watch, args=(sys.stdin, stop, begun), daemon=True).start()
    if shard["pin"]:
        claim_core()
    if shard.get("leashed"):
        _die_with_parent()

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "started":
            begun.set()
        try:
            events.write(json.dumps(event) + "\n")
        except OSError:
            stop.set()

    errand = shard.get("errand", {})
    try:
        register(errand.get("registration"))
        train_shard(
            [config_from_identity(identity) for identity in shard["configs"]],
            [Path(directory) for directory in shard["directories"]],
            emit=emit,
            should_stop=stop.is_set,
            checkpoint_every=shard["checkpoint_every"],
            step_timeout=shard["step_timeout"],
            env_processes=shard["env_processes"],
            errand=errand,
        )
    except EnvironmentMismatch as error:
        emit({"kind": "refused", "text": str(error)})
        return 2
    except RobustpoError as error:
        emit({"kind": "error", "text": str(error)})
        return 1
    return 0


def _die_with_parent() -> None:
    """Have the system kill this process as soon as the thread that started it has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch(stream: TextIO, stop: threading.Event, begun: threading.Event) -> None:
    stream.readline()
    stop.set()
    # A compilation cannot be interrupted and there is nothing yet that would have to be kept.
    if not begun.is_set():
        os._exit(0)


if __name__ == "__main__":
    # Daemon threads of simulators may outlive the interpreter's teardown; all is written by now.
    code = main()
    sys.stderr.flush()
    os._exit(code)
