"""What the runs of one command are trained on: all those of one task have to be one environment."""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustpo.config.run import RunConfig
from robustpo.environments import catalog
from robustpo.errors import EnvironmentMismatch
from robustpo.execution.worker_process import Event
from robustpo.runs.surroundings import Surroundings, recorded, require_one

# Two that differ say that an environment is another every time; more say no more.
MAX_KNOWN = 8


class RecordedEnvironments:
    """Knows what runs of each task were trained on, and hears what workers find.

    Args:
        kept: runs that are recorded and kept, or gone on from, and where each is.

    Raises:
        EnvironmentMismatch: if two of them were trained on different environments.
    """

    def __init__(self, kept: Mapping[RunConfig, Path]) -> None:
        self._said: set[str] = set()
        self._news: list[str] = []
        self._command = secrets.token_hex(8)
        self._known: dict[str, list[Surroundings]] = defaultdict(list)
        self._handed: dict[str, list[dict[str, Any]]] = defaultdict(list)
        silent: Counter[str] = Counter()
        for config, directory in kept.items():
            found = recorded(directory)
            if found is not None:
                self._take_in(config.task, found)
            elif catalog.find(config.task) is None:
                silent[config.task] += 1
        for task, count in silent.items():
            self._say(
                f"{count} recorded runs of {task!r} do not say what their environment was; it is "
                "taken for today's"
            )

    def require_same(self, task: str, fingerprint: dict[str, Any]) -> None:
        """Raise `EnvironmentMismatch` if a task is not the environment of what is recorded."""
        for text in require_one(task, Surroundings(fingerprint), self._known[task]):
            self._say(text)

    def errand(self, task: str) -> dict[str, Any]:
        """Return what a worker has to know of a task's environment, as plain data.

        What is heard until the worker is started is added to it.

        Raises:
            ConfigError: if the task is registered here alone and cannot be handed over.
        """
        from robustpo.environments.pickling import registration

        return {
            "known": self._handed[task],
            "command": self._command,
            "registration": registration(task),
        }

    def hear(self, event: Event) -> bool:
        """Take in what a worker says of its environment; return whether the event was about that.

        Raises:
            EnvironmentMismatch: if the worker has refused it, or it is another than the others'.
        """
        if event["kind"] == "refused":
            raise EnvironmentMismatch(event["text"])
        if event["kind"] != "environment":
            return False
        for text in event["notes"]:
            self._say(text)
        self._take_in(event["task"], Surroundings(event["environment"], event["where"]))
        return True

    def _take_in(self, task: str, found: Surroundings) -> None:
        known = self._known[task]
        if any(found.environment == other.environment for other in known):
            return
        for text in require_one(task, found, known):
            self._say(text)
        if len(known) < MAX_KNOWN:
            known.append(found)
            self._handed[task].append({"environment": found.environment, "where": found.where})

    def news(self) -> list[str]:
        """Return what has not been said yet, one line each."""
        news, self._news = self._news, []
        return news

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._news.append(text)
