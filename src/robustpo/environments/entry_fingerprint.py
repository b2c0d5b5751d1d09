"""What is known of a catalogued task without making it, and how that is written down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from robustpo.environments.availability import PACKAGES
from robustpo.environments.callables import describe, digest
from robustpo.environments.entry import Entry

# Bounds and arguments beyond this length are recorded as a digest.
MAX_TEXT = 120
DIGITS = 16


def of_entry(entry: Entry) -> dict[str, Any]:
    """Return what is known of a catalogued task."""
    description = {
        "observation": dict(entry.observation),
        "action": interval(entry.action_low, entry.action_high),
        "time limit": entry.episode_limit,
        "source": entry.source,
        "arguments": {name: brief(value) for name, value in entry.options.items()},
    }
    names = PACKAGES.get(entry.simulator, ()) + PACKAGES.get(entry.extra or "", ())
    return {"description": description, "packages": versions(names)}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for name in sorted(set(packages)):
        try:
            found[name] = metadata.version(name)
        except (metadata.PackageNotFoundError, ValueError):
            continue
    return found


def interval(low: Sequence[float], high: Sequence[float]) -> str:
    """Write down the bounds of a vector."""
    return f"{len(low)} from {bounds(np.array(low))} to {bounds(np.array(high))}"


def bounds(bound: np.ndarray) -> str:
    """Write down bounds; once, if they are equal."""
    values = [f"{value:.7g}" for value in bound.ravel().tolist()]
    return values[0] if len(set(values)) == 1 else shortened(" ".join(values))


def brief(value: Any) -> str:
    """Describe an argument."""
    return shortened(describe(value))


def shortened(text: str) -> str:
    """Return a text, or its beginning and its digest if it is long."""
    return text if len(text) <= MAX_TEXT else f"{text[:40]}… ({digest(text)[:DIGITS]})"
