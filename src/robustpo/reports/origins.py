"""With which versions and processors runs were made, where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line
from robustpo.runs.record import CONFIG_FILE
from robustpo.runs.run_files import as_dict, read_object

UNKNOWN = "unknown"


def differing_origins(directories: Iterable[Path]) -> list[str]:
    """Say in which versions and instruction sets runs differ; nothing if in none.

    Runs agree to the last bit only where these are equal.
    """
    began, moved = [], 0
    for directory in directories:
        config = read_object(directory / CONFIG_FILE) or {}
        first = _origin(config, as_dict(config.get("machine")))
        later = config.get("resumed")
        entries = later if isinstance(later, list) else []
        moved += any(_origin(e, e) != first for e in entries if isinstance(e, dict))
        began.append(first)
    found = []
    for name in dict.fromkeys(name for origin in began for name in origin):
        counts = Counter(origin.get(name, UNKNOWN) for origin in began)
        if len(counts) > 1:
            words = ", ".join(f"{value} ({_runs(count)})" for value, count in counts.most_common())
            found.append(f"{name} {words}")
    sentences = []
    if found:
        sentences.append(f"Not all runs were made with the same: {'; '.join(found)}.")
    if moved:
        sentences.append(f"{_runs(moved)} went on under other versions than they began with.")
    return sentences


def _origin(versions: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, str]:
    """Return versions by package, and the instruction set, as text."""
    known = as_dict(versions.get("versions"))
    origin = {one_line(name, 40): one_line(version, 40) for name, version in known.items()}
    instructions = machine.get("instruction_set")
    if isinstance(instructions, list):
        origin["instruction set"] = one_line(" ".join(map(str, instructions)), 80) or UNKNOWN
    return origin


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"
