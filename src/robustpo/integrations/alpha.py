"""The magnitude of the noise as the stacks' users write it: a number, or how it changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from robustpo.base.validation import plain, require, require_number
from robustpo.config.schedules import ALPHA, SCHEDULES, scheduled
from robustpo.errors import ConfigError

Alpha = float | Callable[[float], float]


def require_alpha(alpha: Any) -> None:
    """Raise `ConfigError` unless alpha is a number of at least 0 or a function."""
    if not callable(alpha):
        require_number("alpha", plain(alpha), 0.0)


def alpha_at(alpha: Alpha, left: float) -> float:
    """Return alpha, given the share of training that is left, from 1 to 0.

    Raises:
        ConfigError: if what a function returns is no number of at least 0.
    """
    if not callable(alpha):
        return alpha
    value = float(alpha(left))
    require(0.0 <= value < math.inf, f"alpha({left:g})", value, "a finite number of at least 0")
    return value


def require_schedule(name: str, schedule: str) -> None:
    """Raise `ConfigError` unless a schedule is one that alpha may have where σ is not known."""
    names = tuple(name for name, one in SCHEDULES.items() if ALPHA in one.of and not one.relative)
    if schedule not in names:
        raise ConfigError(f"{name}={schedule!r} is unknown; choose one of {', '.join(names)}")


def alpha_after(alpha: float, schedule: str, done: int, total: int) -> float:
    """Return alpha after `done` of `total` updates; later ones have the last value."""
    return scheduled(alpha, schedule, min(1.0, done / total) if total else 0.0)


def noise_seed(seed: int, *position: int) -> int:
    """Return the seed of the noise of one update, learner or process: nothing has to be saved."""
    words = np.random.SeedSequence([seed, *position]).generate_state(1, np.uint64)
    # PyTorch takes what a signed number can hold.
    return int(words[0] >> np.uint64(1))


def require_continuous(space: Any) -> None:
    """Raise `ConfigError` unless actions are vectors of real numbers."""
    from gymnasium import spaces

    if not isinstance(space, spaces.Box):
        raise ConfigError(
            f"action space {space} is not valid: RPO shifts the location of a distribution over "
            "real numbers; use the stack's own PPO"
        )
