"""What environments say, as `info`, of the episodes that end: numbers by name.

Numbers of a dictionary within are named `episode/r`. What is missing is missing, and never zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robustpo.environments.batches import to_numpy
from robustpo.environments.fence import WrongAnswer

# Under which names environments that reset themselves in the same step return the observation that
# an episode ended on: Gymnasium's since 1.0, and before. What was said of it is beside it.
FINAL_OBSERVATION = ("final_obs", "final_observation")
FINAL_INFORMATION = "final_info"
# What a vector's statistics wrapper reports of an episode, of the one that has just ended.
STATISTICS = "episode"
# Other people's tools know these, and they say nothing of how an episode went: `episode/t` is the
# time of day.
_NO_METRICS = {*FINAL_OBSERVATION, FINAL_INFORMATION, "terminal_observation", "episode/t"}

MAX_NAMES = 64
MAX_LENGTH = 80


@dataclass(frozen=True)
class Information:
    """What was said of episodes that have ended.

    Attributes:
        index: of the environment of each, `[n]`.
        values: by name, `[n]` float64; NaN where an episode's environment did not say it.
        texts: names of what is text, which is no metric.
    """

    index: np.ndarray
    values: Mapping[str, np.ndarray]
    texts: frozenset[str] = field(default_factory=frozenset)


def of_one(info: Any, index: int) -> Information | None:
    """Return what one environment said as its episode ended; None if it was nothing."""
    values: dict[str, np.ndarray] = {}
    texts = set()
    for name, value in _named(info):
        if isinstance(value, str):
            texts.add(name)
        elif (number := _number(value)) is not None and len(values) < MAX_NAMES:
            values[name] = np.array([number])
    return Information(np.array([index]), values, frozenset(texts)) if values or texts else None


def of_batch(info: Any, ended: np.ndarray) -> Information | None:
    """Return what a vector environment said of its environments whose episodes ended.

    Values are arrays of one entry for each environment; where a mask `_name` lies beside one, an
    entry outside it was not said.

    Args:
        info: what the step returned.
        ended: which have ended, `[E]`.
    """
    if not ended.any():
        return None
    which = np.flatnonzero(ended)
    if isinstance(info, list | tuple) and len(info) == len(ended):
        own = [i.get(FINAL_INFORMATION, i) if isinstance(i, Mapping) else {} for i in info]
        return _of_many(own, which)
    if not isinstance(info, Mapping):
        return None
    said = info
    final = info.get(FINAL_INFORMATION)
    if final is not None:
        if not isinstance(final, Mapping):
            return _of_many(final, which)
        # What lies beside it is said of the episodes that have begun, but for the statistics.
        said = {key: info[key] for key in (STATISTICS, f"_{STATISTICS}") if key in info} | {**final}
    values: dict[str, np.ndarray] = {}
    texts: set[str] = set()
    for name, value, mask in _masked(said, np.ones(len(ended), bool)):
        found = _entries(value, len(ended))
        if found is None:
            if _is_text(value):
                texts.add(name)
        elif (mask & ended).any() and len(values) < MAX_NAMES:
            values[name] = np.where(mask & np.isfinite(found), found, np.nan)[which]
    return Information(which, values, frozenset(texts)) if values or texts else None


def _of_many(infos: Any, which: np.ndarray) -> Information | None:
    """Put together what a sequence of dictionaries, one for each environment, says."""
    single = [of_one(infos[i], 0) for i in which]
    names = list(dict.fromkeys(name for one in single if one for name in one.values))[:MAX_NAMES]
    nothing = np.array([np.nan])
    values = {
        name: np.concatenate([one.values.get(name, nothing) if one else nothing for one in single])
        for name in names
    }
    texts = frozenset(name for one in single if one for name in one.texts)
    return Information(which, values, texts) if values or texts else None


def _named(info: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(info, Mapping):
        return
    for key, value in info.items():
        name = f"{prefix}{key}"
        if {key, name} & _NO_METRICS or not is_name(name):
            continue
        if isinstance(value, Mapping):
            if not prefix:
                yield from _named(value, f"{name}/")
        else:
            yield name, value


def _masked(
    info: Mapping[Any, Any], outer: np.ndarray, prefix: str = ""
) -> Iterator[tuple[str, Any, np.ndarray]]:
    for key, value in info.items():
        name = f"{prefix}{key}"
        if {key, name} & _NO_METRICS or not is_name(name) or str(key).startswith("_"):
            continue
        mask = outer & _mask(info.get(f"_{key}"), outer)
        if isinstance(value, Mapping):
            if not prefix:
                yield from _masked(value, mask, f"{name}/")
        else:
            yield name, value, mask


def _mask(given: Any, outer: np.ndarray) -> np.ndarray:
    if given is None:
        return np.ones_like(outer)
    try:
        found = to_numpy(given)
    except WrongAnswer:
        return np.ones_like(outer)
    return found.astype(bool) if found.shape == outer.shape else np.ones_like(outer)


def _entries(value: Any, count: int) -> np.ndarray | None:
    """Return one number for each environment, None if a value is not that."""
    if isinstance(value, str | bytes) or value is None:
        return None
    if count == 1 and (number := _number(value)) is not None:
        return np.array([number])
    try:
        found = to_numpy(value)
    except WrongAnswer:
        if not isinstance(value, np.ndarray) or value.shape != (count,):
            return None
        numbers = [_number(entry) for entry in value]
        if all(number is None for number in numbers):
            return None
        return np.array([np.nan if number is None else number for number in numbers])
    if found.shape not in ((count,), (count, 1)) or found.dtype.kind not in "biuf":
        return None
    return found.reshape(count).astype(np.float64)


def _number(value: Any) -> float | None:
    """Return a finite number, or an array of one, as Python's; None for anything else."""
    if isinstance(value, str | bytes | Mapping) or value is None:
        return None
    try:
        found = to_numpy(value)
    except WrongAnswer:
        return None
    if found.size != 1 or found.dtype.kind not in "biuf" or not np.isfinite(found).all():
        return None
    return float(found.reshape(()))


def _is_text(value: Any) -> bool:
    if isinstance(value, np.ndarray) and value.dtype == object:
        said = [entry for entry in value.ravel() if entry is not None]
        return bool(said) and all(isinstance(entry, str) for entry in said)
    return isinstance(value, str) or (isinstance(value, np.ndarray) and value.dtype.kind == "U")


def is_name(name: object) -> bool:
    """Whether something may be what an environment calls a number."""
    if not isinstance(name, str) or name != name.strip():
        return False
    return name.isprintable() and 0 < len(name) <= MAX_LENGTH
