"""Measurements on disk: a line each, appended as they come, so that nothing is measured twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from robustpo.base.files import open_regular, parse_json
from robustpo.base.json_text import to_json
from robustpo.base.writing import append_line, end_line, make_directory
from robustpo.policy.policy import MAX_BYTES
from robustpo.stress.measure import Score, Terms
from robustpo.stress.plan import Condition

POINTS = "points.jsonl"
# What acts at random has no file.
RANDOM = "random"
# What episodes depend on.
PACKAGES = (
    "robustpo",
    "envpool",
    "gymnasium",
    "dm-control",
    "mujoco",
    "pybullet",
    "jax",
    "brax",
    "playground",
    "numpy",
)


@dataclass(frozen=True)
class Key:
    """What a measurement is of; two of the same are equal.

    Attributes:
        condition: what differs.
        policy: digest of the policy's file.
        terms: how it is measured.
        versions: digest of what simulates: packages, and the code of an own environment.
        scale: digest of what noise in observations is measured in; empty where there is none.
    """

    condition: Condition
    policy: str
    terms: Terms
    versions: str
    scale: str = ""


class Store:
    """The measurements in a directory.

    Args:
        directory: where they lie.
        root: at or above it; what lies between is no link.
    """

    def __init__(self, directory: Path, root: Path) -> None:
        self.directory, self._root = directory, root
        self._known = dict(_read(directory / POINTS))
        self._begun = False

    def get(self, key: Key) -> Score | None:
        """Return a measurement, or None if there is none."""
        return self._known.get(key)

    def remember(self, scores: Iterable[tuple[Key, Score]]) -> None:
        """Know what came of measurements that the next command is to try again."""
        self._known.update(scores)

    def add(self, scores: Iterable[tuple[Key, Score]]) -> None:
        """Keep measurements.

        Raises:
            StorageError: if they cannot be written.
        """
        make_directory(self.directory, self._root)
        if not self._begun:
            end_line(self.directory / POINTS, self._root)
            self._begun = True
        for key, score in scores:
            self._known[key] = score
            line = {"policy": key.policy, "versions": key.versions, "scale": key.scale}
            line |= asdict(key.condition) | asdict(key.terms)
            append_line(self.directory / POINTS, to_json(line | asdict(score)), self._root)


def versions_digest(code: str) -> str:
    """Return what tells these packages, and this code, from what may simulate otherwise."""
    found = [code]
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name}-{metadata.version(name)}")
    return hashlib.sha256(" ".join(found).encode()).hexdigest()[:8]


def policy_digest(path: Path) -> str:
    """Return what tells the content of one policy's file from another's."""
    with open_regular(path) as file:
        return hashlib.sha256(file.read(MAX_BYTES)).hexdigest()[:16]


def _read(path: Path) -> Iterable[tuple[Key, Score]]:
    """Yield the measurements of a file; lines that are none, such as a torn last one, are none."""
    if not os.path.lexists(path):
        return
    with open_regular(path) as file:
        lines = file.read(256 * 2**20).splitlines()
    for line in lines:
        try:
            one: dict[str, Any] = parse_json(line)
            texts = {name: str(one[name]) for name in ("policy", "versions", "scale")}
            condition = Condition(str(one["task"]), str(one["shift"]), float(one["level"]))
            terms: Terms = _part(Terms, one)
            mean = None if one["mean"] is None else float(one["mean"])
            hash(terms)
            yield (
                Key(condition=condition, terms=terms, **texts),
                Score(mean, one["error"] and str(one["error"]), int(one["cut"])),
            )
        except (ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError):
            continue


def _part(kind: Any, line: dict[str, Any]) -> Any:
    return kind(**{name: line[name] for name in kind.__dataclass_fields__})
