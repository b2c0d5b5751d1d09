"""Collection of a whole rollout: in one compiled scan, or around a host simulator's steps."""

from __future__ import annotations

import abc
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from robustpo.algorithm.experience import Rollout, Transition
from robustpo.algorithm.networks import AgentParams
from robustpo.config import Shape
from robustpo.environments.base import Environment, HostEnvironment, Step, TracedEnvironment
from robustpo.training.population import CollectorState, pad_agents
from robustpo.training.rollout import act, observe, observe_first, rollout_noise


class Collector(abc.ABC):
    """Holds a population's simulators, whose state is in no pytree.

    Args:
        environment: the `P·E` environments of the population.
        shape: the shape of the population.
        num_agents: `P`.
    """

    def __init__(self, environment: Environment, shape: Shape, num_agents: int) -> None:
        self.spec = environment.spec
        self.shape = shape
        self.num_agents = num_agents
        self._low = np.asarray(self.spec.action_low, np.float32)
        self._high = np.asarray(self.spec.action_high, np.float32)

    @abc.abstractmethod
    def start(self, state: CollectorState) -> CollectorState:
        """Reset the simulators and take in their first observations."""

    @abc.abstractmethod
    def compile(self, params: AgentParams, state: CollectorState, keys: Array, gamma: Array) -> Any:
        """Compile what `collect` runs; return the shapes of the `Rollout` it will return."""

    @abc.abstractmethod
    def collect(
        self, params: AgentParams, state: CollectorState, keys: Array, gamma: Array, iteration: int
    ) -> tuple[CollectorState, Rollout]:
        """Collect `T` steps of every agent; the state given is used up."""

    def to_environment(self, action: Array) -> Array:
        """Turn `[Q, E, A]` into `[P·E, A]` inside the bounds; a broken agent's actions become 0."""
        real = action[: self.num_agents].reshape(-1, action.shape[-1])
        return jnp.clip(jnp.where(jnp.isfinite(real), real, 0.0), self._low, self._high)

    def from_environment(self, tree: PyTree) -> Any:
        """Turn `[P·E, ...]` into `[Q, E, ...]`."""
        sizes = (self.num_agents, self.shape.num_envs)
        return pad_agents(
            jax.tree.map(lambda x: x.reshape(*sizes, *x.shape[1:]), tree), self.num_agents
        )

    def by_agent(self, rows: Transition, last_obs: Array) -> Rollout:
        """Drop the padding and put agents first: `[T, Q, E, ...]` to `[P, T, E, ...]`."""
        rows = jax.tree.map(lambda x: jnp.moveaxis(x[:, : self.num_agents], 1, 0), rows)
        return Rollout(rows, last_obs[: self.num_agents])


def make_collector(environment: Environment, shape: Shape, num_agents: int) -> Collector:
    """Return the collector that fits the simulator."""
    if isinstance(environment, TracedEnvironment):
        return TracedCollector(environment, shape, num_agents)
    assert isinstance(environment, HostEnvironment)
    return HostCollector(environment, shape, num_agents)


