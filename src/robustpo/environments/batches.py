"""Between batches of other people's simulators, arrays and tensors of any library, and NumPy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from robustpo.base.files import one_line
from robustpo.environments.fence import WrongAnswer

Leaf = Callable[[Any], Any]


def to_numpy(value: Any) -> np.ndarray:
    """Return an array, a tensor or a list of numbers as NumPy's, wherever it lies.

    A tensor may require gradients, be strided, or lie on an accelerator, from which it is copied.

    Raises:
        WrongAnswer: if it is nothing of the kind.
    """
    for method in ("detach", "cpu"):
        if callable(getattr(value, method, None)):
            value = getattr(value, method)()
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value, device="cpu")
        try:
            found = np.asarray(value)
        except TypeError:
            # PyTorch's bfloat16, which NumPy does not have.
            found = np.asarray(value.float())
    except Exception as error:
        raise WrongAnswer(f"returned {_kind(value)}, which is no array") from error
    if found.dtype == object:
        raise WrongAnswer(f"returned {_kind(value)}, which is no array of numbers")
    return found


def map_leaves(function: Leaf, tree: Any) -> Any:
    """Apply a function to the leaves of an observation: of dictionaries and tuples."""
    if isinstance(tree, Mapping):
        return {key: map_leaves(function, part) for key, part in tree.items()}
    if isinstance(tree, tuple):
        return tuple(map_leaves(function, part) for part in tree)
    return function(tree)


def first_leaf(tree: Any) -> Any:
    """Return the first leaf of an observation, None if it has none."""
    while isinstance(tree, Mapping | tuple):
        if not tree:
            return None
        tree = next(iter(tree.values() if isinstance(tree, Mapping) else tree))
    return tree


def like(array: np.ndarray, example: Any) -> Any:
    """Return an array as the kind of which an example is: a tensor of PyTorch, or NumPy's."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(example, torch.Tensor):
        return array
    return torch.from_numpy(array).to(example.device)


def column(value: Any, count: int, name: str, dtype: type) -> np.ndarray:
    """Return one number of each environment, `[E]`, copied.

    Raises:
        WrongAnswer: if it is not that.
    """
    array = to_numpy(value)
    if array.size != count or array.shape[:1] != (count,):
        raise WrongAnswer(
            f"returned {name} of shape {list(array.shape)}, expected one for each of {count} "
            "environments"
        )
    if dtype is bool and array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise WrongAnswer(f"returned {name} {one_line(array, 80)}, expected booleans")
    return array.reshape(count).astype(dtype)


def _kind(value: Any) -> str:
    return f"a {type(value).__name__} ({one_line(repr(value), 60)})"
