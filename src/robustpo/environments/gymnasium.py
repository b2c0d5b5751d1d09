"""Any Gymnasium environment, stepped from the host.

A task is a registered id (`Pendulum-v1`, or `package:Id-v0` to import the package that registers
it), `module:callable`, or a Python callable that returns a `gymnasium.Env`. Wrappers that the
constructor applies are kept. Dictionaries and tuples of observations are flattened by Gymnasium's
own wrapper; action spaces of any shape are presented as a flat vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from robustpo.base.files import one_line
from robustpo.environments import fingerprint
from robustpo.environments.base import ExactEnvironment, Replayed, Step
from robustpo.environments.constructors import construct, find_constructor, task_name
from robustpo.environments.fence import Fence, WrongAnswer
from robustpo.environments.frames import as_picture
from robustpo.environments.information import FINAL_OBSERVATION, Information, of_one
from robustpo.environments.inspection import Task, box_of_actions, describe_task, prepare
from robustpo.environments.probe import Probed
from robustpo.errors import ConfigError, EnvironmentMismatch


class GymnasiumEnvironment(ExactEnvironment, Replayed, Probed):
    """`N` copies of a Gymnasium environment, stepped one after another.

    An episode's end is followed by a step that only resets, as in EnvPool; that row is not `valid`.

    Args:
        task: id, `module:callable` or constructor.
        env_seeds: one seed per environment, given to its first reset; later episodes go on with
            the random stream that it began.
        name: what errors call the task, instead of its id or its constructor's name.
        first: an environment that its constructor has made already, and the fence that it was made
            in, to be the first one.
        source: makes one environment after the other; by default the task's constructor.

    Raises:
        ConfigError: if the task is unknown, its constructor fails, or its spaces are not those of
            a continuous control task on vectors.
    """

    def __init__(
        self,
        task: Task,
        env_seeds: Sequence[int],
        *,
        name: str | None = None,
        first: tuple[Fence, object] | None = None,
        source: Callable[[], Any] | None = None,
    ) -> None:
        self._seeds = [int(seed) for seed in env_seeds]
        if not self._seeds or min(self._seeds) < 0:
            raise ConfigError(
                f"env_seeds={self._seeds} is not valid; give one whole number or more from 0 on"
            )
        self._name, constructor = name or task_name(task), find_constructor(task)
        self._constructor = constructor
        self._fences = [Fence(self._name, seed, i) for i, seed in enumerate(self._seeds)]
        self._envs: list[gymnasium.Env] = []
        try:
            if first is not None:
                self._fences[0], made = first
                self._envs.append(prepare(self._fences[0], made))
            for fence in self._fences[len(self._envs) :]:
                self._envs.append(self._make_next(fence, source or constructor))
            self._require_alike()
            with self._fences[0].reading():
                self.spec = describe_task(self._name, task, self._envs[0])
        except BaseException:
            self.close()
            raise
        self.num_envs = len(self._seeds)
        self._action_space = box_of_actions(self._envs[0])
        self._seeded = np.zeros(self.num_envs, dtype=bool)
        self._ended = np.zeros(self.num_envs, dtype=bool)
        self._said: list[Information] = []
        self._origin = np.zeros((self.num_envs, self.spec.observation_size))

    def _make_next(self, fence: Fence, constructor: Callable[[], Any]) -> gymnasium.Env:
        """Construct one more environment, or say in one line why it will not do."""
        try:
            return prepare(fence, construct(self._name, constructor, fence))
        except ConfigError as error:
            # Fewer do not help where all are one.
            if not self._envs or isinstance(error, EnvironmentMismatch):
                raise
            raise ConfigError(
                f"{error}; {len(self._envs)} had been made before it: if no more can exist at one "
                "time, ask for fewer (evaluate --envs 1; train one seed and --num-envs 1)"
            ) from error

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

    def take_information(self) -> list[Information]:
        """Return, once, what was said of episodes that have ended since."""
        said, self._said = self._said, []
        return said

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
        with self._fences[index].call("reset"):
            answer = self._envs[index].reset(seed=seed)
            if not isinstance(answer, tuple) or len(answer) != 2:
                raise WrongAnswer(f"returned {_kind(answer)}, expected (observation, information)")
            return self._flat(index, answer[0])

    def _step_one(self, index: int, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        with self._fences[index].step:
            answer = self._envs[index].step(action)
            if not isinstance(answer, tuple) or len(answer) != 5:
                raise WrongAnswer(
                    f"returned {_kind(answer)}, expected (observation, reward, terminated, "
                    "truncated, information)"
                )
            obs, reward, terminated, truncated, info = answer
            try:
                reward = float(reward)
            except (TypeError, ValueError) as error:
                text = f"returned the reward {one_line(repr(reward), 80)}, expected one number"
                raise WrongAnswer(text) from error
            terminated, truncated = bool(terminated), bool(truncated)
            if terminated or truncated:
                obs = self._final(index, obs, info)
                if (said := of_one(info, index)) is not None:
                    self._said.append(said)
            return self._flat(index, obs), reward, terminated, truncated

    def _final(self, index: int, obs: Any, info: Any) -> Any:
        """Return the observation that an episode ended on.

        An environment that resets itself in the same step hands it over as information; what it
        returns as the observation belongs to an episode that the reset after this ends at once.
        """
        own = info if isinstance(info, dict) else {}
        final = next((own[key] for key in FINAL_OBSERVATION if own.get(key) is not None), obs)
        env = self._envs[index]
        if final is not obs and isinstance(env, gymnasium.wrappers.FlattenObservation):
            inner = env.env.observation_space
            return spaces.flatten(inner, final) if inner.contains(final) else final
        return final

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
        frame, drawn = None, False
        with self._fences[index].call("render"):
            env = self._envs[index]
            # A wrapper of an environment that was not made to draw has no other way to say so.
            drawn = env.render_mode is not None
            frame = env.render() if drawn else None
        if frame is None:
            raise ConfigError(
                f"task {self._name!r} draws no picture; let its constructor take render_mode and "
                "hand it to the environment, whose render() then returns an array [H, W, 3]"
            )
        return as_picture(self._name, frame)

    def describe(self) -> dict[str, Any]:
        """Return what the first environment is, but for its behaviour."""
        first, limit = self._envs[0], self.spec.episode_limit
        with self._fences[0].reading():
            return fingerprint.of_gymnasium(first, self._constructor, limit)

    def probe_reset(self, index: int, seed: int) -> np.ndarray:
        """Reset one environment with a seed; its first reset in training has its own all the same.

        Raises:
            SimulatorError: as `reset`.
        """
        with self._fences[index].call("reset"):
            obs, _ = self._envs[index].reset(seed=seed)
            return np.array(obs, np.float64).ravel()

    def probe_step(self, index: int, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Step one environment that `probe_reset` has reset, with an action `[A]`.

        Raises:
            SimulatorError: as `step`.
        """
        native = self._native(action[None])[0]
        with self._fences[index].step:
            obs, reward, terminated, truncated, _ = self._envs[index].step(native)
            flags = bool(terminated), bool(truncated)
            return np.array(obs, np.float64).ravel(), float(reward), *flags

    @property
    def fps(self) -> float | None:
        """Steps per second of simulated time, if the environments say so (`render_fps`)."""
        with self._fences[0].reading():
            fps = (self._envs[0].metadata or {}).get("render_fps")
            return float(fps) if fps is not None and 0 < float(fps) < np.inf else None

    def close(self) -> None:
        """Close every environment; one that fails to is left as it is."""
        for fence, env in zip(self._fences, self._envs, strict=False):
            fence.close(env)

    def _flat(self, index: int, obs: np.ndarray) -> np.ndarray:
        """Return an observation `[O]` in float64, relative to the origin."""
        try:
            flat = np.asarray(obs, dtype=np.float64).reshape(self.spec.observation_size)
        except (TypeError, ValueError) as error:
            raise WrongAnswer(
                f"returned the observation {one_line(repr(obs), 80)}, expected "
                f"{self.spec.observation_size} numbers"
            ) from error
        return flat - self._origin[index]

    def _native(self, action: np.ndarray) -> np.ndarray:
        """Give actions `[n, A]` the space's shape and type.

        Clipped once more, because a float64 bound such as 0.1 lies below its float32 neighbour and
        some environments assert that their space contains the action.
        """
        space = self._action_space
        native = np.asarray(action).reshape(len(action), *space.shape).astype(space.dtype)
        return np.clip(native, space.low, space.high)


def _kind(answer: object) -> str:
    """Say what an answer is that is not what was expected."""
    return f"{len(answer)} things" if isinstance(answer, tuple) else f"a {type(answer).__name__}"