class TracedCollector(Collector):
    """Runs policy and simulator inside one `lax.scan`."""

    def __init__(self, environment: TracedEnvironment, shape: Shape, num_agents: int) -> None:
        super().__init__(environment, shape, num_agents)
        self._environment = environment
        self._simulator: Any = None
        self._run: Any = jax.jit(self._rollout, donate_argnums=(1,))

    def start(self, state: CollectorState) -> CollectorState:
        self._simulator, obs = self._environment.init()
        first = jax.jit(observe_first, static_argnums=2)
        return first(state, self.from_environment(obs), self.shape)

    def compile(self, params: AgentParams, state: CollectorState, keys: Array, gamma: Array) -> Any:
        arguments = (params, state, self._simulator, keys, gamma, jnp.zeros((), jnp.int32))
        lowered = self._run.lower(*arguments)
        self._run = lowered.compile()
        return lowered.out_info[2]

    def collect(
        self, params: AgentParams, state: CollectorState, keys: Array, gamma: Array, iteration: int
    ) -> tuple[CollectorState, Rollout]:
        number = jnp.asarray(iteration, jnp.int32)
        state, self._simulator, rollout = self._run(
            params, state, self._simulator, keys, gamma, number
        )
        return state, rollout

    def _rollout(
        self,
        params: AgentParams,
        state: CollectorState,
        simulator: Any,
        keys: Array,
        gamma: Array,
        iteration: Array,
    ) -> tuple[CollectorState, Any, Rollout]:
        noise = rollout_noise(keys, iteration, self.shape, self.spec.action_size)
        step = partial(
            self._step, pad_agents(params, self.num_agents), pad_agents(gamma, self.num_agents)
        )
        (state, simulator), rows = jax.lax.scan(step, (state, simulator), noise)
        return state, simulator, self.by_agent(rows, state.obs)

    def _step(
        self, params: AgentParams, gamma: Array, carry: tuple, noise: Array
    ) -> tuple[tuple, Transition]:
        state, simulator = carry
        action = act(params, state.obs, noise, self.shape)
        simulator, step = self._environment.step(simulator, self.to_environment(action))
        same_step = self._environment.autoreset == "same_step"
        step = self.from_environment(step if same_step else step._replace(final_obs=None))
        state, row = observe(state, action, step, gamma, self.shape, same_step=same_step)
        return (state, simulator), row


class HostCollector(Collector):
    """Steps a simulator from Python; all that lies between two of its steps is one compiled call."""

    def __init__(self, environment: HostEnvironment, shape: Shape, num_agents: int) -> None:
        super().__init__(environment, shape, num_agents)
        self._environment = environment
        self._first = jax.jit(self._first_action)
        self._between = jax.jit(self._observe_and_act, donate_argnums=(1,))
        self._noise = jax.jit(rollout_noise, static_argnums=(2, 3))

    def start(self, state: CollectorState) -> CollectorState:
        obs = jnp.asarray(self._environment.reset())
        first = jax.jit(observe_first, static_argnums=2)
        return first(state, self.from_environment(obs), self.shape)

    def compile(self, params: AgentParams, state: CollectorState, keys: Array, gamma: Array) -> Any:
        noise = self._draw(keys, 0)
        action, clipped = self._first(params, state, noise[0])
        count, size = clipped.shape[0], self.spec.observation_size
        no = np.zeros(count, bool)
        step = Step(np.zeros((count, size), np.float32), np.zeros(count, np.float32), no, no, None, no)
        copied = jax.tree.map(jnp.array, state)
        _, row, _, _ = self._between(params, copied, action, step, gamma, noise[0])
        steps = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((self.shape.num_steps, *x.shape), x.dtype), row
        )
        return jax.eval_shape(self.by_agent, steps, state.obs)

    def collect(
        self, params: AgentParams, state: CollectorState, keys: Array, gamma: Array, iteration: int
    ) -> tuple[CollectorState, Rollout]:
        noise = self._draw(keys, iteration)
        action, clipped = self._first(params, state, noise[0])
        rows = []
        for t in range(self.shape.num_steps):
            step = self._environment.step(np.asarray(clipped))._replace(final_obs=None)
            following = noise[min(t + 1, self.shape.num_steps - 1)]
            state, row, action, clipped = self._between(
                params, state, action, step, gamma, following
            )
            rows.append(jax.tree.map(np.asarray, row))
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
        return state, self.by_agent(stacked, state.obs)

    def _draw(self, keys: Array, iteration: int) -> np.ndarray:
        number = jnp.asarray(iteration, jnp.int32)
        return np.asarray(self._noise(keys, number, self.shape, self.spec.action_size))

    def _first_action(
        self, params: AgentParams, state: CollectorState, noise: Array
    ) -> tuple[Array, Array]:
        action = act(pad_agents(params, self.num_agents), state.obs, noise, self.shape)
        return action, self.to_environment(action)

    def _observe_and_act(
        self,
        params: AgentParams,
        state: CollectorState,
        action: Array,
        step: Step,
        gamma: Array,
        noise: Array,
    ) -> tuple[CollectorState, Transition, Array, Array]:
        state, row = observe(
            state,
            action,
            self.from_environment(step),
            pad_agents(gamma, self.num_agents),
            self.shape,
            same_step=False,
        )
        action, clipped = self._first_action(params, state, noise)
        return state, row, action, clipped
