"""Many environments written in JAX as one program.

`JaxEnvironment` steps copies of a `JaxTask` inside the training program, resets them and keeps the
observation that an episode ended on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, PyTree, UInt32

from robustpo.base.loops import map_one_by_one, on_accelerator
from robustpo.environments.base import HostEnvironment, Step, TracedEnvironment
from robustpo.environments.fence import Fence
from robustpo.environments.jax_task import JaxTask, describe
from robustpo.errors import ConfigError

# XLA vectorises elementwise code in eights and rounds what is left over differently, and it
# computes no more of what it has padded than is asked for. So environments are stepped in groups of
# eight at least, one group after the other, in a loop whose body is compiled by itself: then an
# environment's bits do not depend on how many groups there are. An accelerator steps all at once.
LANES = 8


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class JaxEnvironmentState:
    """All that there is to `N` environments.

    Attributes:
        task: states of the task, `[N, ...]`.
        key: words of each environment's random key, `[N, 2]`.
        episode: episodes that lie behind each, `[N]`.
        steps: steps of the running episode, `[N]`.
    """

    task: PyTree
    key: UInt32[Array, "N 2"]
    episode: Int32[Array, " N"]
    steps: Int32[Array, " N"]


class JaxEnvironment(TracedEnvironment):
    """`N` copies of a `JaxTask`, reset in the step that ends an episode.

    What an environment draws depends on its own seed, episode and step alone.

    Args:
        task: the task.
        env_seeds: one seed per environment.
        name: what the task is called; by default its class.
        suite: the benchmark it belongs to.
        per_agent: environments that belong to one agent; more than `LANES` are one group.

    Raises:
        ConfigError: if the task's sizes are not valid, or it returns what they do not allow.
    """

    def __init__(
        self,
        task: JaxTask,
        env_seeds: Sequence[int],
        *,
        name: str = "",
        suite: str = "Custom",
        per_agent: int = 1,
    ) -> None:
        self.spec = describe(task, name, suite)
        self._fence = Fence(self.spec.id)
        self.task = task
        self.num_envs = len(env_seeds)
        self.autoreset = "same_step"
        if not env_seeds or min(env_seeds) < 0 or max(env_seeds) >= 2**32:
            raise ConfigError(
                f"env_seeds={list(env_seeds)} is not valid; give one whole number or more from 0 "
                f"to {2**32 - 1}"
            )
        seeds = np.asarray(env_seeds, np.uint32)
        # The words that jax.random.key makes of a seed of 32 bits.
        self._keys = np.stack([np.zeros_like(seeds), seeds], axis=1)
        self._group = max(LANES, per_agent)

    def init(self) -> tuple[JaxEnvironmentState, Float32[Array, "N O"]]:
        """Reset every environment; each call begins the first episodes anew."""
        return jax.jit(self._init)(jnp.asarray(self._keys))

    def begin(
        self, state: JaxEnvironmentState
    ) -> tuple[JaxEnvironmentState, Float32[Array, "N O"]]:
        """Leave the running episodes and begin the next ones; traceable."""
        return self._by_group(self._next_episode, state, state.key)

    def step(
        self, state: JaxEnvironmentState, action: Float32[Array, "N A"]
    ) -> tuple[JaxEnvironmentState, Step]:
        """Step all environments with actions `[N, A]` inside the bounds; traceable."""
        return self._by_group(lambda inputs: self._step(*inputs), (state, action), state.key)

    def _init(self, words: Array) -> tuple[JaxEnvironmentState, Array]:
        return self._by_group(self._begin, words, words)

    def _by_group(self, function: Callable[[Any], Any], inputs: PyTree, words: Array) -> Any:
        """Apply a function of a group of environments to all of them, group after group."""
        if on_accelerator():
            return function(inputs)
        count = -(-self.num_envs // self._group)
        grouped = jax.tree.map(
            lambda x: x.reshape(count, self._group, *x.shape[1:]),
            _resize((inputs, words), count * self._group),
        )
        # The first word of a key is always 0, which XLA cannot know: it cannot see the count.
        seen = (grouped[1][:, 0, 0] == 0).sum(dtype=jnp.int32)
        outputs = map_one_by_one(function, grouped[0], seen)
        flat = jax.tree.map(lambda x: x.reshape(count * self._group, *x.shape[2:]), outputs)
        return _resize(flat, self.num_envs)

    def _begin(self, words: Array) -> tuple[JaxEnvironmentState, Array]:
        zeros = jnp.zeros(len(words), jnp.int32)
        task, obs = self._reset(words, zeros)
        return JaxEnvironmentState(task, words, zeros, zeros), obs

    def _next_episode(self, state: JaxEnvironmentState) -> tuple[JaxEnvironmentState, Array]:
        episode = state.episode + 1
        task, obs = self._reset(state.key, episode)
        return replace(state, task=task, episode=episode, steps=jnp.zeros_like(state.steps)), obs

    def _reset(self, words: Array, episode: Array) -> tuple[PyTree, Array]:
        keys = _fold(words, episode, jnp.zeros_like(episode))
        with self._fence.call("reset"):
            task, obs = jax.vmap(lambda key: self.task.reset(key=key))(keys)
        return task, obs.astype(jnp.float32)

    def _step(self, state: JaxEnvironmentState, action: Array) -> tuple[JaxEnvironmentState, Step]:
        steps = state.steps + 1
        keys = _fold(state.key, state.episode, steps)
        with self._fence.call("step"):
            step = jax.vmap(lambda s, a, key: self.task.step(s, a, key=key))
            result = step(state.task, action, keys)
        obs, terminated = result.obs.astype(jnp.float32), result.terminated.astype(bool)
        limit = self.spec.episode_limit
        late = jnp.zeros_like(terminated) if limit is None else steps >= limit
        truncated = late & ~terminated
        ended = terminated | truncated
        episode = state.episode + ended

        def reset_ended() -> tuple[PyTree, Array]:
            return _where(ended, self._reset(state.key, episode), (result.state, obs))

        # Skipped in the steps in which no episode ends: the reset of a large simulator is dear.
        task, next_obs = jax.lax.cond(ended.any(), reset_ended, lambda: (result.state, obs))
        state = replace(state, task=task, episode=episode, steps=jnp.where(ended, 0, steps))
        reward = result.reward.astype(jnp.float32)
        valid = jnp.ones_like(ended)
        return state, Step(next_obs, reward, terminated, truncated, obs, valid)


class HostJaxEnvironment(HostEnvironment):
    """The same environments stepped from Python, for policies that act in NumPy.

    Args:
        environment: what is stepped.
    """

    def __init__(self, environment: JaxEnvironment) -> None:
        self.spec = environment.spec
        self.num_envs = environment.num_envs
        self.autoreset = environment.autoreset
        self._init = environment.init
        self._begin = jax.jit(environment.begin)
        self._step = jax.jit(environment.step)
        self._state: Any = None

    def reset(self) -> np.ndarray:
        """Reset all environments; a second call begins their next episodes."""
        first = self._state is None
        self._state, obs = self._init() if first else self._begin(self._state)
        return np.asarray(obs)

    def step(self, action: np.ndarray) -> Step:
        """Step all environments with actions `[N, A]` float32 inside the bounds."""
        self._state, step = self._step(self._state, action)
        return jax.tree.map(np.asarray, step)


def _fold(words: Array, episode: Array, step: Array) -> Array:
    """Return a key per environment for one step of one episode; step 0 is the reset."""

    def one(words: Array, episode: Array, step: Array) -> Array:
        key = jax.random.wrap_key_data(words, impl="threefry2x32")
        return jax.random.fold_in(jax.random.fold_in(key, episode), step)

    return jax.vmap(one)(words, episode, step)


def _where(mask: Bool[Array, " N"], yes: PyTree, no: PyTree) -> PyTree:
    def choose(a: Array, b: Array) -> Array:
        return jnp.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, yes, no)


def _resize(tree: PyTree, count: int) -> PyTree:
    """Cut or repeat along the leading axis of every leaf until it has `count` rows."""

    def resize(x: Array) -> Array:
        if len(x) >= count:
            return x[:count]
        return jnp.concatenate([x, jnp.broadcast_to(x[:1], (count - len(x), *x.shape[1:]))])

    return jax.tree.map(resize, tree)
