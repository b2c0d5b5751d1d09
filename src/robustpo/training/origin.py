"""Where an agent's observations begin: what is subtracted before they are rounded to float32.

A position in a national grid (5,500,000 m) or a Unix time lies so far from zero that float32 keeps
nothing of how it changes. The first observation of an agent's first simulator, which depends on the
agent's seed alone, stands for zero there.
"""

from __future__ import annotations

import numpy as np

from robustpo.config.shape import Shape

# Up to here a float32 tells apart what is 1e-4 apart: ordinary observations stay as they are.
FAR = 1024.0


def origin_of(first: np.ndarray) -> np.ndarray:
    """Return the origin `[O]` of an agent whose first observation is `first`, float64.

    A float32 itself, and 0 wherever the observation is not far from zero.
    """
    with np.errstate(over="ignore"):
        near = np.asarray(first).astype(np.float32)
    far = np.isfinite(near) & (np.abs(near) >= FAR)
    return np.where(far, near, np.float32(0))


def takes_origin(shape: Shape) -> bool:
    """Return whether agents are given normalised observations, whose zero is theirs to choose."""
    raw_scaled = shape.augmentation != "none" and shape.augmentation_of == "raw"
    return shape.normalize_observations and not raw_scaled
