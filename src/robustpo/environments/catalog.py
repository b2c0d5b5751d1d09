"""Every task that robustpo knows by name.

Importing this module imports no simulator (EnvPool alone takes three seconds): `suites.py` holds
sizes and bounds as data, and `tests/environments/test_catalog.py` holds them against the
simulators.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from robustpo.environments.base import TaskSpec
from robustpo.environments.entry import Entry
from robustpo.environments.suites import entries
from robustpo.environments.task_arguments import split_arguments
from robustpo.errors import ConfigError

# Before the id of a task: the benchmark's own implementation of it.
GYMNASIUM_PREFIX = "gymnasium/"

CATALOG: dict[str, Entry] = {entry.id: entry for entry in entries()}


def find(task_id: str) -> Entry | None:
    """Return the entry of a task, or None if the catalog has no such name."""
    return CATALOG.get(task_id)


def published(task: str) -> Entry | None:
    """Return the entry of a task, in whichever simulator and however it is made, or None."""
    return find(split_arguments(task)[0].removeprefix(GYMNASIUM_PREFIX))


def spec(entry: Entry) -> TaskSpec:
    """Return sizes and limits of a catalogued task without touching its simulator."""
    return TaskSpec(
        id=entry.id,
        suite=entry.suite,
        observation_size=entry.observation_size,
        action_low=entry.action_low,
        action_high=entry.action_high,
        episode_limit=entry.episode_limit,
        simulator=entry.simulator,
        layout=_layout(entry),
    )


def _layout(entry: Entry) -> tuple[Any, ...] | None:
    parts = tuple((name, ("box", (size,))) for name, size in entry.observation)
    return None if [name for name, _ in parts] == ["obs"] else ("dict", parts)


def nearest(task_id: str, others: Iterable[str] = ()) -> list[str]:
    """Return up to three known names closest to `task_id`, among the catalog and `others`.

    Case, and a prefix or version that was forgotten, do not count against a name, so that
    `walker-walk` finds `dm_control/walker-walk-v0`.
    """
    known = {**dict.fromkeys(others), **dict.fromkeys(CATALOG)}
    by_core: dict[str, list[str]] = {}
    for name in known:
        by_core.setdefault(_core(name), []).append(name)
    core = _core(task_id)
    cores = [core] if core in by_core else difflib.get_close_matches(core, by_core, cutoff=0.6)
    found = [name for near in cores for name in sorted(by_core[near], key=_preference)]
    if core in by_core and found[0] in CATALOG:
        found = [name for name in found if name in CATALOG]
    return found[:3]


def unknown_task(task: str, others: Iterable[str] = ()) -> ConfigError:
    """Return the error for a task that neither the catalog nor `others` name."""
    near = nearest(task, others)
    guess = f"; did you mean {' or '.join(near)}?" if near else ";"
    return ConfigError(f"unknown task {task!r}{guess} `robustpo envs` lists all")


def _preference(name: str) -> tuple[bool, bool, int]:
    """Sort names that differ in namespace and version: catalogued, plain, newest first."""
    version = name.rpartition("-v")[2]
    return name not in CATALOG, "/" in name, -int(version) if version.isdigit() else 0


def _core(task_id: str) -> str:
    """Strip namespace and version and fold case: `dm_control/walker-walk-v0` → `walkerwalk`."""
    stem = task_id.rsplit("/", 1)[-1].lower()
    head, _, version = stem.rpartition("-v")
    stem = head if head and version.isdigit() else stem
    return "".join(letter for letter in stem if letter.isalnum())
