"""How an observation of several parts becomes one vector, in NumPy alone.

A layout is plain data that travels in a policy's file:

- `["box", [2, 3]]`: an array of that shape, row by row;
- `["discrete", 3, 0]`: one of three numbers from 0 on, as a one-hot vector;
- `["multi-discrete", [3, 2], [0, 0]]`: several of these, one after the other;
- `["dict", [["angle", …], ["target", …]]]`: parts by name, in this order;
- `["tuple", […, …]]`: parts by position.

The order is Gymnasium's `flatten`, of which nothing is needed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from robustpo.errors import ConfigError

Layout = list[Any]

MAX_DEPTH = 8
MAX_PARTS = 10_000


def size_of(layout: Layout) -> int:
    """Return how many numbers an observation of a layout is."""
    kind, content = layout[0], layout[1]
    if kind == "box":
        return math.prod(content)
    if kind == "discrete":
        return content
    if kind == "multi-discrete":
        return sum(content)
    return sum(size_of(part[1] if kind == "dict" else part) for part in content)


def require_layout(layout: object, size: int) -> None:
    """Raise `ConfigError` unless something read from a file is the layout of `size` numbers."""
    budget = [MAX_PARTS]
    if not _is_layout(layout, MAX_DEPTH, budget) or size_of(layout) != size:  # type: ignore[arg-type]
        raise ConfigError(f"its layout is not that of {size} observed numbers")


def flatten(layout: Layout, obs: Any) -> np.ndarray:
    """Return an observation, or a batch of them, as vectors.

    Args:
        layout: how its parts lie.
        obs: what the environment returned: an array, a number, or a dictionary or tuple of them; in
            a batch, every array has one more axis in front.

    Returns:
        `[O]` or `[B, O]`, float64.

    Raises:
        ValueError: if it is not of that layout; the part is named.
    """
    parts: list[np.ndarray] = []
    _collect(layout, obs, "obs", parts)
    batches = {part.shape[:-1] for part in parts}
    if len(batches) > 1:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ValueError(f"obs has parts of different batches: {shapes}")
    return np.concatenate(parts, axis=-1)


def text_of(layout: Layout) -> str:
    """Say what a layout takes, in a few words."""
    kind, content = layout[0], layout[1]
    if kind == "dict":
        return "{" + ", ".join(f"{name}: {text_of(part)}" for name, part in content) + "}"
    if kind == "tuple":
        return "(" + ", ".join(map(text_of, content)) + ")"
    if kind == "discrete":
        return f"one of {content}"
    if kind == "box":
        return str(list(content)) if content else "a number"
    return f"one of {' × '.join(map(str, content))}"


def _collect(layout: Layout, obs: Any, name: str, parts: list[np.ndarray]) -> None:
    kind, content = layout[0], layout[1]
    if kind == "dict":
        if not isinstance(obs, Mapping):
            raise ValueError(f"{name} is {_kind(obs)}, expected a dictionary {text_of(layout)}")
        for key, part in content:
            if key not in obs:
                raise ValueError(f"{name} has no {key!r}, expected {text_of(layout)}")
            _collect(part, obs[key], f"{name}[{key!r}]", parts)
    elif kind == "tuple":
        if not isinstance(obs, tuple | list) or len(obs) != len(content):
            raise ValueError(f"{name} is {_kind(obs)}, expected a tuple {text_of(layout)}")
        for index, part in enumerate(content):
            _collect(part, obs[index], f"{name}[{index}]", parts)
    elif kind == "box":
        array = np.asarray(obs, np.float64)
        rank, shape = len(content), tuple(content)
        # dm_control has numbers where its specification, without their shapes, has one number.
        if shape == (1,) and not array.ndim:
            array = array.reshape(1)
        if array.ndim not in (rank, rank + 1) or array.shape[array.ndim - rank :] != shape:
            raise ValueError(f"{name} has shape {array.shape}, expected {shape} or a batch of it")
        parts.append(array.reshape(*array.shape[: array.ndim - rank], math.prod(shape)))
    elif kind == "discrete":
        parts.append(_one_hot(np.asarray(obs), content, layout[2], name))
    else:
        array = np.asarray(obs)
        if array.ndim not in (1, 2) or array.shape[-1] != len(content):
            raise ValueError(f"{name} has shape {array.shape}, expected ({len(content)},)")
        hot = [
            _one_hot(array[..., i], count, start, f"{name}[{i}]")
            for i, (count, start) in enumerate(zip(content, layout[2], strict=True))
        ]
        parts.append(np.concatenate(hot, axis=-1))


def _one_hot(array: np.ndarray, count: int, start: int, name: str) -> np.ndarray:
    index = array - start if array.dtype.kind in "iuf" else np.array(-1)
    if array.ndim > 1 or not np.all((index >= 0) & (index < count) & (index == np.floor(index))):
        raise ValueError(
            f"{name} is {array}, expected a whole number from {start} to {start + count - 1}"
        )
    return np.eye(count)[index.astype(int)]


def _kind(obs: object) -> str:
    return f"an array {obs.shape}" if isinstance(obs, np.ndarray) else f"a {type(obs).__name__}"


def _is_layout(layout: object, depth: int, budget: list[int]) -> bool:
    budget[0] -= 1
    if not isinstance(layout, list) or len(layout) < 2 or depth < 0 or budget[0] < 0:
        return False
    kind, content, *rest = layout
    if kind == "box":
        return not rest and _are_counts(content, least=0)
    if kind == "discrete":
        return len(rest) == 1 and _are_counts([content]) and type(rest[0]) is int
    if kind == "multi-discrete":
        starts = rest[0] if len(rest) == 1 else None
        if not isinstance(starts, list) or not all(type(start) is int for start in starts):
            return False
        return _are_counts(content) and len(starts) == len(content)
    if kind == "tuple":
        whole = not rest and isinstance(content, list) and len(content) > 0
        return whole and all(_is_layout(part, depth - 1, budget) for part in content)
    if kind != "dict" or rest or not isinstance(content, list) or not content:
        return False
    named = all(isinstance(p, list) and len(p) == 2 and isinstance(p[0], str) for p in content)
    return (
        named
        and len({name for name, _ in content}) == len(content)
        and all(_is_layout(part, depth - 1, budget) for _, part in content)
    )


def _are_counts(counts: object, least: int = 1) -> bool:
    """Tell whether these are whole numbers, and neither they nor what they make is without end."""
    if not isinstance(counts, list) or len(counts) > MAX_PARTS:
        return False
    return all(type(count) is int and least <= count <= 10**6 for count in counts)
