"""Vector environments of other people: Gymnasium's own, and simulators that step batches.

One vector is what one agent learns in. All three ways in which a vector may reset are understood:
`NEXT_STEP`, whose rows after an end are phantoms; `SAME_STEP`, with the final observation as
information; `DISABLED`, where the reset is asked for here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium.vector import SyncVectorEnv

from robustpo.environments import fingerprint
from robustpo.environments.base import ExactEnvironment, RestartedEnvironment, Step
from robustpo.environments.constructors import construct, find_constructor, task_name
from robustpo.environments.fence import Fence
from robustpo.environments.frames import as_picture
from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.information import Information
from robustpo.environments.probe import Probed
from robustpo.environments.vector_batch import Batch
from robustpo.environments.vector_inspection import describe_vector, require_vector
from robustpo.errors import ConfigError


class VectorEnvironment(ExactEnvironment, RestartedEnvironment, Probed):
    """Vector environments side by side, each with as many environments as its constructor gives it.

    Args:
        task: id, `module:callable` or constructor.
        env_seeds: one seed per environment; where they do not fill a vector, more are made.
        copies: how often the vectors of these seeds are made, one after the other.
        name: what errors call the task, instead of its id or its constructor's name.
        first: a vector that its constructor has made already, and the fence that it was made in.

    Raises:
        ConfigError: if a constructor fails, or its vectors are not those of a continuous control
            task on vectors, all alike.
    """

    why = (
        "a vector environment cannot be brought back to where it stood (a plain SyncVectorEnv, or "
        "a function that makes one environment, can)"
    )

    def __init__(
        self,
        task: Any,
        env_seeds: Sequence[int],
        *,
        copies: int = 1,
        name: str | None = None,
        first: tuple[Fence, Any] | None = None,
    ) -> None:
        self._name, self._constructor = name or task_name(task), find_constructor(task)
        self._batches: list[Batch] = []
        try:
            self._add(env_seeds, first)
            size = self._batches[0].size
            shares = [env_seeds[at : at + size] for at in range(0, len(env_seeds), size)] * copies
            for share in shares[1:]:
                self._add(share, None)
            self._require_alike()
            with self._batches[0].fence.reading():
                self.spec = describe_vector(self._name, task, self._batches[0].env)
        except BaseException:
            self.close()
            raise
        self.num_envs = len(self._batches) * size
        self.autoreset = self._batches[0].autoreset
        self._slices = [slice(i * size, (i + 1) * size) for i in range(len(self._batches))]

    def _add(self, seeds: Sequence[int], made: tuple[Fence, Any] | None) -> None:
        """Make one more vector, for the first of these seeds."""
        index = sum(batch.size for batch in self._batches)
        fence, env = made or (Fence(self._name, int(seeds[0]), index), None)
        fence.index = index
        if env is None:
            env = construct(self._name, self._constructor, fence)
        try:
            with fence.reading():
                require_vector(self._name, env)
        except BaseException:
            fence.close(env)
            raise
        self._batches.append(Batch(fence, env, seeds))

    def _require_alike(self) -> None:
        """Raise `ConfigError` unless all vectors are of one kind."""
        first = self._batches[0]
        for batch in self._batches[1:]:
            for kind in ("num_envs", "single_observation_space", "single_action_space"):
                mine, theirs = getattr(first.env, kind), getattr(batch.env, kind)
                if mine != theirs:
                    raise ConfigError(
                        f"task {self._name!r} builds vectors that differ: {kind} {mine} and "
                        f"{theirs}; make its constructor return equal ones every time"
                    )
            if batch.mode is not first.mode:
                raise ConfigError(
                    f"task {self._name!r} builds vectors that reset in different ways: "
                    f"{first.mode.name} and {batch.mode.name}"
                )

    def reset(self) -> np.ndarray:
        """Reset all environments; a second call begins the next episodes.

        Raises:
            SimulatorError: if a vector raises, or returns what its spaces do not allow.
        """
        return np.concatenate([batch.reset() for batch in self._batches]).astype(np.float32)

    def reset_exact(self) -> np.ndarray:
        """Reset all environments; return observations `[N, O]` float64, no origin subtracted.

        Raises:
            SimulatorError: as `reset`.
        """
        return np.concatenate([batch.exact(batch.reset()) for batch in self._batches])

    def set_origin(self, origin: np.ndarray) -> None:
        """Subtract `[N, O]` from all observations that follow, in float64."""
        for batch, own in zip(self._batches, self._slices, strict=True):
            batch.set_origin(origin[own])

    def step(self, action: np.ndarray) -> Step:
        """Step all environments with actions `[N, A]` float32 inside the bounds.

        Raises:
            SimulatorError: as `reset`.
        """
        action = np.asarray(action)
        steps = [b.step(action[s]) for b, s in zip(self._batches, self._slices, strict=True)]
        if len(steps) == 1:
            return steps[0]
        obs, reward, terminated, truncated, final, valid = map(
            np.concatenate, zip(*steps, strict=True)
        )
        if self.autoreset == "next_step":
            final = obs
        return Step(obs, reward, terminated, truncated, final, valid)

    def restart(self, which: np.ndarray, resets: np.ndarray) -> np.ndarray:
        """Reset the vectors of those agents, with seeds that were not used before."""
        obs = np.zeros((self.num_envs, self.spec.observation_size), np.float32)
        for batch, own in zip(self._batches, self._slices, strict=True):
            if which[own].any():
                obs[own] = batch.begin_again(int(resets[own].max()))
        return obs

    def take_information(self) -> list[Information]:
        """Return, once, what was said of episodes that have ended since."""
        return [said for batch in self._batches for said in batch.take_information()]

    @property
    def remark(self) -> str | None:
        """What to know of ends whose final observation was not handed over."""
        if not any(batch.lacked_final for batch in self._batches):
            return None
        return (
            f"task {self._name} resets in the step that ends an episode and returns no final_obs: "
            "where a time limit ends one, the observation before is taken in its place"
        )

    def describe(self) -> dict[str, Any]:
        """Return what the first vector is, but for its behaviour."""
        with self._batches[0].fence.reading():
            return fingerprint.of_vector(self._batches[0].env, self._constructor, self.spec)

    def probe_reset(self, index: int, seed: int) -> np.ndarray:
        """Reset the vector of one environment with a seed for all of it."""
        batch, row = self._place(index)
        return batch.exact(batch.reset([seed] * batch.size))[row]

    def probe_step(self, index: int, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Step the vector of one environment that `probe_reset` has reset, all with one action."""
        batch, row = self._place(index)
        step = batch.step(np.tile(action, (batch.size, 1)))
        batch.take_information()
        obs = np.array(step.final_obs[row], np.float64)
        flags = bool(step.terminated[row]), bool(step.truncated[row])
        return obs, float(step.reward[row]), *flags

    def _place(self, index: int) -> tuple[Batch, int]:
        number, row = divmod(index, self._batches[0].size)
        return self._batches[number], row

    def render(self, index: int = 0) -> np.ndarray:
        """Return the picture `[H, W, 3]` of uint8 that one environment draws of itself.

        Raises:
            ConfigError: if it draws none.
            SimulatorError: if drawing fails.
        """
        batch, row = self._place(index)
        frame = batch.render(row)
        if frame is None:
            raise ConfigError(
                f"task {self._name!r} draws no picture; let its constructor take render_mode and "
                "hand it to the environments, whose render() then returns one array for each"
            )
        return as_picture(self._name, frame)

    @property
    def fps(self) -> float | None:
        """Steps per second of simulated time, if the vector says so (`render_fps`)."""
        batch = self._batches[0]
        with batch.fence.reading():
            fps = (batch.env.metadata or {}).get("render_fps")
            return float(fps) if fps is not None and 0 < float(fps) < np.inf else None

    def close(self) -> None:
        """Close every vector; one that fails to is left as it is."""
        for batch in self._batches:
            batch.close()


