"""The policies that the theory is checked on: agents trained here, seen at a few points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from robustpo.algorithm.experience import Batch, Coefficients, Rollout, make_batch
from robustpo.algorithm.networks import AgentParams
from robustpo.config.run import RunConfig, make_config
from robustpo.config.shape import Shape
from robustpo.errors import ConfigError
from robustpo.policy.policy import load_policy
from robustpo.training.population import Population, take_agent
from robustpo.training.trainer import Trainer

METHODS = ("ppo", "rpo")


@dataclass(frozen=True)
class Snapshot:
    """An agent before one of its updates, with what it had just collected.

    Attributes:
        method: `ppo` or `rpo`.
        seed: of the agent.
        step: environment steps that its parameters have been trained on.
        params: its parameters, float32 arrays of the host.
        batch: its whole rollout.
        coefficients: its numbers.
    """

    method: str
    seed: int
    step: int
    params: AgentParams
    batch: Batch
    coefficients: Coefficients


@dataclass(frozen=True)
class Agents:
    """What was trained.

    Attributes:
        shape: of all agents.
        snapshots: in the order of training, agent by agent at every point.
        returns: final return per agent, by method and seed; agents that failed are missing.
        failures: what the agents that failed said.
    """

    shape: Shape
    snapshots: tuple[Snapshot, ...]
    returns: dict[tuple[str, int], float]
    failures: tuple[str, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps at which there are snapshots, ascending."""
        return tuple(sorted({snapshot.step for snapshot in self.snapshots}))

    def at(self, step: int, method: str) -> list[Snapshot]:
        """Return the snapshots of one method at one point, by seed; failed agents are left out."""
        return [
            one
            for one in self.snapshots
            if (one.step, one.method) == (step, method) and (method, one.seed) in self.returns
        ]


def make_configs(
    task: str, seeds: Sequence[int], steps: int, alpha: float, init_policy: str | None
) -> list[RunConfig]:
    """Return the agents to train, PPO and RPO for every seed.

    Raises:
        ConfigError: if a value is not valid or the policy to start from is not Gaussian.
    """
    if alpha == 0:
        raise ConfigError("alpha=0 perturbs nothing, so there is nothing to check; choose 0.5")
    if init_policy is not None:
        family = load_policy(init_policy).metadata["distribution"]
        if family != "gaussian":
            raise ConfigError(
                f"init_policy={init_policy!r} has distribution={family!r}; the theory is of "
                "Gaussian policies, choose a policy trained with --distribution gaussian"
            )
    options: dict[str, dict[str, Any]] = {"ppo": {}, "rpo": {"alpha": alpha}}
    return [
        make_config(task, method, seed=seed, steps=steps, init_policy=init_policy, **more)
        for method, more in options.items()
        for seed in seeds
    ]


def train_agents(
    configs: Sequence[RunConfig], *, points: int, say: Callable[[str], None]
) -> Agents:
    """Train a population and keep what it was at evenly spaced points, the first and last included.

    The last snapshot is the policy that collected the last rollout: one update, at the least
    learning rate of the schedule, before the end.

    Args:
        configs: the agents, all of one shape.
        points: how many snapshots to keep of each.
        say: receives lines of progress.
    """
    total = configs[0].num_iterations
    chosen = set(np.linspace(0, total - 1, min(points, total)).round().astype(int).tolist())
    inspector = _Inspector(configs, chosen)
    failures: list[str] = []
    tenth = max(1, total // 10)

    def emit(event: dict) -> None:
        if event["kind"] == "failed":
            failures.append(event["text"])
        own = configs[-1]
        last = (event.get("variant"), event.get("seed")) == (own.variant, own.settings.seed)
        if event["kind"] == "iteration" and last:
            iteration = event["step"] // own.shape.batch_size
            if iteration % tenth == 0:
                say(f"training {len(configs)} agents: {event['step']:,} of {own.total_steps:,}")

    trainer = Trainer(configs, emit=emit, inspect=inspector)
    trainer.run()
    returns = {
        (agent.config.method, agent.config.settings.seed): agent.log.final_return
        for agent in trainer.agents
        if agent.log.step >= agent.config.total_steps
    }
    return Agents(configs[0].shape, tuple(inspector.kept), returns, tuple(failures))


class _Inspector:
    """Copies agents and their experience at chosen iterations."""

    def __init__(self, configs: Sequence[RunConfig], iterations: set[int]) -> None:
        self.kept: list[Snapshot] = []
        self._configs, self._chosen = configs, iterations
        # Compiled once, for all agents and all points.
        self._batch = jax.jit(partial(make_batch, shape=configs[0].shape))

    def __call__(
        self,
        iterations: list[int],
        population: Population,
        rollout: Rollout,
        coefficients: Coefficients,
    ) -> None:
        for index, (config, iteration) in enumerate(zip(self._configs, iterations, strict=True)):
            if iteration not in self._chosen:
                continue
            params = jax.tree.map(np.array, take_agent(population.learners.params, index))
            numbers = jax.tree.map(np.array, take_agent(coefficients, index))
            batch = self._batch(params, take_agent(rollout, index), numbers)
            self.kept.append(
                Snapshot(
                    method=config.method,
                    seed=config.settings.seed,
                    step=iteration * config.shape.batch_size,
                    params=params,
                    batch=jax.tree.map(np.array, batch),
                    coefficients=numbers,
                )
            )
