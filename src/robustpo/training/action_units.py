"""The units that a policy acts in: the environment's own, or ±1 of the action's bounds.

The standard deviation of a new policy is 1 and alpha is a fixed number, whatever the environment
means by 1. Where its bounds lie far from ±1 (0 to 5,000 newtons, ±0.01 metres), both are far from
what the task needs; scaled to the bounds they are a share of the range.
"""

from __future__ import annotations

import numpy as np

from robustpo.config.shape import Shape
from robustpo.environments.base import TaskSpec
from robustpo.policy.families import FAMILIES


def action_units(spec: TaskSpec, shape: Shape) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what lies at 0 and how long 1 is in the policy's units, `[A]` float32 each.

    An action `a` of the policy is `centre + half · a` in the environment. Dimensions that lack a
    finite bound stay in the environment's own units (0 and 1).

    Returns:
        None where all units are the environment's own: nothing is scaled then, or the distribution
        is stretched onto the bounds whatever they are.
    """
    if shape.action_scale == "raw" or not FAMILIES[shape.distribution].clipped:
        return None
    low, high = np.array(spec.action_low), np.array(spec.action_high)
    bounded = np.isfinite(low) & np.isfinite(high) & (low < high)
    low, high = np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)
    centre, half = (low + high) / 2, (high - low) / 2
    if (centre == 0).all() and (half == 1).all():
        return None
    return centre.astype(np.float32), half.astype(np.float32)
