"""The record of one run on disk; the README says what each file is for.

While a run trains, its rows are appended to a text file and kept in memory; every checkpoint holds
all of them. A run that goes on writes that file anew from the checkpoint, so whatever happened to
it in between is undone.
"""

from __future__ import annotations

import json
import os
import re
import reprlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustpo.base.json_text import finite
from robustpo.base.naming import fit, slug
from robustpo.base.registry import source_digest
from robustpo.base.writing import (
    append_line,
    is_partial,
    make_directory,
    remove_files,
    write_atomically,
)
from robustpo.config.run import RunConfig
from robustpo.environments.task_arguments import split_arguments
from robustpo.errors import ConfigError, StorageError
from robustpo.policy.policy import Policy, save_policy
from robustpo.training.bookkeeping import COLUMNS, COUNTS
from robustpo.training.information_log import is_column
from robustpo.runs.checkpoint import (
    FINAL_FILE,
    Checkpoint,
    load_checkpoint,
    put_aside_unusable,
    remove_checkpoints,
    save_checkpoint,
    save_final,
)
from robustpo.runs.identity import plain, with_defaults
from robustpo.runs.metrics_table import METRICS_TABLE, columns_of, write_table
from robustpo.runs.provenance import environment_of_bits, machine, versions
from robustpo.runs.surroundings import CONFIG_FILE

RESULT_FILE = "result.json"
METRICS_LINES, EVALUATIONS_FILE = "metrics.jsonl", "evaluations.jsonl"


def task_directory(out: Path, task: str) -> Path:
    """Return `<out>/<task>`; the name of a constructor may hold signs that paths should not."""
    name, arguments = split_arguments(task)
    parts = re.sub(r"[^\w./+-]+", "_", name).split("/")
    if arguments:
        # Other arguments are another place, whatever signs a path may have.
        parts[-1] += f"_{slug(task.removeprefix(f'{name}:'))}"
    # Whoever wrote a study names its tasks, and all of them lie below `out`.
    return out.joinpath(*(fit(part) for part in parts if part not in ("", ".", "..")))


def run_directory(out: Path, config: RunConfig) -> Path:
    """Return `<out>/<task>/<variant>/seed-<k>`."""
    return task_directory(out, config.task) / config.variant / f"seed-{config.settings.seed}"


def run_root(directory: Path, config: RunConfig) -> Path:
    """Return the `out` of a run's directory: the directory itself if it lies elsewhere."""
    below = run_directory(Path(), config).parts
    inside = directory.parts[-len(below) :] == below
    return directory.parents[len(below) - 1] if inside else directory


