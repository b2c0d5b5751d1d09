"""Brax and MuJoCo Playground: simulators in JAX that share one interface.

Their environments are stepped as they are, without their own training wrappers, so that resets are
real ones (the wrappers repeat the first state of each environment) and the observation that an
episode ends on is kept. Episodes have the limits that the task's configuration or Brax's default
gives them.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from robustpo.environments.jax_task import JaxStep, JaxTask
from robustpo.errors import ConfigError

BRAX_EPISODE_LIMIT = 1000


class BraxTask(JaxTask):
    """An environment of Brax or Playground: `reset(rng)` and `step(state, action)` with a `State`.

    Args:
        environment: the environment, without wrappers.
        episode_limit: steps after which an episode is truncated.

    Attributes:
        environment: the environment.
    """

    def __init__(self, environment: Any, episode_limit: int) -> None:
        self.environment = environment
        self.episode_limit = episode_limit
        size = environment.observation_size
        # Where a critic is given more than the actor, the actor's part is what a policy can use.
        self._part = "state" if isinstance(size, dict) else None
        size = size["state"] if isinstance(size, dict) else size
        self.observation_size = size if isinstance(size, int) else int(size[0])
        self.action_low = (-1.0,) * environment.action_size
        self.action_high = (1.0,) * environment.action_size

    def reset(self, *, key: Array) -> tuple[Any, Array]:
        """Reset; `key` is a typed key, of which the simulator is given the words."""
        state = self.environment.reset(jax.random.key_data(key))
        # A step may return numbers of another type than the reset (1 for 1.0).
        after = jax.eval_shape(
            self.environment.step, state, jnp.zeros(self.environment.action_size)
        )
        state = jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), state, after)
        return state, self._observation(state)

    def step(self, state: Any, action: Array, *, key: Array) -> JaxStep:
        """Step; what is random in a step comes from the state."""
        state = self.environment.step(state, action)
        return JaxStep(state, self._observation(state), state.reward, state.done > 0.5)

    def _observation(self, state: Any) -> Array:
        return state.obs if self._part is None else state.obs[self._part]


def make_playground(name: str) -> BraxTask:
    """Build a task of MuJoCo Playground on MJX's own implementation in JAX.

    Raises:
        ConfigError: if Playground knows no such task.
    """
    with _silent():
        from mujoco_playground import registry
    if name not in registry.ALL_ENVS:
        raise ConfigError(
            f"MuJoCo Playground has no task {name!r}; choose one of {', '.join(registry.ALL_ENVS)}"
        )
    # Its default, Warp, needs a GPU.
    environment = registry.load(name, config_overrides={"impl": "jax"})
    config: Any = registry.get_default_config(name)
    return BraxTask(environment, int(config.episode_length))


def make_brax(name: str) -> BraxTask:
    """Build a task of Brax.

    Raises:
        ConfigError: if Brax knows no such task.
    """
    with _silent():
        from brax import envs

    try:
        environment = envs.get_environment(name)
    except KeyError:
        raise ConfigError(
            f"Brax has no task {name!r}; choose one of {', '.join(sorted(envs._envs))}"
        ) from None
    return BraxTask(environment, BRAX_EPISODE_LIMIT)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep to themselves what the packages say when they are imported.

    Playground announces on standard output which optional parts are missing; Brax warns of a
    package of its own that is no longer maintained.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
