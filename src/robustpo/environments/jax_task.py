"""What someone writes for a simulator of their own in JAX: one environment as pure functions.

`jax_environment.py` steps many of them as one program.
"""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr
from jaxtyping import Array, Float32

from robustpo.environments.base import TaskSpec
from robustpo.environments.fence import Fence, is_stop
from robustpo.environments.fence import describe as describe_error
from robustpo.errors import ConfigError

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
        >>> from robustpo.environments.jax_environment import JaxEnvironment
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
