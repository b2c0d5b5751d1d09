"""Collection of a whole rollout: in one compiled scan, or around a host simulator's steps."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.algorithm.experience import Coefficients, Rollout
from robustpo.algorithm.networks import AgentParams
from robustpo.algorithm.normalization import normalize_observation
from robustpo.environments.base import (
    Environment,
    HostEnvironment,
    Replayed,
    Step,
    TracedEnvironment,
)
from robustpo.environments.watchdog import watching
from robustpo.settings import Shape
from robustpo.training.compilation import compiler_options, uncached
from robustpo.training.population import CollectorState, pad_agents, put_agents
from robustpo.training.rollout import (
    Draws,
    Flags,
    RawRow,
    act,
    augment,
    digest,
    draw_rollout,
    observe,
)


def _jit(function: Callable, **options: Any) -> Any:
    return jax.jit(function, compiler_options=compiler_options(), **options)


class Collector(abc.ABC):
    """Holds a population's simulators, whose state is in no pytree.

    Args:
        environment: the `P·E` environments of the population.
        shape: the shape of the population.
        num_agents: `P`.
    """

    def __init__(self, environment: Environment, shape: Shape, num_agents: int) -> None:
        self.environment: Any = environment
        self.spec = environment.spec
        self.shape = shape
        self.num_agents = num_agents
        self._low = np.asarray(self.spec.action_low, np.float32)
        self._high = np.asarray(self.spec.action_high, np.float32)
        self._family = DISTRIBUTIONS[shape.distribution]
        self._draw = _jit(draw_rollout, static_argnums=(2, 3, 4))

    @abc.abstractmethod
    def start(self, state: CollectorState) -> CollectorState:
        """Reset the simulators and take in their first observations."""

    @abc.abstractmethod
    def compile(
        self, params: AgentParams, state: CollectorState, keys: Array, coefficients: Coefficients
    ) -> Any:
        """Compile what `collect` runs; return the shapes of the `Rollout` it will return."""

    def collect(
        self,
        params: AgentParams,
        state: CollectorState,
        keys: Array,
        coefficients: Coefficients,
        iterations: Sequence[int],
    ) -> tuple[CollectorState, Rollout]:
        """Collect `T` steps of every agent; the state given is used up."""
        return self._collect(params, state, self.draw(keys, iterations), coefficients)

    @abc.abstractmethod
    def _collect(
        self, params: AgentParams, state: CollectorState, draws: Draws, coefficients: Coefficients
    ) -> tuple[CollectorState, Rollout]:
        """Collect with what was drawn for the rollout."""

    def simulator_state(self, index: int) -> Any:
        """Return the state of one agent's simulators on the host; None if they are replayed."""
        del index

    def draw(self, keys: Array, iterations: Sequence[int]) -> Draws:
        """Draw all that is random in a rollout."""
        numbers = jnp.asarray(iterations, jnp.int32)
        sizes = (self.spec.observation_size, self.spec.action_size)
        return self._draw(keys, numbers, self.shape, *sizes)

    def decide(
        self, params: AgentParams, state: CollectorState, draws: Draws, coefficients: Coefficients
    ) -> tuple[Array, Array, Array]:
        """Return what enters the agents, their raw actions and what the simulator is given.

        Args:
            params: of every agent, padded like all that follows.
            state: with the observation to act on.
            draws: of this step.
            coefficients: of every agent.
        """
        obs = augment(state.obs, state.obs_moments, draws.scale, coefficients, self.shape)
        action = act(params, obs, draws, coefficients, self.shape)
        return obs, action, self.to_environment(action)

    def to_environment(self, action: Array) -> Array:
        """Turn `[Q, E, A]` into `[P·E, A]` inside the bounds; a broken agent's actions become 0."""
        # While it is padded: what is computed here is rounded alike in every population.
        real = jnp.where(jnp.isfinite(action), action, 0.0)
        given = self._family.execute(real, self._low, self._high)
        return given[: self.num_agents].reshape(-1, action.shape[-1])

    def from_environment(self, obs: Array) -> Array:
        """Turn `[P·E, O]` into `[Q, E, O]`; actions likewise."""
        return pad_agents(obs.reshape(self.num_agents, self.shape.num_envs, -1), self.num_agents)

    def observe_first(self, state: CollectorState, obs: Array) -> CollectorState:
        """Take in the observations that follow the first reset."""
        moments, normalized = observe(state.obs_moments, self.from_environment(obs), self.shape)
        return replace(state, obs=normalized, obs_moments=moments)

    def observe_step(
        self,
        state: CollectorState,
        decision: tuple[Array, Array, Array],
        step: Step,
        scale: Array | None,
        coefficients: Coefficients,
        *,
        same_step: bool,
    ) -> tuple[CollectorState, RawRow]:
        """Take in what the simulator returned for what `decide` decided."""
        entered, action, given = decision
        moments, obs = observe(state.obs_moments, self.from_environment(step.obs), self.shape)
        final_obs = None
        if same_step:
            final_obs = self.from_environment(step.final_obs)
            if self.shape.normalize_observations:
                final_obs = jax.vmap(normalize_observation)(final_obs, moments)
            final_obs = augment(final_obs, moments, scale, coefficients, self.shape)
        flags = Flags(step.reward, step.terminated, step.truncated, step.valid)
        executed = None if self._family.clipped else self.from_environment(given)
        row = RawRow(entered, action, executed, flags, final_obs)
        return replace(state, obs=obs, obs_moments=moments), row


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
        self._simulator: Any = None
        self._run: Any = jax.jit(self._steps, donate_argnums=(1,))
        self._digest: Any = _jit(partial(digest, shape=shape))

    def start(self, state: CollectorState) -> CollectorState:
        """Reset the simulators inside JAX and keep their state for the first rollout."""
        self._simulator, obs = self.environment.init()
        return _jit(self.observe_first)(state, obs)

    def compile(
        self, params: AgentParams, state: CollectorState, keys: Array, coefficients: Coefficients
    ) -> Any:
        """Compile the scan anew, simulator and all; the digest may come from the cache."""
        draws = self.draw(keys, [0] * self.num_agents)
        with uncached():
            lowered = self._run.lower(params, state, self._simulator, draws, coefficients)
            self._run = lowered.compile(compiler_options())
        # By itself, because unlike the simulator's program this one comes from the cache.
        rows, last_scale = lowered.out_info[2:]
        lowered = self._digest.lower(state, rows, last_scale, coefficients)
        self._digest = lowered.compile()
        return lowered.out_info[1]

    def _collect(
        self, params: AgentParams, state: CollectorState, draws: Draws, coefficients: Coefficients
    ) -> tuple[CollectorState, Rollout]:
        """Run the whole scan as one program, from where the simulators stopped last time."""
        state, self._simulator, rows, last_scale = self._run(
            params, state, self._simulator, draws, coefficients
        )
        return self._digest(state, rows, last_scale, coefficients)

    def simulator_state(self, index: int) -> Any:
        """Return the slices `[E, ...]` of the threaded state that belong to one agent."""
        if isinstance(self.environment, Replayed):
            return None
        own = slice(index * self.shape.num_envs, (index + 1) * self.shape.num_envs)
        return jax.tree.map(lambda x: np.array(x[own]), self._simulator)

    def load_simulators(self, saved: Sequence[Any]) -> None:
        """Put the given slices into the threaded state."""
        folded = (self.num_agents, self.shape.num_envs)
        agents = jax.tree.map(lambda x: jnp.reshape(x, (*folded, *x.shape[1:])), self._simulator)
        agents = put_agents(agents, saved)
        self._simulator = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), agents)

    def _steps(
        self,
        params: AgentParams,
        state: CollectorState,
        simulator: Any,
        draws: Draws,
        coefficients: Coefficients,
    ) -> tuple[CollectorState, Any, RawRow, Array | None]:
        step = partial(self._step, *pad_agents((params, coefficients), self.num_agents))
        (state, simulator), rows = jax.lax.scan(step, (state, simulator), draws.steps())
        return state, simulator, rows, draws.last_scale()

    def _step(
        self,
        params: AgentParams,
        coefficients: Coefficients,
        carry: tuple[CollectorState, Any],
        draws: Draws,
    ) -> tuple[tuple[CollectorState, Any], RawRow]:
        state, simulator = carry
        decision = self.decide(params, state, draws, coefficients)
        simulator, step = self.environment.step(simulator, decision[-1])
        same_step = self.environment.autoreset == "same_step"
        state, row = self.observe_step(
            state, decision, step, draws.scale, coefficients, same_step=same_step
        )
        return (state, simulator), row


