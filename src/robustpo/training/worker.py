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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from robustpo.config import RunConfig
from robustpo.environments import watchdog
from robustpo.errors import RobustpoError
from robustpo.training.cores import claim_core
from robustpo.training.record import RunRecord, config_from_identity

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
) -> None:
    """Train one population in this process and record every agent.

    Args:
        configs: the agents.
        directories: where each is recorded.
        emit: receives events.
        should_stop: asked before every iteration and every step of an evaluation.
        constructor: makes the environment when the task is not a name.
        checkpoint_every: steps between checkpoints; 0 for one every two minutes.
        step_timeout: seconds after which a host simulator that does not return ends the process;
            0 waits for ever.
        env_processes: processes that step host simulators; 0 steps them in this one.
    """
    from robustpo.training.compilation import use_cache
    from robustpo.training.estimate import seconds_per_step
    from robustpo.training.trainer import Trainer

    use_cache()
    watchdog.limit(step_timeout)
    # Before a simulator may change the directory.
    directories = [directory.absolute() for directory in directories]
    task = constructor or configs[0].task
    estimated = seconds_per_step(configs[0], len(configs), task, env_processes)
    if estimated is not None:
        emit({"kind": "estimate", "seconds_per_step": estimated})
    records = [RunRecord(d, c) for d, c in zip(directories, configs, strict=True)]
    trainer = Trainer(
        configs,
        records=records,
        emit=emit,
        should_stop=should_stop,
        constructor=constructor,
        checkpoint_every=checkpoint_every,
        env_processes=env_processes,
    )
    try:
        trainer.run()
    finally:
        trainer.close()


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

    try:
        train_shard(
            [config_from_identity(identity) for identity in shard["configs"]],
            [Path(directory) for directory in shard["directories"]],
            emit=emit,
            should_stop=stop.is_set,
            checkpoint_every=shard["checkpoint_every"],
            step_timeout=shard["step_timeout"],
            env_processes=shard["env_processes"],
        )
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
