"""Collection in one compiled scan, simulator and all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
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
    Replayed,
    TracedEnvironment,
)
from robustpo.training.collectors.base import Collector, compiled
from robustpo.training.compilation import compiler_options, uncached
from robustpo.training.population import CollectorState, put_agents
from robustpo.training.rollout import Draws, RawRow


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Collecting:
    """What a step of collection hands to the next: the agents' side and the simulators'."""

    state: CollectorState
    simulator: Any


class TracedCollector(Collector):
    """Runs policy and simulator inside one `lax.scan`."""

    def __init__(self, environment: TracedEnvironment, shape: Shape, num_agents: int) -> None:
        super().__init__(environment, shape, num_agents)
        self._simulator: Any = None
        self._run: Any = jax.jit(self._steps, donate_argnums=(1,))

    def start(
        self, state: CollectorState, origins: Sequence[np.ndarray | None] = ()
    ) -> CollectorState:
        """Reset the simulators inside JAX and keep their state for the first rollout."""
        del origins  # what is observed is float32 already
        self._simulator, obs = self.environment.init()
        return compiled(self.observe_first)(state, obs)

    def compile(
        self, params: AgentParams, state: CollectorState, keys: Array, coefficients: Coefficients
    ) -> Any:
        """Compile the scan, simulator and all, and the digest; what may come from a cache does."""
        draws = self.draw(keys, [0] * self.num_agents)
        with nullcontext() if self.environment.cacheable else uncached():
            lowered = self._run.lower(params, state, self._simulator, draws, coefficients)
            self._run = lowered.compile(compiler_options())
        # By itself, because this one comes from the cache where the simulator's program cannot.
        rows, last_scale = lowered.out_info[2:]
        given = (state, rows, last_scale, coefficients)
        lowered = self._digest.func.lower(*given, shape=self.shape)
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
        """Return one agent's part of the threaded state."""
        if isinstance(self.environment, Replayed):
            return None
        own = slice(index * self.shape.num_envs, (index + 1) * self.shape.num_envs)
        return jax.tree.map(lambda x: np.array(x[own]), self._simulator)

    def load_simulators(self, saved: Sequence[Any]) -> None:
        """Put parts of agents into the threaded state."""
        folded = (self.num_agents, self.shape.num_envs)
        agents = jax.tree.map(lambda x: jnp.reshape(x, (*folded, *x.shape[1:])), self._simulator)
        agents = put_agents(agents, saved)
        self._simulator = jax.tree.map(lambda x: x.reshape(math.prod(folded), *x.shape[2:]), agents)

    def _steps(
        self,
        params: AgentParams,
        state: CollectorState,
        simulator: Any,
        draws: Draws,
        coefficients: Coefficients,
    ) -> tuple[CollectorState, Any, RawRow, Array | None]:
        step = partial(self._step, *self.pad((params, coefficients)))
        end, rows = jax.lax.scan(step, Collecting(state, simulator), draws.steps())
        return end.state, end.simulator, rows, draws.last_scale()

    def _step(
        self,
        params: AgentParams,
        coefficients: Coefficients,
        now: Collecting,
        draws: Draws,
    ) -> tuple[Collecting, RawRow]:
        decision = self.decide(params, now.state, draws, coefficients)
        simulator, step = self.environment.step(now.simulator, decision.given)
        state, row = self.observe_step(now.state, decision, step, draws.scale, coefficients)
        return Collecting(state, simulator), row
