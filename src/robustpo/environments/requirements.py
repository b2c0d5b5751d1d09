"""What an environment has to be, and to say of itself, so that it can be trained on."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from robustpo.base.files import one_line
from robustpo.errors import ConfigError

SPACES = ("observation_space", "action_space")


def require_environment(name: str, made: object) -> gymnasium.Env:
    """Return what a constructor made if it is one Gymnasium environment.

    Raises:
        ConfigError: if it is anything else, or a wrapper around nothing.
    """
    if isinstance(made, gymnasium.Env):
        require_wrapped(name, made)
        return made
    kind = type(made)
    text = (
        f"task {name!r} returned {kind.__name__}, expected a gymnasium.Env, a "
        "gymnasium.vector.VectorEnv or a "
    )
    if all(callable(getattr(made, method, None)) for method in ("reset", "step")) or all(
        hasattr(made, space) for space in SPACES
    ):
        advice = (
            "robustpo.JaxTask; it looks like an environment of another package, such as the older "
            "gym: derive it from gymnasium.Env, with reset(seed) that returns two things and step "
            "that returns five"
        )
    else:
        advice = "robustpo.JaxTask; return the environment itself, not a list of them"
    raise ConfigError(text + advice)


def require_spaces(name: str, env: Any) -> None:
    """Raise `ConfigError` unless what has two spaces has continuous actions, observes vectors."""
    for kind in SPACES:
        _require_space(name, kind, getattr(env, kind, None))
    _require_continuous(name, env.action_space)
    _require_vectors(name, env.observation_space)
    for what, space in (("actions", env.action_space), ("observations", env.observation_space)):
        if spaces.flatdim(space) == 0:
            raise ConfigError(
                f"task {name!r} has no {what}: {one_line(space)} is empty; give it at least one "
                "number"
            )


def require_wrapped(name: str, env: gymnasium.Env) -> None:
    """Raise `ConfigError` if an environment is a wrapper around nothing."""
    while isinstance(env, gymnasium.Wrapper):
        if not hasattr(env, "env") or not hasattr(env, "_action_space"):
            raise ConfigError(
                f"task {name!r} returned the wrapper {type(env).__name__}, which wraps nothing; "
                "call super().__init__(env) in its __init__"
            )
        env = env.env


def _require_space(name: str, kind: str, space: object) -> None:
    if space is None:
        raise ConfigError(
            f"task {name!r} has no {kind}; set it in the class or in __init__, not in reset()"
        )
    if not isinstance(space, spaces.Space):
        source = f"{type(space).__module__}.{type(space).__qualname__}"
        raise ConfigError(
            f"task {name!r} has {kind} {one_line(space)} of type {source}, which is no space of "
            "gymnasium; take it from gymnasium.spaces (the older gym's are another package's)"
        )


def _require_continuous(name: str, space: spaces.Space) -> None:
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return
    kind = "an integer" if isinstance(space, spaces.Box) else "a discrete"
    if isinstance(space, spaces.Dict | spaces.Tuple):
        kind = "a composite"
    raise ConfigError(
        f"task {name!r} has {kind} action space, {one_line(space)}; robustpo trains continuous "
        "actions only: choose a task with a Box of floats, such as Pendulum-v1, or wrap this one"
    )


def _require_vectors(name: str, space: spaces.Space) -> None:
    for leaf in _leaves(space):
        if not isinstance(leaf, spaces.Box | spaces.Discrete | spaces.MultiDiscrete):
            if not isinstance(leaf, spaces.MultiBinary):
                raise ConfigError(
                    f"task {name!r} observes {one_line(leaf)}, which has no fixed length; "
                    "robustpo needs vectors: wrap the task so that it returns a Box"
                )
        elif isinstance(leaf, spaces.Box) and _is_image(leaf):
            raise ConfigError(
                f"task {name!r} observes images of shape {leaf.shape} and type {leaf.dtype}; "
                "robustpo's networks read vectors: choose a task with state observations"
            )


def _leaves(space: Any) -> list[Any]:
    if isinstance(space, spaces.Dict):
        return [leaf for part in space.spaces.values() for leaf in _leaves(part)]
    if isinstance(space, spaces.Tuple):
        return [leaf for part in space.spaces for leaf in _leaves(part)]
    return [space]


def _is_image(space: spaces.Box) -> bool:
    rank = len(space.shape)
    return rank >= 3 or (rank == 2 and space.dtype == np.uint8)
