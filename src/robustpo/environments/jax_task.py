"""Simulators written in JAX: one environment as pure functions, many of them as one program.

A `JaxTask` is what someone writes for an environment of their own; `JaxEnvironment` steps many of
them inside the training program, resets them and keeps the observation that an episode ended on.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr
from jaxtyping import Array, Bool, Float32, Int32, PyTree, UInt32

from robustpo.environments.base import HostEnvironment, Step, TaskSpec, TracedEnvironment
from robustpo.environments.fence import Fence, is_stop
from robustpo.environments.fence import describe as describe_error
from robustpo.errors import ConfigError
from robustpo.loops import map_one_by_one

# XLA vectorises elementwise code in eights and rounds what is left over differently, and it
# computes no more of what it has padded than is asked for. So environments are stepped in groups of
# eight at least, one group after the other, in a loop whose body is compiled by itself: then an
# environment's bits do not depend on how many groups there are.
LANES = 8
MAX_LIMIT = 2**31 - 1


class JaxStep(NamedTuple):
    """What one step of one environment returns.

    Attributes:
        state: the next state, a pytree of arrays of fixed shapes.
        obs: the observation of that state, `[O]` float32.
        reward: the reward of the step, a scalar.
        terminated: whether the state is terminal; time limits are no business of the task.
    """

    state: Any
    obs: Any
    reward: Any
    terminated: Any


class JaxTask(abc.ABC):
    """One environment as pure functions that JAX can trace.

    Attributes:
        observation_size: length `O` of an observation.
        action_low: lower bounds of the action, `A` numbers.
        action_high: upper bounds of the action.
        episode_limit: steps after which an episode is truncated, or None.

    Example:
        >>> import jax.numpy as jnp
        >>> class Servo(JaxTask):
        ...     observation_size, episode_limit = 1, 100
        ...     action_low, action_high = (-1.0,), (1.0,)
        ...
        ...     def reset(self, *, key):
        ...         angle = jax.random.uniform(key, (1,), minval=-1.0)
        ...         return angle, angle
        ...
        ...     def step(self, state, action, *, key):
        ...         angle = state + 0.1 * action
        ...         return JaxStep(angle, angle, -(angle[0] ** 2), abs(angle[0]) > 2)
        >>> environment = JaxEnvironment(Servo(), env_seeds=[1, 2, 3])
        >>> state, obs = environment.init()
        >>> obs.shape
        (3, 1)
    """

    observation_size: int
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    episode_limit: int | None = None

    @abc.abstractmethod
    def reset(self, *, key: Array) -> tuple[Any, Any]:
        """Draw the first state of an episode; return it and its observation `[O]`."""

    @abc.abstractmethod
    def step(self, state: Any, action: Float32[Array, " A"], *, key: Array) -> JaxStep:
        """Step with an action inside the bounds."""


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
        count = -(-self.num_envs // self._group)
        grouped = jax.tree.map(
            lambda x: x.reshape(count, self._group, *x.shape[1:]),
            _resize((inputs, words), count * self._group),
        )
        # The first word of a key is always 0, which XLA cannot know: it cannot see the count.
        seen = (grouped[1][:, 0, 0] == 0).sum(dtype=jnp.int32)
        outputs = map_one_by_one(function, grouped[0], seen)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), outputs)
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
        # Skipped in the steps in which no episode ends: the reset of a large simulator is dear.
        task, next_obs = jax.lax.cond(
            ended.any(),
            lambda: _where(ended, self._reset(state.key, episode), (result.state, obs)),
            lambda: (result.state, obs),
        )
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


def describe(task: JaxTask, name: str = "", suite: str = "Custom") -> TaskSpec:
    """Return sizes and limits of a task, after tracing it once.

    Raises:
        ConfigError: if they are not valid, or the task returns what they do not allow.
    """
    name = name or type(task).__qualname__
    with Fence(name).reading():
        low, high = (tuple(map(float, bounds)) for bounds in (task.action_low, task.action_high))
        size, limit = task.observation_size, task.episode_limit
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ConfigError(
            f"task {name!r} has observation_size={size!r}; expected a whole number of at least 1"
        )
    if not low or len(low) != len(high) or not all(x < y for x, y in zip(low, high, strict=True)):
        raise ConfigError(
            f"task {name!r} has action_low={low} and action_high={high}; expected two tuples of "
            "one length, each low below its high"
        )
    if limit is not None and (type(limit) is not int or not 1 <= limit <= MAX_LIMIT):
        raise ConfigError(
            f"task {name!r} has episode_limit={limit!r}; expected a whole number of at least 1 and "
            f"at most {MAX_LIMIT}, or None"
        )
    _require_shapes(task, name, len(low))
    return TaskSpec(name, suite, int(size), low, high, limit, "jax")


def operations(task: JaxTask) -> int:
    """Return how many operations a task's reset and step are traced to."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    action = jax.ShapeDtypeStruct((len(task.action_low),), jnp.float32)

    def trace(key: Array, action: Array) -> tuple:
        state, obs = task.reset(key=key)
        return obs, JaxStep(*task.step(state, action, key=key))

    return _count(jax.make_jaxpr(trace)(key, action).jaxpr)


def _count(jaxpr: Any) -> int:
    inner = [
        leaf
        for equation in jaxpr.eqns
        for leaf in jax.tree.leaves(list(equation.params.values()))
        if isinstance(leaf, ClosedJaxpr | Jaxpr)
    ]
    below = (_count(leaf.jaxpr if isinstance(leaf, ClosedJaxpr) else leaf) for leaf in inner)
    return len(jaxpr.eqns) + sum(below)


def _require_shapes(task: JaxTask, name: str, action_size: int) -> None:
    """Trace `reset` and `step` and hold what they return against the sizes."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    action = jax.ShapeDtypeStruct((action_size,), jnp.float32)

    def trace(key: Array, action: Array) -> tuple:
        state, obs = task.reset(key=key)
        return state, obs, JaxStep(*task.step(state, action, key=key))

    try:
        state, obs, step = jax.eval_shape(trace, key, action)
        _ = step.obs.shape, obs.shape
    except BaseException as error:
        if is_stop(error):
            raise
        raise ConfigError(
            f"task {name!r} cannot be traced by JAX (it {describe_error(error)}); reset and step "
            "have to be pure functions of arrays"
        ) from error
    expected = {
        "the observation of reset": (obs.shape, (task.observation_size,)),
        "the observation of step": (step.obs.shape, (task.observation_size,)),
        "the reward": (jnp.shape(step.reward), ()),
        "terminated": (jnp.shape(step.terminated), ()),
    }
    for what, (found, wanted) in expected.items():
        if tuple(found) != wanted:
            raise ConfigError(
                f"task {name!r}: {what} has shape {tuple(found)}, expected {wanted}; the functions "
                "are those of one environment, without a batch axis"
            )
    before, after = (jax.tree.map(lambda x: (x.shape, x.dtype), s) for s in (state, step.state))
    if before != after:
        raise ConfigError(
            f"task {name!r}: step returns a state of shapes and types {after}, reset one of "
            f"{before}; they have to be the same"
        )


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
