"""Pictures that environments draw of themselves, brought to one kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from robustpo.base.files import one_line
from robustpo.errors import ConfigError

SMALLEST = 2


def as_picture(task: str, drawn: Any) -> np.ndarray:
    """Return what a `render` returned as a picture `[H, W, 3]` of uint8.

    Grey pictures, an alpha channel (which is left out), lists, floats from 0 to 1 and whole numbers
    from 0 to 255 of any type are taken as well.

    Args:
        task: what errors call the task.
        drawn: what `render` returned.

    Raises:
        ConfigError: if it is no picture, or one too small to be filmed.
    """
    try:
        picture: Any = np.asarray(drawn)
    except ValueError:
        picture = np.zeros(0, object)
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim != 3 or picture.shape[2] not in (1, 3, 4):
        kind = f"an array of shape {np.shape(picture)}" if picture.size else one_line(repr(drawn))
        raise ConfigError(
            f"task {task!r} draws {kind}, expected a picture: an array [H, W, 3] of uint8 "
            "(render_mode rgb_array)"
        )
    if min(picture.shape[:2]) < SMALLEST:
        raise ConfigError(
            f"task {task!r} draws pictures of {_size(picture)}, too small for a film; let its "
            f"render() return at least {SMALLEST}x{SMALLEST} pixels"
        )
    picture = _as_bytes(task, picture)
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture[..., :3]


def require_one_size(task: str, first: np.ndarray, picture: np.ndarray) -> None:
    """Raise `ConfigError` if a picture has not the size of the film's first."""
    if picture.shape != first.shape:
        raise ConfigError(
            f"task {task!r} draws pictures of {_size(first)} and then of {_size(picture)}; a film "
            "has one size: let its render() keep to one (no tight boxes, no resizable window)"
        )


def _as_bytes(task: str, picture: np.ndarray) -> np.ndarray:
    if picture.dtype == np.uint8:
        return picture
    numbers = picture.dtype.kind in "iuf"
    low, high = (picture.min(), picture.max()) if numbers else (np.nan, np.nan)
    if picture.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.round(picture * 255).astype(np.uint8)
    if picture.dtype.kind in "iu" and low >= 0 and high <= 255:
        return picture.astype(np.uint8)
    raise ConfigError(
        f"task {task!r} draws {picture.dtype} from {low} to {high}; expected uint8 from 0 to 255, "
        "or floats from 0 to 1"
    )


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
