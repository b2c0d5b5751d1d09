"""How far each run has come on disk, before anything is written."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robustpo.config import RunConfig
from robustpo.errors import ConfigError
from robustpo.training.checkpoint import CHECKPOINT_DIRECTORY, remove_checkpoints
from robustpo.training.provenance import inexact
from robustpo.training.record import METRICS_LINES, existing_state, find_checkpoint, run_root
from robustpo.writing import require_real


@dataclass(frozen=True)
class State:
    """How far one run has come.

    Attributes:
        finished: its result is there.
        stale: there is a record that cannot be gone on from, or shall not.
        step: where its newest whole checkpoint stands, None if it begins.
        inexact: what has changed since, so that going on is not exact to the bit.
        problems: what is wrong with newer checkpoints, one line each.
    """

    finished: bool = False
    stale: bool = False
    step: int | None = None
    inexact: str | None = None
    problems: tuple[str, ...] = ()


def examine(directories: Mapping[RunConfig, Path], *, fresh: bool) -> dict[RunConfig, State]:
    """Return how far each run has come.

    Args:
        directories: where each run is recorded.
        fresh: whether records are to be moved aside, whatever they hold.

    Raises:
        ConfigError: if a directory holds another experiment, or something that is no run.
    """
    return {config: _examine(config, place, fresh) for config, place in directories.items()}


def _examine(config: RunConfig, directory: Path, fresh: bool) -> State:
    if fresh:
        require_real(directory, run_root(directory, config))
        return State(stale=directory.exists())
    kind = existing_state(directory, config)
    if kind == "finished":
        # A process that was killed as soon as it had written the result left them.
        remove_checkpoints(directory, run_root(directory, config))
        return State(finished=True)
    if kind == "absent":
        return State()
    checkpoint, problems = find_checkpoint(directory, config)
    lines = tuple(f"{problem}; an earlier state is used instead" for problem in problems)
    if checkpoint is None:
        holds = [(directory / name).exists() for name in (METRICS_LINES, CHECKPOINT_DIRECTORY)]
        return State(stale=any(holds), problems=lines)
    return State(step=checkpoint.step, inexact=inexact(checkpoint.state), problems=lines)


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
