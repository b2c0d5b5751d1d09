"""What runs were trained on, as their records say, and whether that is one environment.

Beside the fingerprint a record holds a token of the command that began the run: if two processes
of one command found different behaviours in the same code, the environment is another in every
process, and its behaviour is no evidence of a change.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line, parse_json, read_bytes
from robustpo.environments.sameness import Comparison, compare
from robustpo.errors import ConfigError, EnvironmentMismatch

CONFIG_FILE, MAX_CONFIG_BYTES = "config.json", 4 * 2**20
MAX_NESTED = 4
ADVICE = "choose another --out, or --fresh to move the old records aside and train anew"


@dataclass(frozen=True)
class Surroundings:
    """What one run was, or is to be, trained on.

    Attributes:
        environment: `environments.fingerprint`, and the `command` that took it.
        where: the run's directory; None for what is found now.
    """

    environment: dict[str, Any]
    where: str | None = None

    def begun_with(self, other: Surroundings) -> bool:
        """Whether one command began both."""
        command = self.environment.get("command")
        return bool(command) and command == other.environment.get("command")


def recorded(directory: Path) -> Surroundings | None:
    """Return what a run's record says of its environment; None if it says nothing."""
    try:
        content = parse_json(read_bytes(directory / CONFIG_FILE, MAX_CONFIG_BYTES))
    except (ConfigError, ValueError):
        return None
    found = content.get("environment") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not _is_flat(found, MAX_NESTED):
        return None
    return Surroundings(found, str(directory))


def _is_flat(value: Any, depth: int) -> bool:
    """Whether data are nested no deeper than ours; comparing and sending them is recursive."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_flat(part, depth - 1) for part in inner)


def require_one(task: str, found: Surroundings, known: Sequence[Surroundings]) -> list[str]:
    """Raise unless `found` is the environment that runs are known to have been trained on.

    Args:
        task: its name.
        found: what is asked about.
        known: what others were trained on.

    Returns:
        What a person should know all the same, one line each.

    Raises:
        EnvironmentMismatch: if it is another one; what differs is named.
    """
    pairs = itertools.combinations([*known, found], 2)
    differing = next((text for a, b in pairs if (text := _unrepeatable(a, b))), None)
    notes: dict[str, None] = {}
    if differing:
        notes[
            f"task {task!r} behaves differently in every process ({differing}); its runs are not "
            "of one environment, and a change of its behaviour will not be noticed"
        ] = None
    for other in known:
        comparison = _compare(other, found)
        if why := comparison.decisive(repeatable=differing is None):
            raise EnvironmentMismatch(_refusal(task, other, found, why))
        for text in comparison.mild():
            notes[f"task {task!r}: {text}; it is taken for the recorded environment"] = None
    return list(notes)


def _unrepeatable(one: Surroundings, other: Surroundings) -> str | None:
    """Say how the same code behaved differently in two processes of one command, if it did."""
    if not one.begun_with(other):
        return None
    found = compare(one.environment, other.environment, ("in one", "in another"))
    return None if found.description or found.constructor else found.behaviour


def _compare(other: Surroundings, found: Surroundings) -> Comparison:
    words = ("recorded", "now")
    if found.where is not None:
        words = (f"in {_short(other.where)}", f"in {_short(found.where)}")
    return compare(other.environment, found.environment, words)


def _short(where: str | None) -> str:
    """Return the variant and the seed of a run's directory."""
    return "/".join(Path(where or "").parts[-2:])


def _refusal(task: str, other: Surroundings, found: Surroundings, why: str) -> str:
    if found.where is None:
        return (
            f"task {task!r} is not the environment that {one_line(other.where)} was trained on "
            f"({why}); {ADVICE}"
        )
    return (
        f"{one_line(other.where)} and {one_line(found.where)} were trained on two environments, "
        f"both named {task!r} ({why}); {ADVICE}"
    )
