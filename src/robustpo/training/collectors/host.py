"""Collection around a simulator that is stepped from Python."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from robustpo.algorithm.experience import Coefficients, Rollout
from robustpo.algorithm.networks import AgentParams
from robustpo.config.shape import Shape
from robustpo.environments.base import (
    ExactEnvironment,
    HostEnvironment,
    SavedEnvironment,
    Step,
)
from robustpo.environments.watchdog import watching
from robustpo.errors import SimulatorError
from robustpo.training.collectors.base import Collector, compiled
from robustpo.training.origin import origin_of, takes_origin
from robustpo.training.population import CollectorState
from robustpo.training.rollout import Decision, Draws, RawRow

_INDEX = np.int32


class HostCollector(Collector):
    """Steps a simulator from Python; what lies between two of its steps is one compiled call."""

    def __init__(self, environment: HostEnvironment, shape: Shape, num_agents: int) -> None:
        super().__init__(environment, shape, num_agents)
        self._first = compiled(self._first_decision)
        self._between = compiled(self._observe_and_decide, donate_argnums=(1,))

    def start(
        self, state: CollectorState, origins: Sequence[np.ndarray | None] = ()
    ) -> CollectorState:
        """Reset the simulators on the host and hand their observations to JAX."""
        with watching():
            obs = self._reset(origins or [None] * self.num_agents)
        return compiled(self.observe_first)(state, jnp.asarray(obs))

    def _reset(self, origins: Sequence[np.ndarray | None]) -> np.ndarray:
        """Reset the simulators; agents without an origin take one from their first observation."""
        if not (isinstance(self.environment, ExactEnvironment) and takes_origin(self.shape)):
            return self.environment.reset()
        exact = self.environment.reset_exact()
        first = exact[:: self.shape.num_envs]
        self.set_origins(
            [
                origin_of(obs) if given is None else given
                for obs, given in zip(first, origins, strict=True)
            ]
        )
        own = np.repeat(self.origins, self.shape.num_envs, axis=0)
        return (exact - own).astype(np.float32)

    def compile(
        self, params: AgentParams, state: CollectorState, keys: Array, coefficients: Coefficients
    ) -> Any:
        """Run a step's compiled calls once, on zeros and a copied state, without the simulator."""
        draws = self.draw(keys, [0] * self.num_agents)
        decision = self._first(params, state, draws, coefficients)
        count, size = decision.given.shape[0], self.spec.observation_size
        no = np.zeros(count, bool)
        obs, reward = np.zeros((count, size), np.float32), np.zeros(count, np.float32)
        step = self._packed(Step(obs, reward, no, no, obs, no))
        copied = jax.tree.map(jnp.array, state)
        _, row, _ = self._between(params, copied, decision, step, draws, _INDEX(0), coefficients)
        rows = jax.tree.map(lambda x: np.stack([x] * self.shape.num_steps), row)
        given = (state, rows, draws.last_scale(), coefficients)
        return self._digest.func.eval_shape(*given, shape=self.shape)[1]

    def _collect(
        self, params: AgentParams, state: CollectorState, draws: Draws, coefficients: Coefficients
    ) -> tuple[CollectorState, Rollout]:
        """Step the simulators from Python; keep the rows on the host and digest them together."""
        decision = self._first(params, state, draws, coefficients)
        rows, form = [], None
        with watching():
            for t in range(self.shape.num_steps):
                try:
                    step = self.environment.step(np.asarray(decision.given))
                except SimulatorError as error:
                    error.row = t
                    raise
                state, row, decision = self._between(
                    params, state, decision, self._packed(step), draws, _INDEX(t), coefficients
                )
                leaves, form = jax.tree.flatten(row)
                rows.append(leaves)
        # On the host, where an array of JAX is viewed without a copy.
        columns = [np.stack([np.asarray(x) for x in leaf]) for leaf in zip(*rows, strict=True)]
        assert form is not None
        stacked = jax.tree.unflatten(form, columns)
        return self._digest(state, stacked, draws.last_scale(), coefficients)

    def _packed(self, step: Step) -> np.ndarray:
        """Put a step into one array `[N, 4 + O]`, or `[N, 4 + 2 O]` with the final observation.

        What goes to the device goes one by one, and each costs as much as the largest.
        """
        flags = (step.reward, step.terminated, step.truncated, step.valid)
        if not self.same_step:
            return np.column_stack([*flags, step.obs]).astype(np.float32, copy=False)
        if step.final_obs is None:
            raise SimulatorError(
                f"task {self.spec.id!r} resets in the step that ends an episode, and that step "
                "returned no final_obs; return the observation that the action led to"
            )
        rows = np.column_stack([*flags, step.obs, step.final_obs])
        return rows.astype(np.float32, copy=False)

    def _unpacked(self, rows: Array) -> Step:
        """Return what `_packed` packed; the final observation only where it is another."""
        reward, terminated, truncated, valid = (rows[:, i] for i in range(4))
        flags = (terminated > 0, truncated > 0)
        size = self.spec.observation_size
        final = rows[:, 4 + size :] if self.same_step else None
        return Step(rows[:, 4 : 4 + size], reward, *flags, final, valid > 0)

    def simulator_state(self, index: int) -> Any:
        """Return one agent's part of what the simulators save."""
        if not isinstance(self.environment, SavedEnvironment):
            return None
        own = slice(index * self.shape.num_envs, (index + 1) * self.shape.num_envs)
        return {name: array[own].copy() for name, array in self.environment.save().items()}

    def load_simulators(self, saved: Sequence[Any]) -> None:
        """Hand parts of agents to the simulators."""
        assert isinstance(self.environment, SavedEnvironment)
        for index, state in enumerate(saved):
            if state is not None:
                agents = np.repeat(np.arange(self.num_agents), self.shape.num_envs)
                whole = {
                    name: np.concatenate([array] * self.num_agents) for name, array in state.items()
                }
                self.environment.load(whole, agents == index)

    def _first_decision(
        self, params: AgentParams, state: CollectorState, draws: Draws, coefficients: Coefficients
    ) -> Decision:
        """Decide on the observation at the beginning of a rollout, with all its draws."""
        return self._decision(params, state, _at(draws, 0), coefficients)

    def _decision(
        self, params: AgentParams, state: CollectorState, draws: Draws, coefficients: Coefficients
    ) -> Decision:
        params, coefficients = self.pad((params, coefficients))
        return self.decide(params, state, draws, coefficients)

    def _observe_and_decide(
        self,
        params: AgentParams,
        state: CollectorState,
        decision: Decision,
        rows: Array,
        draws: Draws,
        index: Array,
        coefficients: Coefficients,
    ) -> tuple[CollectorState, RawRow, Decision]:
        """Take in a step and decide on the next, which after the last one of a rollout is idle."""
        padded, step = self.pad(coefficients), self._unpacked(rows)
        scale = _at(draws, index).scale
        state, row = self.observe_step(state, decision, step, scale, padded)
        following = _at(draws, jnp.minimum(index + 1, self.shape.num_steps - 1))
        return state, row, self._decision(params, state, following, coefficients)


def _at(draws: Draws, index: Array | int) -> Draws:
    """Return what belongs to one step."""
    return jax.tree.map(partial(jax.lax.dynamic_index_in_dim, index=index, keepdims=False), draws)