class RunRecord:
    """Writes one run's directory while it trains; goes on from its newest whole checkpoint.

    A record whose checkpoints are all damaged is moved aside, and the run begins again.

    Args:
        directory: where the run lives; absent, or with an unfinished record of the same run.
        config: what is trained.
        environment: what it is trained on; a run that goes on keeps what was recorded of it.
        extends: the run that it goes on with, if it is another's extension, which names it.
        began: how that one began.

    Attributes:
        checkpoint: what the run goes on from; None if it begins.
        problems: what is wrong with newer checkpoints, one line each.

    Raises:
        ConfigError: if it is an extension of a run and has lost what it goes on with.
        StorageError: here and in every method, if a file could not be written.
    """

    def __init__(
        self,
        directory: Path,
        config: RunConfig,
        environment: dict[str, Any] | None = None,
        *,
        extends: str | None = None,
        began: dict[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self.config = config
        self._root = run_root(directory, config)
        make_directory(directory, self._root)
        self.checkpoint, self.problems = find_checkpoint(directory, config)
        if self.checkpoint is None:
            self._begin_again(known=config.extends is None or extends is not None)
        # Whoever trains on has not ended, so no state of it is the last.
        remove_files(directory, lambda n: is_partial(n) or n == FINAL_FILE, self._root)
        put_aside_unusable(directory, self.checkpoint, self._root)
        state = self.checkpoint.state if self.checkpoint else {}
        self._rows: list[dict[str, Any]] = list(state.get("rows", []))
        self._evaluations: list[dict[str, Any]] = list(state.get("evaluations", []))
        self._resumed: list[dict[str, Any]] = list(state.get("resumed", []))
        self._began = state.get("began") or began or {"versions": versions(), "machine": machine()}
        if extends is not None:
            self._began = {"extends": extends} | self._began
        digests = {name: source_digest(name) for name in config.extensions}
        extensions = {"extensions": digests} if digests else {}
        self._began = extensions | self._began
        if environment is not None:
            self._began = {"environment": environment} | self._began
        if self.checkpoint:
            now = environment_of_bits() | extensions
            self._resumed.append({"step": self.checkpoint.step, **now})
        self._write_json(
            CONFIG_FILE,
            {
                "identity": config.identity(),
                "variant": config.variant,
                "total_steps": config.total_steps,
                **self._began,
                "resumed": self._resumed,
            },
        )
        self._write_lines(METRICS_LINES, self._rows)
        self._write_lines(EVALUATIONS_FILE, self._evaluations)

    def _begin_again(self, *, known: bool) -> None:
        """Move aside what cannot be gone on from, unless it is not known where the run begins."""
        if not known:
            raise ConfigError(
                f"{self.directory} has lost the state that it was extended from; remove it, and "
                "the same command extends the run once more"
            )
        if self.problems:
            moved = set_aside(self.directory)
            make_directory(self.directory, self._root)
            self.problems.append(
                f"{self.directory}: none of its checkpoints can be used; the run begins again, and "
                f"its record is moved aside as {moved.name}"
            )

    def _write_json(self, name: str, data: Any) -> None:
        content = (json.dumps(finite(data), indent=2) + "\n").encode()
        write_atomically(self.directory / name, content, self._root)

    def _write_lines(self, name: str, rows: list[dict[str, Any]]) -> None:
        path = self.directory / name
        if rows or os.path.lexists(path):
            content = "".join(json.dumps(row) + "\n" for row in rows).encode()
            write_atomically(path, content, self._root)

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Append one row of metrics; at most one line is cut if the process dies."""
        said = {name: row[name] for name in filter(is_column, row)}
        clean = finite({name: row[name] for name in COLUMNS} | said)
        self._rows.append(clean)
        append_line(self.directory / METRICS_LINES, json.dumps(clean), self._root)

    def add_evaluation(self, row: Mapping[str, Any]) -> None:
        """Append one evaluation made during training."""
        clean = finite(dict(row))
        self._evaluations.append(clean)
        append_line(self.directory / EVALUATIONS_FILE, json.dumps(clean), self._root)

    @property
    def evaluated_at(self) -> int:
        """The step of the last evaluation made during training; 0 if there is none."""
        return int(self._evaluations[-1]["step"]) if self._evaluations else 0

    def save_checkpoint(self, tensors: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Save the whole state of the agent, with all rows so far, and rewrite the table."""
        content = self._content(state, rows=self._rows)
        save_checkpoint(self.directory, Checkpoint(tensors, content), self._root)
        self.write_table()

    def save_final(self, tensors: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Save the state in which the agent has made its last step; its rows stand beside it."""
        save_final(self.directory, Checkpoint(tensors, self._content(state)), self._root)

    def _content(self, state: Mapping[str, Any], **rows: Any) -> dict[str, Any]:
        return {
            "identity": plain(self.config.identity()),
            **rows,
            "evaluations": self._evaluations,
            "resumed": self._resumed,
            "began": self._began,
            **environment_of_bits(),
            **state,
        }

    def save_policy(self, name: str, policy: Policy) -> None:
        """Write a policy beside the record."""
        save_policy(self.directory / name, policy, self._root)

    def write_table(self) -> None:
        """Rewrite the table of all rows so far, atomically."""
        write_table(self.directory / METRICS_TABLE, columns_of(self._rows), self._root)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the table and the result, whose presence says that nothing more will come."""
        self.write_table()
        self._write_json(RESULT_FILE, dict(result))
        remove_checkpoints(self.directory, self._root)


def find_checkpoint(
    directory: Path, config: RunConfig, *, arrays: bool = True
) -> tuple[Checkpoint | None, list[str]]:
    """Return a run's newest checkpoint that is whole, and what is wrong with newer ones.

    Whoever only has to know where a run stands leaves the arrays unread, as `load_checkpoint` has
    it.

    What an earlier version wrote is filled in: settings that did not exist act by default, metrics
    that were not taken are null. Metrics that this version does not have are left out.
    """
    found, problems = load_checkpoint(
        directory, lambda state: _check_state(state, config), arrays=arrays
    )
    if found is not None:
        rows = [
            {name: row.get(name) for name in (*COLUMNS, *filter(is_column, row))}
            for row in found.state["rows"]
        ]
        found = Checkpoint(found.tensors, found.state | {"rows": rows})
    return found, problems


def _check_state(state: Mapping[str, Any], config: RunConfig) -> None:
    """Raise `ConfigError` if a checkpoint is another run's or its rows cannot be written again."""
    if with_defaults(state.get("identity")) != plain(config.identity()):
        raise ConfigError("it belongs to another experiment")
    rows, evaluations, resumed = (state.get(n) for n in ("rows", "evaluations", "resumed"))
    if not all(isinstance(x, list) for x in (rows, evaluations, resumed)):
        raise ConfigError("its rows of metrics are missing")
    if not isinstance(state.get("began"), dict):
        raise ConfigError("it does not say how the run began")
    for row in rows or ():
        if not isinstance(row, dict) or row.get("step") is None:
            raise ConfigError("a row of its metrics has no step")
        for name in (*COLUMNS, *filter(is_column, row)):
            value = row.get(name)
            kinds = (int, type(None)) if name in COUNTS else (int, float, type(None))
            if type(value) not in kinds or not abs(value or 0) < (
                2**63 if name in COUNTS else sys.float_info.max
            ):
                raise ConfigError(f"a row of its metrics has {name} {reprlib.repr(value)}")


def set_aside(directory: Path) -> Path:
    """Move an old record out of the way, beside where it was; return its new place.

    Raises:
        StorageError: if it cannot be moved.
    """
    number = 1
    while os.path.lexists(target := directory.with_name(f".{directory.name}.old-{number}")):
        number += 1
    try:
        os.replace(directory, target)
    except OSError as error:
        raise StorageError(directory, error) from error
    return target
