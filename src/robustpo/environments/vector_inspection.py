"""What a vector environment says of itself: whether it will do, its sizes, and how it resets."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from robustpo.base.files import one_line
from robustpo.environments.base import TaskSpec
from robustpo.environments.constructors import is_registered, task_name
from robustpo.environments.entry_fingerprint import brief
from robustpo.environments.fence import Fence
from robustpo.environments.inspection import describe_task, layout_of, prepare
from robustpo.environments.requirements import require_spaces
from robustpo.environments.wrappers import layers, require_stateless
from robustpo.errors import ConfigError

Task = Any


def is_vector(made: object) -> bool:
    """Whether what a constructor made is a vector environment."""
    return isinstance(made, VectorEnv)


def inspect_vector(task: Task, made: VectorEnv) -> TaskSpec:
    """Read the sizes and limits of a vector that a task's constructor made, and close it.

    Raises:
        ConfigError: as `VectorEnvironment` does.
    """
    name = task_name(task)
    fence = Fence(name)
    try:
        if type(made) is SyncVectorEnv:
            env = prepare(fence, made.envs[0])
            with fence.reading():
                return replace(describe_task(name, task, env), num_envs=made.num_envs)
        with fence.reading():
            require_vector(name, made)
            return describe_vector(name, task, made)
    finally:
        fence.close(made)


def require_vector(name: str, env: VectorEnv) -> None:
    """Raise `ConfigError` unless a vector's environments are those of a continuous control task.

    They have to be alike: one agent learns from all of them.
    """
    count = getattr(env, "num_envs", None)
    if not isinstance(count, int | np.integer) or count < 1:
        raise ConfigError(
            f"task {name!r} has num_envs={one_line(count)}, expected a whole number from 1 on"
        )
    require_stateless(name, env)
    single = {
        kind: getattr(env, f"single_{kind}", None) for kind in ("observation_space", "action_space")
    }
    require_spaces(name, SimpleNamespace(**single))
    for kind, space in single.items():
        _require_batch(name, kind, space, getattr(env, kind, None), int(count))
    autoreset_mode(name, env)


def autoreset_mode(name: str, env: VectorEnv) -> AutoresetMode:
    """Return how a vector environment resets those of its environments whose episodes end.

    Raises:
        ConfigError: if it does not say so; which rows are to be learned from depends on it.
    """
    said = (getattr(env, "metadata", None) or {}).get("autoreset_mode")
    for mode in AutoresetMode:
        if said is mode or said in (mode.name, mode.value):
            return mode
    raise ConfigError(
        f"task {name!r} does not say how it resets: metadata['autoreset_mode'] is "
        f"{one_line(repr(said))}; set it to one of gymnasium.vector.AutoresetMode (NEXT_STEP: the "
        "step after an end only resets; SAME_STEP: the ending step resets and returns final_obs in "
        "info; DISABLED: reset(options={'reset_mask': ...}) does)"
    )


def describe_vector(name: str, task: Task, env: VectorEnv) -> TaskSpec:
    """Return the sizes and limits of a vector environment that `require_vector` has let through."""
    bounds: Any = env.single_action_space
    single = env.single_observation_space
    plain = isinstance(single, spaces.Box) and len(single.shape) == 1
    return TaskSpec(
        id=name,
        suite="Gymnasium" if isinstance(task, str) and is_registered(task) else "Custom",
        observation_size=spaces.flatdim(single),
        action_low=tuple(float(bound) for bound in bounds.low.ravel()),
        action_high=tuple(float(bound) for bound in bounds.high.ravel()),
        episode_limit=_episode_limit(env),
        simulator="vector",
        layout=None if plain else layout_of(single),
        num_envs=int(env.num_envs),
    )


def describe_classes(env: VectorEnv) -> dict[str, Any]:
    """Return what a vector is made of, as plain data."""
    chain = list(layers(env))
    return {
        "class": type(chain[-1]).__qualname__,
        "wrappers": [type(layer).__qualname__ for layer in chain[:-1]],
        "environments": int(env.num_envs),
        "arguments": {} if env.spec is None else {k: brief(v) for k, v in env.spec.kwargs.items()},
    }


def _require_batch(name: str, kind: str, single: Any, batch: Any, count: int) -> None:
    """Raise `ConfigError` if the space of all environments is not that of one, repeated."""
    if not isinstance(batch, spaces.Box) or not isinstance(single, spaces.Box):
        return
    alike = batch.shape == (count, *single.shape)
    if alike and kind == "action_space":
        alike = all(
            np.array_equal(rows, np.broadcast_to(own, rows.shape))
            for rows, own in ((batch.low, single.low), (batch.high, single.high))
        )
    if not alike:
        raise ConfigError(
            f"task {name!r} is a vector of environments with unequal spaces: {kind} is "
            f"{one_line(batch, 120)}, single_{kind} {one_line(single, 120)}; one agent learns from "
            f"all {count}, so give each of them the same space"
        )


def _episode_limit(env: VectorEnv) -> int | None:
    limits = [] if env.spec is None else [env.spec.max_episode_steps]
    limits += [getattr(layer, "max_episode_steps", None) for layer in layers(env)]
    known = [int(n) for n in limits if isinstance(n, int | np.integer) and n > 0]
    return min(known, default=None)
