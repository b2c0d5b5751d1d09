"""What a run remembers of what its environments said of episodes: `info`, by name.

An episode of which a number was not said counts for nothing of it: missing is not zero.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from robustpo.environments.information import MAX_NAMES, Information, is_name
from robustpo.errors import ConfigError

# Columns of metrics whose names begin so are the environments' own, such as `info/is_success`.
PREFIX = "info/"
RECENT_EPISODES = 100


class InformationLog:
    """Averages for a run's rows of metrics, and the last 100 values of each name."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._row: dict[str, list[float]] = {}
        self._texts: set[str] = set()

    def add(self, said: Sequence[Information], first: int, count: int) -> None:
        """Take in what was said of `count` environments, the first of which has this index."""
        for one in said:
            mine = (one.index >= first) & (one.index < first + count)
            if not mine.any():
                continue
            self._texts |= one.texts
            for name, values in one.values.items():
                if name not in self._recent and len(self._recent) >= MAX_NAMES:
                    continue
                known = [value for value in values[mine].tolist() if math.isfinite(value)]
                if known:
                    self._recent.setdefault(name, deque(maxlen=RECENT_EPISODES)).extend(known)
                    self._row.setdefault(name, []).extend(known)

    def take_row(self) -> dict[str, float]:
        """Return the means since the last row, by column."""
        row = {f"{PREFIX}{name}": math.fsum(v) / len(v) for name, v in self._row.items()}
        self._row = {}
        return row

    def recent(self) -> dict[str, float]:
        """Return the means of the last episodes, by column."""
        return {f"{PREFIX}{name}": math.fsum(v) / len(v) for name, v in self._recent.items()}

    def result(self) -> dict[str, Any]:
        """Return what a finished run says: of each name, the last 100 episodes that had it.

        `mean`, `episodes`, and `proportion`, whether every value was 0 or 1; or that it is `text`.
        """
        found: dict[str, Any] = {
            name: {
                "mean": math.fsum(values) / len(values),
                "episodes": len(values),
                "proportion": set(values) <= {0.0, 1.0},
            }
            for name, values in self._recent.items()
        }
        return found | {name: {"text": True} for name in sorted(self._texts - found.keys())}

    def state(self) -> dict[str, Any]:
        """Return everything that is remembered, as JSON has it."""
        return {
            "recent": {name: list(values) for name, values in self._recent.items()},
            "row": self._row,
            "texts": sorted(self._texts),
        }

    def restore(self, state: Any) -> None:
        """Take over what `state` returned; nothing of a version that did not have it.

        Raises:
            ConfigError: if it is not that.
        """
        if state is None:
            return
        try:
            recent, row = (_numbers(state[name]) for name in ("recent", "row"))
            texts = {str(name) for name in state["texts"] if is_name(name)}
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigError("its log of what environments said is not complete") from error
        self._recent = {n: deque(values, maxlen=RECENT_EPISODES) for n, values in recent.items()}
        self._row, self._texts = row, texts


def is_column(name: object) -> bool:
    """Whether something read from a file is the name of a column of what environments said."""
    return isinstance(name, str) and name.startswith(PREFIX) and is_name(name[len(PREFIX) :])


def _numbers(by_name: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    found = {}
    for name, values in by_name.items():
        numbers = [float(value) for value in values]
        if not is_name(name) or not all(map(math.isfinite, numbers)) or len(found) >= MAX_NAMES:
            raise ValueError("no number that an environment said")
        found[name] = numbers
    return found
