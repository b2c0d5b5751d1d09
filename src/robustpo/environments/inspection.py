"""What a Gymnasium environment that was made says of itself: whether it will do, and its sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from robustpo.environments.base import TaskSpec
from robustpo.environments.constructors import is_registered, task_name
from robustpo.environments.fence import Fence
from robustpo.environments.requirements import require_environment, require_spaces
from robustpo.environments.wrappers import require_stateless

Task = str | Callable[[], Any]


def inspect(task: Task, made: object) -> TaskSpec:
    """Read the sizes and limits of an environment that a task's constructor made, and close it.

    Raises:
        ConfigError: as `GymnasiumEnvironment` does.
    """
    name = task_name(task)
    fence = Fence(name)
    env = prepare(fence, made)
    try:
        with fence.reading():
            return describe_task(name, task, env)
    finally:
        fence.close(env)


def prepare(fence: Fence, made: object) -> gymnasium.Env:
    """Return an environment with a flat observation, or say in one line why it will not do.

    Raises:
        ConfigError: if its spaces are not those of a continuous control task on vectors.
    """
    with fence.reading():
        env = require_environment(fence.task, made)
    try:
        with fence.reading():
            require_stateless(fence.task, env)
            require_spaces(fence.task, env)
            shape = env.observation_space.shape
            if isinstance(env.observation_space, spaces.Box) and len(shape or ()) == 1:
                return env
            return gymnasium.wrappers.FlattenObservation(env)
    except BaseException:
        fence.close(env)
        raise


def describe_task(name: str, task: Task, env: gymnasium.Env) -> TaskSpec:
    """Return the sizes and limits of an environment that `prepare` has let through."""
    bounds = box_of_actions(env)
    return TaskSpec(
        id=name,
        suite="Gymnasium" if isinstance(task, str) and is_registered(task) else "Custom",
        observation_size=int(np.prod(env.observation_space.shape or ())),
        action_low=tuple(float(bound) for bound in bounds.low.ravel()),
        action_high=tuple(float(bound) for bound in bounds.high.ravel()),
        episode_limit=_episode_limit(env),
        simulator="gymnasium",
        layout=_layout(env),
    )


def _layout(env: gymnasium.Env) -> tuple[Any, ...] | None:
    """Return how what `prepare` has flattened lies in the vector."""
    if not isinstance(env, gymnasium.wrappers.FlattenObservation):
        return None
    return layout_of(env.env.observation_space)


def layout_of(space: spaces.Space) -> tuple[Any, ...] | None:
    """Return the layout of a space (`robustpo.policy.layout`), None for one that has none."""
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return ("box", tuple(map(int, space.shape)))
    if isinstance(space, spaces.Discrete):
        return ("discrete", int(space.n), int(space.start))
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return ("multi-discrete", *(tuple(map(int, x)) for x in (space.nvec, space.start)))
    if isinstance(space, spaces.Tuple):
        parts = tuple(map(layout_of, space.spaces))
        return None if None in parts else ("tuple", parts)
    if isinstance(space, spaces.Dict):
        named = tuple((str(name), layout_of(part)) for name, part in space.spaces.items())
        return None if None in [part for _, part in named] else ("dict", named)
    return None


def box_of_actions(env: gymnasium.Env) -> spaces.Box:
    """Return the action space that `prepare` has let through."""
    return cast(spaces.Box, env.action_space)


def _episode_limit(env: gymnasium.Env) -> int | None:
    """Return the shortest time limit among the environment's wrappers and registration."""
    # What a registration says holds where its wrapper is; a spec that an environment made of itself
    # names no entry point.
    spec = env.spec
    limits = [spec.max_episode_steps] if spec is not None and spec.entry_point is None else []
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            limits.append(env._max_episode_steps)
        env = env.env
    return min((limit for limit in limits if limit is not None), default=None)
