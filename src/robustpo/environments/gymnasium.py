"""Any Gymnasium environment, stepped from the host.

A task is a registered id (`Pendulum-v1`, or `package:Id-v0` to import the package that registers
it), `module:callable`, or a Python callable that returns a `gymnasium.Env`. Wrappers that the
constructor applies are kept. Dictionaries and tuples of observations are flattened by Gymnasium's
own wrapper; action spaces of any shape are presented as a flat vector.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from robustpo.environments.base import ExactEnvironment, Replayed, Step, TaskSpec
from robustpo.environments.constructors import (
    construct,
    find_constructor,
    is_registered,
    one_line,
    task_name,
)
from robustpo.environments.watchdog import about_to_call
from robustpo.errors import ConfigError, SimulatorError

Task = str | Callable[[], Any]


class GymnasiumEnvironment(ExactEnvironment, Replayed):
    """`N` copies of a Gymnasium environment, stepped one after another.

    An episode's end is followed by a step that only resets, as in EnvPool; that row is not `valid`.

    Args:
        task: id, `module:callable` or constructor.
        env_seeds: one seed per environment, given to its first reset; later episodes go on with
            the random stream that it began.
        name: what errors call the task, instead of its id or its constructor's name.

    Raises:
        ConfigError: if the task is unknown, its constructor fails, or its spaces are not those of
            a continuous control task on vectors.
    """

    def __init__(self, task: Task, env_seeds: Sequence[int], *, name: str | None = None) -> None:
        self._seeds = [int(seed) for seed in env_seeds]
        if not self._seeds or min(self._seeds) < 0:
            raise ConfigError(
                f"env_seeds={self._seeds} is not valid; give one whole number or more from 0 on"
            )
        self._name, constructor = name or task_name(task), find_constructor(task)
        self._envs = [_build(self._name, constructor) for _ in self._seeds]
        self._require_alike()
        self.num_envs = len(self._seeds)
        self.spec = _describe(self._name, task, self._envs[0])
        self._action_space = _action_space(self._envs[0])
        self._seeded = np.zeros(self.num_envs, dtype=bool)
        self._ended = np.zeros(self.num_envs, dtype=bool)
        self._origin = np.zeros((self.num_envs, self.spec.observation_size))

    def reset(self) -> np.ndarray:
        """Reset all environments; a second call begins the next episodes of the same streams.

        Raises:
            SimulatorError: if an environment raises, or returns what its spaces do not allow.
        """
        return self._reset_some(np.arange(self.num_envs))

    def reset_exact(self) -> np.ndarray:
        """Reset all environments; return observations `[N, O]` float64, no origin subtracted.

        Raises:
            SimulatorError: as `reset`.
        """
        return np.stack([self._reset_one(i) for i in range(self.num_envs)]) + self._origin

    def set_origin(self, origin: np.ndarray) -> None:
        """Subtract `[N, O]` from all observations that follow, in float64."""
        self._origin = np.array(origin, np.float64)

    def step(self, action: np.ndarray) -> Step:
        """Step all environments with actions `[N, A]` float32 inside the bounds.

        Raises:
            SimulatorError: as `reset`.
        """
        valid = ~self._ended
        obs = np.empty((self.num_envs, self.spec.observation_size), np.float32)
        reward = np.zeros(self.num_envs, np.float32)
        terminated, truncated = np.zeros((2, self.num_envs), bool)
        for i, native in enumerate(self._native(action)):
            if self._ended[i]:
                obs[i] = self._reset_one(i)
            else:
                obs[i], reward[i], terminated[i], truncated[i] = self._step_one(i, native)
        self._ended = terminated | truncated
        return Step(obs, reward, terminated, truncated, obs, valid)

    def _reset_some(self, which: np.ndarray) -> np.ndarray:
        self._ended[which] = False
        return np.stack([self._reset_one(i) for i in which]).astype(np.float32)

    def _step_some(self, which: np.ndarray, action: np.ndarray) -> np.ndarray:
        results = [self._step_one(i, a) for i, a in zip(which, self._native(action), strict=True)]
        self._ended[which] = [terminated or truncated for _, _, terminated, truncated in results]
        return np.stack([obs for obs, *_ in results]).astype(np.float32)

    def _reset_one(self, index: int) -> np.ndarray:
        seed = None if self._seeded[index] else self._seeds[index]
        self._seeded[index] = True
        with self._named(index, "reset"):
            obs, _ = self._envs[index].reset(seed=seed)
            return self._flat(index, obs)

    def _step_one(self, index: int, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        with self._named(index, "step"):
            obs, reward, terminated, truncated, _ = self._envs[index].step(action)
            return self._flat(index, obs), float(reward), bool(terminated), bool(truncated)

    @contextlib.contextmanager
    def _named(self, index: int, call: str) -> Iterator[None]:
        """Say which environment it was that raised, and do not wait for ever."""
        about_to_call()
        try:
            yield
        except Exception as error:
            raise SimulatorError(
                f"task {self._name!r}, simulator seed {self._seeds[index]}: {call} raised "
                f"{type(error).__name__}: {one_line(error)}",
                int(index),
            ) from error

    def _require_alike(self) -> None:
        for env in self._envs[1:]:
            for kind in ("observation_space", "action_space"):
                first, other = getattr(self._envs[0], kind), getattr(env, kind)
                same_type = getattr(first, "dtype", None) == getattr(other, "dtype", None)
                if (
                    first.shape != other.shape
                    or not same_type
                    or (kind == "action_space" and first != other)
                ):
                    raise ConfigError(
                        f"task {self._name!r} builds environments that differ: {kind} "
                        f"{one_line(first)} and {one_line(other)}; make its constructor return "
                        "equal spaces every time"
                    )

    def render(self, index: int = 0) -> np.ndarray:
        """Return the picture `[H, W, 3]` of uint8 that one environment draws of itself.

        Raises:
            ConfigError: if it draws none.
            SimulatorError: if drawing fails.
        """
        frame: Any = np.zeros(0)
        if self._envs[index].render_mode is not None:
            with self._named(index, "render"):
                frame = np.asarray(self._envs[index].render())
        if frame.ndim != 3 or frame.shape[2] != 3:
            raise ConfigError(
                f"task {self._name!r} draws no picture; let its constructor take render_mode and "
                "hand it to the environment, whose render() then returns an array [H, W, 3]"
            )
        return frame

    @property
    def metadata(self) -> dict[str, Any]:
        """What the environments say of themselves, such as `render_fps`."""
        return self._envs[0].metadata

    def close(self) -> None:
        """Close every environment."""
        for env in self._envs:
            env.close()

    def _flat(self, index: int, obs: np.ndarray) -> np.ndarray:
        """Return an observation `[O]` in float64, relative to the origin."""
        flat = np.asarray(obs, dtype=np.float64).reshape(self.spec.observation_size)
        return flat - self._origin[index]

    def _native(self, action: np.ndarray) -> np.ndarray:
        """Give actions `[n, A]` the space's shape and type.

        Clipped once more, because a float64 bound such as 0.1 lies below its float32 neighbour and
        some environments assert that their space contains the action.
        """
        space = self._action_space
        native = np.asarray(action).reshape(len(action), *space.shape).astype(space.dtype)
        return np.clip(native, space.low, space.high)


def inspect(task: Task, made: object) -> TaskSpec:
    """Read the sizes and limits of an environment that a task's constructor made, and close it.

    Raises:
        ConfigError: as `GymnasiumEnvironment` does.
    """
    name = task_name(task)
    env = _prepare(name, made)
    try:
        return _describe(name, task, env)
    finally:
        env.close()


def _build(name: str, constructor: Callable[[], gymnasium.Env]) -> gymnasium.Env:
    """Construct one environment with a flat observation, or say in one line why it will not do."""
    return _prepare(name, construct(name, constructor))


def _prepare(name: str, env: object) -> gymnasium.Env:
    """Return an environment with a flat observation, or say in one line why it will not do."""
    if not isinstance(env, gymnasium.Env):
        raise ConfigError(
            f"task {name!r} returned {type(env).__name__}, expected a single "
            "gymnasium.Env or robustpo.JaxTask; return the environment itself, not a vector of them"
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
