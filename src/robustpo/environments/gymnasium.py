"""Any Gymnasium environment, stepped from the host.

A task is a registered id (`Pendulum-v1`, or `package:Id-v0` to import the package that registers
it), `module:callable`, or a Python callable that returns a `gymnasium.Env`. Wrappers that the
constructor applies are kept. Dictionaries and tuples of observations are flattened by Gymnasium's
own wrapper; action spaces of any shape are presented as a flat vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from robustpo.environments.base import HostEnvironment, Step, TaskSpec
from robustpo.environments.constructors import (
    find_constructor,
    is_registered,
    one_line,
    task_name,
)
from robustpo.errors import ConfigError

Task = str | Callable[[], gymnasium.Env]


class GymnasiumEnvironment(HostEnvironment):
    """`N` copies of a Gymnasium environment, stepped one after another.

    An episode's end is followed by a step that only resets (`AutoresetMode.NEXT_STEP`), as in
    EnvPool; that row is not `valid`.

    Args:
        task: id, `module:callable` or constructor.
        env_seeds: one seed per environment, given to its first reset; later episodes go on with
            the random stream that it began.

    Raises:
        ConfigError: if the task is unknown, its constructor fails, or its spaces are not those of
            a continuous control task on vectors.
    """

    def __init__(self, task: Task, env_seeds: Sequence[int]) -> None:
        self._seeds = [int(seed) for seed in env_seeds]
        if not self._seeds or min(self._seeds) < 0:
            raise ConfigError(
                f"env_seeds={self._seeds} is not valid; give one whole number or more from 0 on"
            )
        name, constructor = task_name(task), find_constructor(task)
        try:
            self._vector = SyncVectorEnv(
                [lambda: _build(name, constructor)] * len(self._seeds),
                observation_mode="different",
                autoreset_mode=AutoresetMode.NEXT_STEP,
            )
        except RuntimeError as error:
            raise ConfigError(
                f"task {name!r} builds environments that differ: {one_line(error)}; make its "
                "constructor return equal spaces every time"
            ) from error
        self.num_envs = len(self._seeds)
        self.spec = _describe(name, task, self._vector.envs[0])
        self._action_space = _action_space(self._vector.envs[0])
        self._seeded = False
        self._ended = np.zeros(self.num_envs, dtype=bool)

    def reset(self) -> np.ndarray:
        """Reset all environments; a second call begins the next episodes of the same streams."""
        obs, _ = self._vector.reset(seed=None if self._seeded else list(self._seeds))
        self._seeded = True
        self._ended = np.zeros(self.num_envs, dtype=bool)
        return self._flat(obs)

    def step(self, action: np.ndarray) -> Step:
        """Step all environments with actions `[N, A]` float32 inside the bounds."""
        raw, reward, terminated, truncated, _ = self._vector.step(self._native(action))
        obs, valid = self._flat(raw), ~self._ended
        self._ended = terminated | truncated
        return Step(
            obs=obs,
            reward=reward.astype(np.float32),
            terminated=terminated.copy(),
            truncated=truncated.copy(),
            final_obs=obs,
            valid=valid,
        )

    def close(self) -> None:
        """Close every environment."""
        self._vector.close()

    def _flat(self, obs: np.ndarray) -> np.ndarray:
        return np.array(obs, dtype=np.float32).reshape(self.num_envs, -1)

    def _native(self, action: np.ndarray) -> np.ndarray:
        """Give actions the space's shape and type.

        Clipped once more, because a float64 bound such as 0.1 lies below its float32 neighbour and
        some environments assert that their space contains the action.
        """
        space = self._action_space
        native = np.asarray(action).reshape(self.num_envs, *space.shape).astype(space.dtype)
        return np.clip(native, space.low, space.high)


def inspect(task: Task) -> TaskSpec:
    """Build one environment, read its sizes and limits, close it.

    Raises:
        ConfigError: as `GymnasiumEnvironment` does.
    """
    name = task_name(task)
    env = _build(name, find_constructor(task))
    try:
        return _describe(name, task, env)
    finally:
        env.close()


def _build(name: str, constructor: Callable[[], gymnasium.Env]) -> gymnasium.Env:
    """Construct one environment with a flat observation, or say in one line why it will not do."""
    try:
        env = constructor()
    except Exception as error:
        raise ConfigError(
            f"task {name!r} could not be made: its constructor raised "
            f"{type(error).__name__}: {one_line(error)}"
        ) from error
    if not isinstance(env, gymnasium.Env):
        raise ConfigError(
            f"task {name!r} returned {type(env).__name__}, expected a single "
            "gymnasium.Env; return the environment itself, not a vector of them"
        )
    try:
        _require_continuous(name, env.action_space)
        _require_vectors(name, env.observation_space)
    except ConfigError:
        env.close()
        raise
    if isinstance(env.observation_space, spaces.Box) and len(env.observation_space.shape) == 1:
        return env
    return gymnasium.wrappers.FlattenObservation(env)


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


def _leaves(space: spaces.Space) -> list[spaces.Space]:
    if isinstance(space, spaces.Dict):
        return [leaf for part in space.spaces.values() for leaf in _leaves(part)]
    if isinstance(space, spaces.Tuple):
        return [leaf for part in space.spaces for leaf in _leaves(part)]
    return [space]


def _is_image(space: spaces.Box) -> bool:
    rank = len(space.shape)
    return rank >= 3 or (rank == 2 and space.dtype == np.uint8)


def _describe(name: str, task: Task, env: gymnasium.Env) -> TaskSpec:
    bounds = _action_space(env)
    return TaskSpec(
        id=name,
        suite="Gymnasium" if isinstance(task, str) and is_registered(task) else "Custom",
        observation_size=int(np.prod(env.observation_space.shape or ())),
        action_low=tuple(float(bound) for bound in bounds.low.ravel()),
        action_high=tuple(float(bound) for bound in bounds.high.ravel()),
        episode_limit=_episode_limit(env),
        simulator="gymnasium",
    )


def _action_space(env: gymnasium.Env) -> spaces.Box:
    """Return the action space that `_require_continuous` has let through."""
    return cast(spaces.Box, env.action_space)


def _episode_limit(env: gymnasium.Env) -> int | None:
    """Return the shortest time limit among the environment's wrappers and registration."""
    limits = [env.spec.max_episode_steps] if env.spec is not None else []
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            limits.append(env._max_episode_steps)
        env = env.env
    return min((limit for limit in limits if limit is not None), default=None)
