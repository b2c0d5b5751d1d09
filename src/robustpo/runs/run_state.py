"""How far one run is: the one answer, read from its directory, that everything else goes by.

What trains, what shows and what reports ask here, so that they cannot disagree. A process's exit
code or the presence of a file says nothing: a run is done when its result can be read, says that it
was completed, and has all of its steps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line
from robustpo.base.writing import is_partial
from robustpo.config.run import RunConfig
from robustpo.runs.locks import is_locked
from robustpo.runs.run_files import Run, as_int, as_text, read_object, run_of
from robustpo.runs.record import CONFIG_FILE, RESULT_FILE

STATES = ("done", "running", "stopped", "failed", "waiting", "unreadable")
COMPLETED, FAILED = "completed", "failed"


@dataclass(frozen=True)
class RunState:
    """How far a run is.

    Attributes:
        state: `waiting` (nothing is recorded), `running` (a process writes to it), `stopped` (it
            was begun and has not ended), `failed` (its agent diverged), `done` (all its steps are
            made), or `unreadable` (something is there that cannot be read as a run).
        reason: why it failed, or what is wrong with its record; empty otherwise.
        run: which it is; None if nothing is recorded or it cannot be read.
        identity: `RunConfig.identity()` as its record has it; values are not checked.
        result: what its result says, if it is done or has failed; values are not checked.
    """

    state: str
    reason: str = ""
    run: Run | None = None
    identity: Any = None
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether all its steps are made."""
        return self.state == "done"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come, unless it is trained anew."""
        return self.state in ("done", "failed")


def run_state(directory: Path) -> RunState:
    """Say how far the run in a directory is."""
    try:
        if _is_waiting(directory):
            return RunState("waiting")
    except FileNotFoundError:
        if not os.path.lexists(directory):
            return RunState("waiting")
        return RunState("unreadable", "it is a link that leads nowhere")
    except OSError as error:
        return RunState("unreadable", f"its directory cannot be read ({error.strerror})")
    config = read_object(directory / CONFIG_FILE)
    if config is None:
        return RunState("unreadable", f"its {CONFIG_FILE} cannot be read")
    run = run_of(directory, config)
    if run is None:
        return RunState("unreadable", f"its {CONFIG_FILE} lacks the task, variant, method or seed")
    return replace(_progress(run), run=run, identity=config.get("identity"))


def _is_waiting(directory: Path) -> bool:
    # Listing it first also lets a file server notice what other machines have written.
    names = os.listdir(directory)
    # A process that was killed while it wrote the first file leaves a part of it.
    return all(map(is_partial, names))


def _progress(run: Run) -> RunState:
    problem = ""
    if os.path.lexists(run.path / RESULT_FILE):
        result = read_object(run.path / RESULT_FILE)
        if result is None:
            problem = f"its {RESULT_FILE} cannot be read"
        elif result.get("status") == FAILED:
            return RunState("failed", as_text(result.get("error")) or "it failed", result=result)
        elif result.get("status") == COMPLETED and _whole(result, run.total_steps):
            return RunState("done", result=result)
        else:
            said = (
                f"status {one_line(result.get('status'), 20)}, {one_line(result.get('steps'), 20)}"
            )
            problem = f"its {RESULT_FILE} does not say that it was completed ({said} steps)"
    return RunState("running" if is_locked(run.path) else "stopped", problem)


def name_of(config: RunConfig) -> str:
    """Name a run for people."""
    return f"{config.task}, {config.variant}, seed {config.settings.seed}"


def _whole(result: Mapping[str, Any], total_steps: int | None) -> bool:
    steps = as_int(result.get("steps"))
    return total_steps is None or (steps is not None and steps >= total_steps)