def make_vector(
    task: Any,
    name: str,
    first: tuple[Fence, Any],
    env_seeds: Sequence[int],
    copies: int = 1,
    processes: int = 0,
) -> VectorEnvironment | GymnasiumEnvironment:
    """Make the environments of a task whose constructor makes vectors.

    A plain `SyncVectorEnv` is stepped environment by environment, which can be brought back.

    Args:
        task: id, `module:callable` or constructor.
        name: what errors call the task.
        first: a vector that it has made, and the fence that it was made in.
        env_seeds: one seed per environment.
        copies: how often they are made, one after the other.
        processes: processes that were asked for to step them, of which there can be none.

    Raises:
        ConfigError: as `VectorEnvironment`, or if processes are asked for.
    """
    fence, made = first
    if processes:
        fence.close(made)
        raise ConfigError(
            f"env_processes={processes} does not apply to task {name!r}, a vector that steps its "
            "environments itself; use gymnasium.vector.AsyncVectorEnv, or a function that makes "
            "one environment"
        )
    if type(made) is not SyncVectorEnv:
        return VectorEnvironment(task, env_seeds, copies=copies, name=name, first=first)
    num_envs = made.num_envs
    source = Unpacked(find_constructor(task), made)
    every = [*env_seeds] * copies
    environment = GymnasiumEnvironment(task, every, name=name, source=source)
    environment.spec = replace(environment.spec, num_envs=num_envs)
    return environment


class Unpacked:
    """Makes one environment after the other: those of plain `SyncVectorEnv`s.

    Stepped by themselves they return what the vector would, and can be brought back.

    Args:
        constructor: makes a vector.
        made: one that it has made already.
    """

    def __init__(self, constructor: Callable[[], Any], made: Any) -> None:
        self._constructor = constructor
        self._left = list(made.envs)

    def __call__(self) -> Any:
        """Return the next one."""
        if not self._left:
            self._left = list(self._constructor().envs)
        return self._left.pop(0)
