"""Collection of a whole rollout: in one compiled scan, or around a host simulator's steps."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.algorithm.experience import Coefficients, Rollout
from robustpo.algorithm.networks import AgentParams
from robustpo.base.validation import require_choice
from robustpo.config.shape import Shape
from robustpo.environments.base import (
    Autoreset,
    Environment,
    ExactEnvironment,
    Step,
)
from robustpo.training.action_units import action_units
from robustpo.training.compilation import compiler_options
from robustpo.training.digest import digest
from robustpo.training.population import LANES, CollectorState, pad_agents
from robustpo.training.rollout import (
    Decision,
    Draws,
    Flags,
    RawRow,
    act,
    augment,
    draw_rollout,
    observe,
    observe_ends,
    scale_shift,
)


def compiled(function: Callable, **options: Any) -> Any:
    """Return `jax.jit` of a function under the options of all training programs."""
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
        # What is subtracted from each agent's observations before they become float32.
        self.origins = np.zeros((num_agents, self.spec.observation_size), np.float32)
        self._low = np.asarray(self.spec.action_low, np.float32)
        self._high = np.asarray(self.spec.action_high, np.float32)
        self._family = DISTRIBUTIONS[shape.distribution]
        self._units = action_units(self.spec, shape)
        require_choice("autoreset", environment.autoreset, get_args(Autoreset))
        self.same_step = environment.autoreset == "same_step"
        # Clipping the raw action again gives what the simulator was given, but for its last bit
        # where it is the sum of more than the policy's own noise, and not in other units.
        clipped_only = self._family.clipped and self._units is None
        self._keep_executed = not clipped_only or shape.collection_noise != "none"
        # Measured: with one environment per agent the third level only takes longer to compile.
        options = compiler_options(loops=shape.num_envs >= LANES)
        self._scale_shift = jax.jit(
            scale_shift, static_argnums=3, compiler_options=compiler_options()
        )
        self._digest: Any = partial(compiled(digest, static_argnames=("shape",)), shape=shape)
        self._draw = jax.jit(draw_rollout, static_argnums=(2, 3, 4), compiler_options=options)

    @abc.abstractmethod
    def start(
        self, state: CollectorState, origins: Sequence[np.ndarray | None] = ()
    ) -> CollectorState:
        """Reset the simulators and take in their first observations.

        Args:
            state: the state before the first observation.
            origins: those of agents that start from a policy; None for the agent's own.
        """

    def set_origins(self, origins: Sequence[np.ndarray | None]) -> None:
        """Take over the origins of those agents whose one is given."""
        for index, origin in enumerate(origins):
            if origin is not None:
                self.origins[index] = origin
        if isinstance(self.environment, ExactEnvironment):
            self.environment.set_origin(np.repeat(self.origins, self.shape.num_envs, axis=0))

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
        draws = self.draw(keys, iterations)
        if draws.shift is not None:
            shift = self._scale_shift(draws.shift, params, coefficients, self.shape)
            draws = replace(draws, shift=shift)
        return self._collect(params, state, draws, coefficients)

    @abc.abstractmethod
    def _collect(
        self, params: AgentParams, state: CollectorState, draws: Draws, coefficients: Coefficients
    ) -> tuple[CollectorState, Rollout]:
        """Collect with what was drawn for the rollout."""

    def simulator_state(self, index: int) -> Any:
        """Return the slices `[E, ...]` of the simulators' state that belong to one agent.

        None if they are not saved but replayed.
        """
        del index

    @abc.abstractmethod
    def load_simulators(self, saved: Sequence[Any]) -> None:
        """Put back what `simulator_state` returned; None leaves an agent's simulators alone."""

    def draw(self, keys: Array, iterations: Sequence[int]) -> Draws:
        """Draw all that is random in a rollout."""
        numbers = jnp.asarray(iterations, jnp.int32)
        sizes = (self.spec.observation_size, self.spec.action_size)
        return self._draw(keys, numbers, self.shape, *sizes)

    def decide(
        self, params: AgentParams, state: CollectorState, draws: Draws, coefficients: Coefficients
    ) -> Decision:
        """Return what the agents do.

        Args:
            params: of every agent, padded like all that follows.
            state: with the observation to act on.
            draws: of this step.
            coefficients: of every agent.
        """
        obs = augment(state.obs, state.obs_moments, draws.scale, coefficients, self.shape)
        action = act(params, obs, draws, self.shape)
        return Decision(obs, action, self.to_environment(action))

    def to_environment(self, action: Array) -> Array:
        """Turn `[Q, E, A]` into `[P·E, A]` inside the bounds; a broken agent's actions become 0."""
        # While it is padded: what is computed here is rounded alike in every population.
        real = jnp.where(jnp.isfinite(action), action, 0.0)
        if self._units is not None:
            centre, half = map(jnp.asarray, self._units)
            real = centre + half * real
        given = self._family.execute(real, self._low, self._high)
        return given[: self.num_agents].reshape(-1, action.shape[-1])

    def from_environment(self, obs: Array) -> Array:
        """Turn `[P·E, O]` into `[Q, E, O]`; actions likewise."""
        return self.pad(obs.reshape(self.num_agents, self.shape.num_envs, -1))

    def pad(self, tree: Any) -> Any:
        """Pad the leading axis of every leaf from `P` to `Q`."""
        return pad_agents(tree, self.num_agents, self.shape.num_envs)

    def observe_first(self, state: CollectorState, obs: Array) -> CollectorState:
        """Take in the observations that follow the first reset."""
        moments, normalized = observe(state.obs_moments, self.from_environment(obs), self.shape)
        return replace(state, obs=normalized, obs_moments=moments)

    def observe_step(
        self,
        state: CollectorState,
        decision: Decision,
        step: Step,
        scale: Array | None,
        coefficients: Coefficients,
    ) -> tuple[CollectorState, RawRow]:
        """Take in what the simulator returned for what `decide` decided.

        `scale` is the step's own, which scaled what the agents decided on.
        """
        raw, final_obs = self.from_environment(step.obs), None
        if self.same_step:
            ended = self.from_environment(step.terminated | step.truncated)[..., 0]
            final_obs = self.from_environment(step.final_obs)
            moments, obs, final_obs = observe_ends(
                state.obs_moments, raw, final_obs, ended, self.shape
            )
            final_obs = augment(final_obs, moments, scale, coefficients, self.shape)
        else:
            moments, obs = observe(state.obs_moments, raw, self.shape)
        flags = Flags(step.reward, step.terminated, step.truncated, step.valid)
        executed = self.from_environment(decision.given) if self._keep_executed else None
        row = RawRow(decision.obs, decision.action, executed, flags, final_obs)
        return replace(state, obs=obs, obs_moments=moments), row
