"""What an environment must not be, seen on the environment itself: shared, or normalising."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import gymnasium
from gymnasium import wrappers
from gymnasium.vector import VectorWrapper

from robustpo.errors import EnvironmentMismatch

NORMALISING = (
    wrappers.NormalizeObservation,
    wrappers.NormalizeReward,
    wrappers.vector.NormalizeObservation,
    wrappers.vector.NormalizeReward,
)
# How wrappers, Gymnasium's and others, call the statistics that they keep.
STATISTICS = ("obs_rms", "return_rms", "ret_rms", "reward_rms")

# Every environment that a constructor has made in this process and that still exists, by the
# number that identifies it as long as it does.
_made: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def layers(env: Any) -> Iterator[Any]:
    """Yield the wrappers of an environment or vector from the outside in, then itself."""
    # A wrapper whose own __init__ forgot Gymnasium's wraps nothing.
    while isinstance(env, gymnasium.Wrapper | VectorWrapper) and "env" in vars(env):
        yield env
        env = env.env
    yield env


def require_new(name: str, env: Any) -> None:
    """Remember an environment; raise if a constructor has returned it before.

    Raises:
        EnvironmentMismatch: if it has, newly wrapped or not.
    """
    *_, inner = layers(env)
    if _made.get(id(inner)) is inner:
        raise EnvironmentMismatch(
            f"task {name!r}: its constructor returned the same {type(inner).__qualname__} twice, "
            "so that several agents would step one simulator; make it return a new environment "
            "every time it is called"
        )
    # What cannot be referred to weakly cannot be recognised.
    with contextlib.suppress(TypeError):
        _made[id(inner)] = inner


def require_stateless(name: str, env: Any) -> None:
    """Raise if a wrapper scales what it returns by statistics that it goes on to gather.

    Raises:
        EnvironmentMismatch: if one does; it is named.
    """
    for layer in layers(env):
        kept = any(vars(layer).get(word) is not None for word in STATISTICS)
        normalises = kept or isinstance(layer, NORMALISING)
        if normalises and _gathers(layer):
            raise EnvironmentMismatch(
                f"task {name!r} is wrapped in {type(layer).__name__}, which scales by running "
                "statistics of its own: they drift while it trains, and evaluation would begin "
                "others; remove the wrapper, robustpo normalises observations and rewards itself "
                "and keeps the statistics with the policy"
            )


def _gathers(layer: Any) -> bool:
    """Whether statistics are still gathered; wrappers can be told to stop."""
    return all(getattr(layer, word, True) for word in ("update_running_mean", "training"))
