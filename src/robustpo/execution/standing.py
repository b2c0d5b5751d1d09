"""How each run stands to a command that is to train it, before anything is written."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robustpo.base.files import one_line
from robustpo.base.writing import require_real
from robustpo.config.run import RunConfig
from robustpo.errors import ConfigError, UnfinishedError
from robustpo.policy.policy import POLICY_FILE
from robustpo.runs.checkpoint import CHECKPOINT_DIRECTORY, remove_checkpoints
from robustpo.runs.identity import difference, plain, with_defaults
from robustpo.runs.provenance import inexact
from robustpo.runs.record import (
    METRICS_LINES,
    RESULT_FILE,
    find_checkpoint,
    run_root,
)
from robustpo.runs.run_state import RunState, name_of, run_state

# A record that has none of these is as good as none.
WORTH_KEEPING = (METRICS_LINES, CHECKPOINT_DIRECTORY, RESULT_FILE)
# How many runs are named that are not done, and how much is said of each.
NAMED = 3
REASON = 300


@dataclass(frozen=True)
class State:
    """How a run stands to a command that is to train it.

    Attributes:
        run: how far it is.
        stale: there is a record that cannot be gone on from, or shall not.
        step: where its newest checkpoint stands, None if it begins.
        inexact: what has changed since, so that going on is not exact to the bit.
        problems: what is wrong with its record, one line each; of a run that goes on `RunRecord`
            says the rest.
    """

    run: RunState
    stale: bool = False
    step: int | None = None
    inexact: str | None = None
    problems: tuple[str, ...] = ()

    @property
    def pending(self) -> bool:
        """Whether it is to be trained: a run that has failed is kept like one that is done."""
        return self.stale or not self.run.ended


def examine(directories: Mapping[RunConfig, Path], *, fresh: bool) -> dict[RunConfig, State]:
    """Return how each run stands.

    Args:
        directories: where each run is recorded.
        fresh: whether records are to be moved aside, whatever they hold.

    Raises:
        ConfigError: if a directory holds another experiment, or something that is no run.
    """
    return {config: _examine(config, place, fresh) for config, place in directories.items()}


def _examine(config: RunConfig, directory: Path, fresh: bool) -> State:
    require_real(directory, run_root(directory, config))
    state = run_state(directory)
    if fresh:
        return State(state, stale=directory.exists())
    if state.state == "waiting":
        return State(state)
    _require_same(state, config, directory)
    if state.ended:
        return State(state)
    # The arrays are for whoever trains, who then says what is wrong with newer checkpoints.
    checkpoint, problems = find_checkpoint(directory, config, arrays=False)
    odd = [f"{directory}: {state.reason}; the run counts as stopped"] if state.reason else []
    if checkpoint is None:
        holds = [(directory / name).exists() for name in WORTH_KEEPING]
        return State(state, stale=any(holds), problems=(*odd, *problems))
    since = inexact(checkpoint.state)
    return State(state, step=checkpoint.step, inexact=since, problems=tuple(odd))


def remove_outlived(
    directories: Mapping[RunConfig, Path], states: Mapping[RunConfig, State]
) -> None:
    """Remove the checkpoints of runs that are kept: whoever wrote the result was killed then.

    A record without a policy did not end like that, whatever its result says.
    """
    for config, state in states.items():
        place = directories[config]
        if not state.pending and (place / POLICY_FILE).is_file():
            remove_checkpoints(place, run_root(place, config))


def _require_same(state: RunState, config: RunConfig, directory: Path) -> None:
    """Raise `ConfigError` unless a directory holds a record of this run."""
    if state.run is None:
        raise ConfigError(
            f"{directory} is not empty and holds no record of a run ({state.reason}); choose "
            "another --out, or --fresh to move it aside"
        )
    wanted, found = plain(config.identity()), with_defaults(state.identity)
    if found != wanted:
        raise ConfigError(
            f"{directory} holds a different experiment ({difference(found, wanted)}); "
            "choose another --out, or --fresh to move it aside"
        )


def require_done(directories: Mapping[RunConfig, Path], lost: Mapping[Path, str]) -> None:
    """Raise `UnfinishedError` unless the records say that every run is done.

    Args:
        directories: where each run is recorded.
        lost: why a run's worker has ended before it, where that is known.
    """
    states = {config: run_state(place) for config, place in directories.items()}
    left = {config: state for config, state in states.items() if not state.done}
    if not left:
        return
    failed = sum(state.state == "failed" for state in left.values())
    counts = [f"{failed} failed"] if failed else []
    if missing := len(left) - failed:
        counts.append(f"{missing} {'is' if missing == 1 else 'are'} not finished")
    reasons = [_why(config, state, lost.get(directories[config])) for config, state in left.items()]
    named = reasons[:NAMED] + ([f"and {len(left) - NAMED} more"] if len(left) > NAMED else [])
    advice = (
        "the same command goes on once nothing stands in its way"
        if missing
        else "--fresh moves the records aside and trains again"
    )
    raise UnfinishedError(
        f"of {len(states)} runs {' and '.join(counts)} ({'; '.join(named)}); {advice}",
        [directories[config] for config, state in states.items() if state.done],
    )


def _why(config: RunConfig, state: RunState, lost: str | None) -> str:
    if state.state == "failed":
        # What a record says of a failure names the run itself, and then what was done about it.
        return one_line(state.reason.partition(";")[0], REASON)
    reason = (
        lost or state.reason or ("nothing is recorded" if state.state == "waiting" else state.state)
    )
    return f"{one_line(name_of(config), REASON)}: {one_line(reason, REASON)}"


def check_writable(out: Path) -> None:
    """Raise `ConfigError` if nothing could be written below `out`."""
    ancestor = out.absolute()
    while not ancestor.exists():
        ancestor = ancestor.parent
    if not ancestor.is_dir():
        raise ConfigError(f"out={str(out)!r} is below {ancestor}, which is a file")
    try:
        # Trying is the only honest test: access rights say nothing about read-only file systems.
        tempfile.TemporaryDirectory(dir=ancestor).cleanup()
    except OSError as error:
        raise ConfigError(
            f"out={str(out)!r} cannot be written ({error.strerror} in {ancestor}); "
            "choose another --out"
        ) from error
