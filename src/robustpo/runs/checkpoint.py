"""Checkpoints of one run: one safetensors file each, of which the last two are kept.

Only those count that were written or read by whoever writes the run now. What could not be used is
put aside when the run goes on, so that it takes no good one's place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from robustpo.base.files import read_state, read_tensors, write_tensors
from robustpo.base.writing import (
    is_partial,
    make_directory,
    remove_directories,
    remove_files,
    rename_file,
)
from robustpo.errors import ConfigError
from robustpo.training.recording import Checkpoint

CHECKPOINT_DIRECTORY = "checkpoint"
# The last state of a run that has made all its steps.
FINAL_FILE = "final.safetensors"
KEPT = 2
FORMAT = 1
MAX_BYTES = 2**30

_NAME = re.compile(r"step-(\d{12})\.safetensors")
_OURS = re.compile(r"step-\d{12}\.(safetensors|unusable)")


def save_checkpoint(directory: Path, checkpoint: Checkpoint, root: Path) -> None:
    """Write a checkpoint of a run beside the one before; older ones go.

    Args:
        directory: the run.
        checkpoint: its state.
        root: the directory above the run that a person gave.

    Raises:
        ConfigError: if a directory between them is a link.
        StorageError: if it could not be written; the earlier ones are still there.
    """
    place = directory / CHECKPOINT_DIRECTORY
    make_directory(place, root)
    path = place / _name(checkpoint.step)
    write_tensors(path, checkpoint.tensors, checkpoint.state | {"format": FORMAT}, root)
    # What claims to be of later steps was not written by this run.
    names = [old.name for old in _files(directory) if old.name <= path.name]
    remove_files(place, lambda name: name in names[KEPT:], root)


def save_final(directory: Path, checkpoint: Checkpoint, root: Path) -> None:
    """Write the last state of a run beside its policy, in the form of a checkpoint.

    Raises:
        StorageError: if it could not be written.
    """
    state = checkpoint.state | {"format": FORMAT}
    write_tensors(directory / FINAL_FILE, checkpoint.tensors, state, root)


def _name(step: int) -> str:
    return f"step-{step:012d}.safetensors"


def load_checkpoint(
    directory: Path, check: Callable[[dict[str, Any]], None], *, arrays: bool
) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint of a run that is whole, and what is wrong with newer ones.

    Args:
        directory: the run.
        check: raises `ConfigError` for a state that is not to be used, as another run's.
        arrays: whether they are read. Otherwise the checkpoint has none, and damage to them is left
            to whoever does read them.
    """
    problems = []
    for path in _files(directory):
        try:
            if arrays:
                tensors, state = read_tensors(path, MAX_BYTES)
            else:
                tensors, state = {}, read_state(path, MAX_BYTES)
            _require_format(state)
            if path.name != _name(state["step"]):
                raise ConfigError("its name says another step than it holds")
            check(state)
            instead = f"; the run goes on from step {state['step']:,}"
            return Checkpoint(tensors, state), [f"{problem}{instead}" for problem in problems]
        except ConfigError as error:
            text = str(error)
            problems.append(text if str(path) in text else f"{path} cannot be used: {text}")
    return None, problems


def put_aside_unusable(directory: Path, checkpoint: Checkpoint | None, root: Path) -> None:
    """Rename what is newer than the checkpoint that a run goes on from; remove partial files."""
    place = directory / CHECKPOINT_DIRECTORY
    last = _name(checkpoint.step) if checkpoint else ""
    for path in _files(directory):
        if path.name > last:
            rename_file(path, f"{path.stem}.unusable", root)
    remove_files(place, is_partial, root)


def remove_checkpoints(directory: Path, root: Path) -> None:
    """Remove the checkpoints of a run that has ended; nothing else in their directory."""
    place = directory / CHECKPOINT_DIRECTORY
    remove_files(place, lambda name: is_partial(name) or bool(_OURS.fullmatch(name)), root)
    remove_directories([place])


def _files(directory: Path) -> list[Path]:
    """Return the checkpoints of a run, the newest first."""
    try:
        names = [path.name for path in (directory / CHECKPOINT_DIRECTORY).iterdir()]
    except OSError:
        return []
    found = sorted((name for name in names if _NAME.fullmatch(name)), reverse=True)
    return [directory / CHECKPOINT_DIRECTORY / name for name in found]


def _require_format(state: Mapping[str, Any]) -> None:
    step = state.get("step")
    if state.get("format") != FORMAT or type(step) is not int or step < 0:
        raise ConfigError(f"it is no checkpoint of format {FORMAT}")
