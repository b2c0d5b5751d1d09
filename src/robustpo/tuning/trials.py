"""The trials of a search, and the journal from which it goes on after it was stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustpo.base.files import open_regular, parse_json
from robustpo.base.json_text import to_json
from robustpo.base.writing import append_line, end_line

JOURNAL = "trials.jsonl"
MAX_BYTES = 64 * 2**20
# A whole run is trained in so many parts, and compared with others after these of them.
PARTS = 4
RUNGS = (1, 2, 4)
# Of those that have come to a rung, one in so many goes on.
REDUCTION = 2


@dataclass
class Trial:
    """One setting.

    Attributes:
        number: in the order in which they were asked for.
        setting: the numbers.
        parts: how many parts of the whole length it has been trained.
        values: mean return over the selection seeds at each of `RUNGS` that it has come to; None at
            one where an agent had failed.
        state: `running`, `done` (it came to the end), `pruned`, `failed`, `repeated` (an earlier
            one has the same setting) or `stopped` (the budget ended).
    """

    number: int
    setting: dict[str, float]
    parts: int = 0
    values: list[float | None] = field(default_factory=list)
    state: str = "running"

    @property
    def rung(self) -> int:
        """Rungs that lie behind it."""
        return len(self.values)

    @property
    def value(self) -> float | None:
        """What it came to at its last rung; None if it has come to none, or failed."""
        return self.values[-1] if self.values else None

    @property
    def share(self) -> float:
        """Share of the whole length that was compared."""
        return RUNGS[self.rung - 1] / PARTS if self.values else 0.0


class Journal:
    """What has happened, a line each; a torn last line is as good as none.

    Args:
        directory: of the search.
        root: at or above it.

    Attributes:
        trials: as they stand.
        returns: return of each run after each part, by variant, seed and step.
        seconds: time that has been spent, but for a round that was killed.
        longest: that of the longest round.
    """

    def __init__(self, directory: Path, root: Path) -> None:
        self._path, self._root = directory / JOURNAL, root
        self.trials: list[Trial] = []
        self.returns: dict[tuple[str, int, int], float | None] = {}
        self.seconds = self.longest = 0.0
        end_line(self._path, root)
        for line in _lines(self._path):
            self._take(line)

    def add(self, **line: Any) -> None:
        """Write down what has happened.

        Raises:
            StorageError: if it could not be written.
        """
        append_line(self._path, to_json(line), self._root)
        self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        kind = line["kind"]
        if kind == "asked":
            self.trials.append(Trial(line["number"], line["setting"]))
        elif kind == "return":
            self.returns[line["variant"], line["seed"], line["step"]] = line["value"]
        elif kind == "judged":
            # JSON's keys are texts.
            for number, parts in line["parts"].items():
                self.trials[int(number)].parts = parts
            for number, value in line["values"].items():
                self.trials[int(number)].values.append(value)
            for number, state in line["ended"].items():
                self.trials[int(number)].state = state
        elif kind == "spent":
            self.seconds += line["seconds"]
            self.longest = max(self.longest, line["seconds"])


def keep(trials: Sequence[Trial], rung: int) -> set[int]:
    """Return the numbers of the trials that may go on from a rung: the better half of all there.

    Args:
        trials: all of them, those that were ended there before included.
        rung: how many rungs lie behind them then.
    """
    there = [t for t in trials if t.rung >= rung]
    known = [(value, t.number) for t in there if (value := t.values[rung - 1]) is not None]
    best = sorted(known, key=lambda pair: (-pair[0], pair[1]))
    return {number for _, number in best[: -(-len(known) // REDUCTION)]}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not os.path.lexists(path):
        return
    with open_regular(path) as file:
        content = file.read(MAX_BYTES).splitlines()
    for line in content:
        try:
            yield parse_json(line)
        except (ValueError, json.JSONDecodeError):
            continue
