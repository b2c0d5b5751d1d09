"""One vector environment, behind its fence: batches in, batches out, in NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv

from robustpo.base.files import one_line
from robustpo.environments.base import Autoreset, Step
from robustpo.environments.batches import column, first_leaf, like, map_leaves, to_numpy
from robustpo.environments.fence import Fence, WrongAnswer
from robustpo.environments.information import FINAL_OBSERVATION, Information, of_batch
from robustpo.environments.inspection import layout_of
from robustpo.environments.vector_inspection import autoreset_mode
from robustpo.errors import SimulatorError
from robustpo.policy.layout import flatten


class _Kept(dict[str, Any]):
    """Options that are still there after one layer of a vector has taken them out.

    Gymnasium's vectors pop the mask before their wrappers, such as that of the episodes'
    statistics, look which environments were reset.
    """

    def pop(self, key: str, *default: Any) -> Any:
        """Return an option, and keep it."""
        return self.get(key, *default)


def _final_of(info: Any, size: int) -> Any:
    """Return the final observations of an information, None if it has none."""
    if isinstance(info, Mapping):
        return next((info[key] for key in FINAL_OBSERVATION if info.get(key) is not None), None)
    if not isinstance(info, list | tuple) or len(info) != size:
        return None
    # One dictionary for each environment.
    rows = np.empty(size, object)
    for i, own in enumerate(info):
        rows[i] = _final_of(own, size) if isinstance(own, Mapping) else None
    return rows if any(row is not None for row in rows) else None


class Batch:
    """One vector environment.

    Args:
        fence: that it is called through.
        env: it, which `require_vector` has let through.
        seeds: of its environments; made longer where they are fewer.

    Attributes:
        size: environments in it, `E`.
        origin: what is subtracted from observations, `[E, O]` float64, or None.
        mode: how it resets.
        lacked_final: whether an episode was cut whose final observation was not handed over.
    """

    def __init__(self, fence: Fence, env: VectorEnv, seeds: Sequence[int]) -> None:
        self.fence, self.env = fence, env
        self.size = int(env.num_envs)
        self.mode = autoreset_mode(fence.task, env)
        following = self.mode is AutoresetMode.NEXT_STEP
        self.autoreset: Autoreset = "next_step" if following else "same_step"
        self.origin: np.ndarray | None = None
        self.lacked_final = False
        given = [int(seed) for seed in seeds[: self.size]]
        more = np.random.SeedSequence(given).generate_state(self.size)
        self._seeds = (given + [int(word) & 0x7FFFFFFF for word in more])[: self.size]
        self._seeded, self._one_seed = False, False
        self._ended = np.zeros(self.size, bool)
        self._space: Any = env.single_action_space
        self._layout = layout_of(env.single_observation_space)
        self._length = spaces.flatdim(env.single_observation_space)
        # A leaf of what was last observed, whose kind actions have to be of; and all of it, flat.
        self._example: Any = None
        self._before = np.zeros((self.size, self._length), np.float32)
        self._said: list[Information] = []
        # Whether every call has come back so far.
        self._sound = True

    def set_origin(self, origin: np.ndarray) -> None:
        """Subtract `[E, O]` from all observations that follow, in float64."""
        self.origin = np.array(origin, np.float64) if origin.any() else None

    def exact(self, obs: np.ndarray) -> np.ndarray:
        """Return observations `[E, O]` float64 to which the origin has been added again."""
        return obs.astype(np.float64) + (0.0 if self.origin is None else self.origin)

    def reset(self, seeds: Sequence[int] | None = None) -> np.ndarray:
        """Reset all; return observations `[E, O]`, relative to the origin.

        Args:
            seeds: of each; None gives the first reset its own, and later ones none.

        Raises:
            SimulatorError: if it raises, or returns what its spaces do not allow.
        """
        if seeds is None and not self._seeded:
            seeds, self._seeded = self._seeds, True
        self._ended[:] = False
        if seeds is None:
            return self._reset(None)
        if not self._one_seed:
            try:
                return self._reset(list(seeds))
            except SimulatorError:
                # Gymnasium's interface promises one seed for all, and many take no more.
                self._one_seed = True
        return self._reset(seeds[0])

    def begin_again(self, resets: int) -> np.ndarray:
        """Reset all with seeds that follow from how often they were reset; `[E, O]` float32."""
        words = np.random.SeedSequence([*self._seeds, resets]).generate_state(self.size)
        self._seeded = True
        return self.reset([int(word) & 0x7FFFFFFF for word in words]).astype(np.float32)

    def close(self) -> None:
        """Close it; one that is in the middle of a call is not waited for."""
        pending = not self._sound and isinstance(self.env.unwrapped, AsyncVectorEnv)
        self.fence.close(_Ended(self.env) if pending else self.env)

    def _reset(self, seed: Any, options: dict[str, Any] | None = None) -> np.ndarray:
        self._sound = False
        with self.fence.call("reset"):
            asked = {"seed": seed} if options is None else {"seed": seed, "options": options}
            answer = self.env.reset(**asked)
            if not isinstance(answer, tuple) or len(answer) != 2:
                raise WrongAnswer(f"returned {_kind(answer)}, expected (observation, information)")
            obs = self._flat(answer[0], self.size)
            self._example = first_leaf(answer[0])
        self._before = obs.astype(np.float32)
        self._sound = True
        return obs

    def step(self, action: np.ndarray) -> Step:
        """Step all with actions `[E, A]`.

        Raises:
            SimulatorError: as `reset`.
        """
        native = np.clip(
            action.reshape(self.size, *self._space.shape).astype(self._space.dtype),
            self._space.low,
            self._space.high,
        )
        self._sound = False
        with self.fence.step:
            answer = self.env.step(like(native, self._example))
            if not isinstance(answer, tuple) or len(answer) != 5:
                raise WrongAnswer(
                    f"returned {_kind(answer)}, expected (observation, reward, terminated, "
                    "truncated, information)"
                )
            given, reward, terminated, truncated, info = answer
            # First, since a reset may reuse what the step returned.
            obs = self._flat(given, self.size).astype(np.float32)
            reward = column(reward, self.size, "rewards", np.float64).astype(np.float32)
            terminated = column(terminated, self.size, "terminated", bool)
            truncated = column(truncated, self.size, "truncated", bool)
            ended, valid = terminated | truncated, ~self._ended
            if (said := of_batch(info, ended & valid)) is not None:
                self._said.append(said)
            final = self._final(obs, info, ended, truncated & ~terminated)
        self._sound = True
        if self.mode is AutoresetMode.NEXT_STEP:
            self._ended = ended
        elif self.mode is AutoresetMode.DISABLED and ended.any():
            begun = self._reset(None, _Kept(reset_mask=ended.copy()))
            obs = np.where(ended[:, None], begun, obs).astype(np.float32)
        self._before = obs
        return Step(obs, reward, terminated, truncated, final, valid)

    def _final(self, obs: np.ndarray, info: Any, ended: np.ndarray, cut: np.ndarray) -> np.ndarray:
        """Return the observations that the actions led to, `[E, O]`."""
        found = _final_of(info, self.size)
        if self.mode is AutoresetMode.NEXT_STEP and found is not None and ended.any():
            raise WrongAnswer(
                "returned final_obs, but metadata['autoreset_mode'] says NEXT_STEP, in which the "
                "observation itself is the final one; set it to AutoresetMode.SAME_STEP"
            )
        if self.mode is not AutoresetMode.SAME_STEP or not ended.any():
            return obs
        final = obs.copy()
        if found is None:
            final[ended] = self._before[ended]
            self.lacked_final |= bool(cut.any())
        elif isinstance(found, np.ndarray) and found.dtype == object:
            for i in np.flatnonzero(ended):
                rows = map_leaves(lambda leaf: to_numpy(leaf)[None], found[i])
                final[i] = self._flat(rows, 1, slice(i, i + 1))[0]
        else:
            final[ended] = self._flat(found, self.size)[ended]
        return final

    def _flat(self, obs: Any, count: int, which: slice = slice(None)) -> np.ndarray:
        """Return a batch of observations `[count, O]`, relative to the origin, as a copy."""
        tree = map_leaves(to_numpy, obs)
        if isinstance(tree, np.ndarray) and self._layout and self._layout[0] == "box":
            if tree.shape != (count, *self._layout[1]):
                raise WrongAnswer(
                    f"returned observations of shape {list(tree.shape)}, expected "
                    f"{[count, *self._layout[1]]}"
                )
            flat = tree.reshape(count, -1)
        else:
            try:
                flat = flatten(list(self._layout or ()), tree)
            except ValueError as error:
                raise WrongAnswer(f"returned an observation of another layout: {error}") from error
            if flat.shape != (count, self._length):
                raise WrongAnswer(
                    f"returned observations of {list(flat.shape)} numbers, expected "
                    f"{[count, self._length]}"
                )
        if self.origin is None:
            return flat.astype(np.float32 if flat.dtype == np.float32 else np.float64)
        return flat.astype(np.float64) - self.origin[which]

    def take_information(self) -> list[Information]:
        """Return, once, what was said; indices are those of all environments together."""
        said, self._said = self._said, []
        first = self.fence.index or 0
        return [replace(one, index=one.index + first) for one in said]

    def render(self, row: int) -> Any:
        """Return what one environment draws, None if it draws nothing.

        Raises:
            SimulatorError: if drawing fails.
        """
        with self.fence.call("render"):
            frames = self.env.render() if self.env.render_mode is not None else None
            if frames is None:
                return None
            return to_numpy(list(frames)[row])


class _Ended:
    """A vector of processes that waits for one of them: closing it ends them."""

    def __init__(self, env: Any) -> None:
        self._env = env

    def close(self) -> None:
        with warnings.catch_warnings():
            # It warns of the call that nobody waits for any more.
            warnings.simplefilter("ignore")
            self._env.close(terminate=True)


def _kind(answer: object) -> str:
    """Say what an answer is that is not what was expected."""
    if isinstance(answer, tuple):
        return f"{len(answer)} things"
    return f"a {type(answer).__name__} ({one_line(repr(answer), 40)})"