class HostCollector(Collector):
    """Steps a simulator from Python; what lies between two of its steps is one compiled call."""

    def __init__(self, environment: HostEnvironment, shape: Shape, num_agents: int) -> None:
        super().__init__(environment, shape, num_agents)
        self._first = _jit(self._first_decision)
        self._between = _jit(self._observe_and_decide, donate_argnums=(1,))
        self._digest = _jit(partial(digest, shape=shape))

    def start(self, state: CollectorState) -> CollectorState:
        """Reset the simulators on the host and hand their observations to JAX."""
        with watching():
            obs = self.environment.reset()
        return _jit(self.observe_first)(state, jnp.asarray(obs))

    def compile(
        self, params: AgentParams, state: CollectorState, keys: Array, coefficients: Coefficients
    ) -> Any:
        """Run a step's compiled calls once, on zeros and a copied state, without the simulator."""
        draws = jax.tree.map(np.asarray, self.draw(keys, [0] * self.num_agents))
        now = _row(draws, 0)
        decision = self._first(params, state, now, coefficients)
        count, size = decision[-1].shape[0], self.spec.observation_size
        no = np.zeros(count, bool)
        obs, reward = np.zeros((count, size), np.float32), np.zeros(count, np.float32)
        step = Step(obs, reward, no, no, None, no)
        copied = jax.tree.map(jnp.array, state)
        _, row, _ = self._between(params, copied, decision, step, now, coefficients)
        rows = jax.tree.map(lambda x: np.stack([x] * self.shape.num_steps), row)
        return jax.eval_shape(self._digest, state, rows, draws.last_scale(), coefficients)[1]

    def _collect(
        self, params: AgentParams, state: CollectorState, draws: Draws, coefficients: Coefficients
    ) -> tuple[CollectorState, Rollout]:
        """Step the simulators from Python; keep the rows on the host and digest them together."""
        drawn = jax.tree.map(np.asarray, draws)
        decision = self._first(params, state, _row(drawn, 0), coefficients)
        rows = []
        with watching():
            for t in range(self.shape.num_steps):
                step = self.environment.step(np.asarray(decision[-1]))._replace(final_obs=None)
                following = _row(drawn, min(t + 1, self.shape.num_steps - 1))
                state, row, decision = self._between(
                    params, state, decision, step, following, coefficients
                )
                rows.append(jax.tree.map(np.asarray, row))
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
        return self._digest(state, stacked, drawn.last_scale(), coefficients)

    def _first_decision(
        self, params: AgentParams, state: CollectorState, draws: Draws, coefficients: Coefficients
    ) -> tuple[Array, Array, Array]:
        padded = pad_agents((params, coefficients), self.num_agents)
        return self.decide(padded[0], state, draws, padded[1])

    def _observe_and_decide(
        self,
        params: AgentParams,
        state: CollectorState,
        decision: tuple[Array, Array, Array],
        step: Step,
        draws: Draws,
        coefficients: Coefficients,
    ) -> tuple[CollectorState, RawRow, tuple[Array, Array, Array]]:
        state, row = self.observe_step(state, decision, step, None, coefficients, same_step=False)
        return state, row, self._first_decision(params, state, draws, coefficients)


def _row(draws: Draws, index: int) -> Draws:
    """Return what belongs to one step."""
    return jax.tree.map(lambda x: x[index], draws)
