"""The training loop of one population: collect, learn, record, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from robustpo.algorithm.experience import FAULTS, Coefficients, Rollout
from robustpo.algorithm.learner import LearnerState, Metrics, learn
from robustpo.config import RunConfig, Shape
from robustpo.environments.make import make_environment
from robustpo.evaluation.evaluate import evaluate_policy
from robustpo.policy import BEST_POLICY_FILE, POLICY_FILE, Policy
from robustpo.training.bookkeeping import AgentLog
from robustpo.training.collector import make_collector
from robustpo.training.compilation import compiler_options
from robustpo.training.population import (
    LEARN_STREAM,
    Population,
    coefficients_at,
    init_population,
    map_agents,
    simulator_seeds,
)
from robustpo.training.record import RunRecord
from robustpo.training.snapshot import make_policy, warm_start

Event = dict[str, Any]
Emit = Callable[[Event], None]


@dataclass
class Agent:
    """One agent of the population as the host sees it."""

    config: RunConfig
    record: RunRecord | None
    log: AgentLog = field(init=False)
    running: bool = True
    best_evaluation: float = -np.inf
    policy: Policy | None = None

    def __post_init__(self) -> None:
        self.log = AgentLog(self.config)

    def event(self, kind: str, **content: Any) -> Event:
        """Return an event that names this agent."""
        return {
            "kind": kind,
            "task": self.config.task,
            "variant": self.config.variant,
            "seed": self.config.settings.seed,
            "step": self.log.step,
            "total_steps": self.config.total_steps,
            **content,
        }


def make_learn(shape: Shape) -> Any:
    """Return the compiled-on-demand update of a whole population, one agent after the other."""

    @partial(jax.jit, donate_argnums=(0,))
    def learn_population(
        learners: LearnerState,
        rollout: Rollout,
        coefficients: Coefficients,
        keys: Array,
        iteration: Array,
        num_agents: Array,
    ) -> tuple[LearnerState, Metrics]:
        def one_agent(inputs: tuple) -> tuple[LearnerState, Metrics]:
            learner, experience, numbers, key = inputs
            key = jax.random.fold_in(jax.random.fold_in(key, LEARN_STREAM), iteration)
            return learn(learner, experience, numbers, shape, key=key)

        return map_agents(one_agent, (learners, rollout, coefficients, keys), num_agents)

    return learn_population


class Trainer:
    """Trains the agents of one population to their ends.

    Args:
        configs: one configuration per agent, all of one task and shape.
        records: where each agent is recorded; None keeps nothing on disk.
        emit: receives events as plain dictionaries.
        should_stop: asked once per iteration; True ends training and keeps what is there.
        constructor: makes the environment when the task is not a name.
    """

    def __init__(
        self,
        configs: Sequence[RunConfig],
        *,
        records: Sequence[RunRecord | None] | None = None,
        emit: Emit = lambda event: None,
        should_stop: Callable[[], bool] = lambda: False,
        constructor: Callable[[], Any] | None = None,
    ) -> None:
        if len({(c.task, c.shape) for c in configs}) != 1:
            raise ValueError("the agents of a population must share one task and one shape")
        self.agents = [
            Agent(config, record)
            for config, record in zip(configs, records or [None] * len(configs), strict=True)
        ]
        self._configs = list(configs)
        self._emit = emit
        self._should_stop = should_stop
        self.task = constructor or configs[0].task
        self.shape = configs[0].shape
        seeds = [seed for config in configs for seed in simulator_seeds(config)]
        self.environment = make_environment(self.task, seeds)
        self.spec = self.environment.spec
        self.population = init_population(
            configs, self.spec.observation_size, self.spec.action_size
        )
        self.population = warm_start(self.population, configs)
        self._collector = make_collector(self.environment, self.shape, len(configs))
        self._learn = make_learn(self.shape)

    def compile(self) -> None:
        """Start the simulators and compile both halves of an iteration."""
        population = self.population
        coefficients = self._coefficients(0)
        state = self._collector.start(population.collector)
        self.population = Population(population.learners, state, population.keys)
        rollout = self._collector.compile(
            population.learners.params, state, population.keys, coefficients.gamma
        )
        lowered = self._learn.lower(
            population.learners,
            rollout,
            coefficients,
            population.keys,
            jnp.int32(0),
            jnp.int32(len(self.agents)),
        )
        self._learn = lowered.compile(compiler_options())

    def run(self) -> None:
        """Train until every agent is done, has failed, or `should_stop` says so."""
        self.compile()
        self._emit({"kind": "started", "agents": len(self.agents)})
        clock = time.perf_counter()
        paused = 0.0
        for iteration in range(max(c.num_iterations for c in self._configs)):
            metrics, rollout, moments = self._iterate(iteration)
            seconds = time.perf_counter() - clock - paused
            for index, agent in enumerate(self.agents):
                if agent.running:
                    own = {name: float(values[index]) for name, values in metrics.items()}
                    self._take_in(index, own, rollout, moments, seconds)
            before = time.perf_counter()
            self._evaluate(iteration)
            paused += time.perf_counter() - before
            if not any(agent.running for agent in self.agents):
                break
            if self._should_stop():
                self._interrupt(seconds)
                break

    def _coefficients(self, iteration: int) -> Coefficients:
        return coefficients_at(self._configs, iteration)

    def _iterate(self, iteration: int) -> tuple[dict[str, np.ndarray], Rollout, Any]:
        """Collect and learn once; return host metrics `[P]`, the rollout, the moments before."""
        population = self.population
        coefficients = self._coefficients(iteration)
        moments = jax.tree.map(np.array, population.collector.obs_moments)
        state, rollout = self._collector.collect(
            population.learners.params,
            population.collector,
            population.keys,
            coefficients.gamma,
            iteration,
        )
        learners, metrics = self._learn(
            population.learners,
            rollout,
            coefficients,
            population.keys,
            jnp.int32(iteration),
            jnp.int32(len(self.agents)),
        )
        self.population = Population(learners, state, population.keys)
        host = {name: np.asarray(values) for name, values in metrics.items()}
        host["alpha"] = np.asarray(coefficients.alpha)
        host["learning_rate"] = np.asarray(coefficients.learning_rate)
        return host, rollout, moments

    def _take_in(
        self,
        index: int,
        metrics: Mapping[str, float],
        rollout: Rollout,
        moments: Any,
        seconds: float,
    ) -> None:
        """Record one agent's iteration; end it if it has failed or is done."""
        agent = self.agents[index]
        rows = rollout.transitions
        fault = self._find_fault(agent, np.asarray(rows.fault)[index], metrics)
        if fault:
            self._fail(index, fault, moments, seconds)
            return
        # Whole arrays are viewed, not copied; slicing on the device would launch a program each.
        valid = np.asarray(rows.valid)[index]
        ended = valid & (np.asarray(rows.terminated)[index] | np.asarray(rows.truncated)[index])
        agent.log.add(
            int(valid.sum()),
            np.asarray(rows.episode_return)[index][ended].tolist(),
            np.asarray(rows.episode_length)[index][ended].tolist(),
            metrics,
        )
        done = agent.log.step >= agent.config.total_steps
        row = agent.log.take_row(seconds, final=done)
        if row and agent.record:
            agent.record.add_row(row)
        recent = agent.log.final_return
        self._emit(agent.event("iteration", seconds=seconds, return_mean=recent, **metrics))
        if done:
            self._finish(index, "completed", seconds)

    def _find_fault(
        self, agent: Agent, faults: np.ndarray, metrics: Mapping[str, float]
    ) -> tuple[int, str] | None:
        """Return the step and the name of the first quantity that was not finite."""
        if faults.any():
            row = int(np.flatnonzero(faults.reshape(-1))[0])
            return agent.log.step + row + 1, FAULTS[int(faults.reshape(-1)[row])]
        if metrics["finite"] < 1:
            return agent.log.step + agent.config.shape.batch_size, "gradient"
        return None

    def _fail(self, index: int, fault: tuple[int, str], moments: Any, seconds: float) -> None:
        agent = self.agents[index]
        step, quantity = fault
        error = (
            f"{agent.config.task}, {agent.config.variant}, seed {agent.config.settings.seed}: "
            f"{quantity} not finite at step {step:,}; this agent stops, its record is kept"
        )
        self._emit(agent.event("failed", text=error))
        self._finish(index, "failed", seconds, error=error, moments=moments)

    def _finish(
        self, index: int, status: str, seconds: float, error: str | None = None, moments: Any = None
    ) -> None:
        """Write an agent's policy and, unless it was interrupted, its result."""
        agent = self.agents[index]
        agent.running = False
        agent.policy = self._policy(index, moments)
        final_return = agent.log.final_return
        if agent.record:
            row = agent.log.take_row(seconds, final=True)
            if row:
                agent.record.add_row(row)
            agent.record.save_policy(POLICY_FILE, agent.policy)
            result = {
                "status": status,
                "final_return": final_return,
                "episodes": agent.log.episodes,
                "steps": agent.log.step,
                "transitions": agent.log.transitions,
                "seconds": seconds,
                "error": error,
            }
            if status == "interrupted":
                agent.record.write_table()
            else:
                agent.record.finish(result)
        if status != "failed":
            self._emit(agent.event("finished", status=status, final_return=final_return))

    def _interrupt(self, seconds: float) -> None:
        for index, agent in enumerate(self.agents):
            if agent.running:
                self._finish(index, "interrupted", seconds)

    def _policy(self, index: int, moments: Any = None) -> Policy:
        population = self.population
        return make_policy(
            self.agents[index].config,
            self.spec,
            jax.tree.map(lambda x: np.asarray(x[index]), population.learners.params),
            jax.tree.map(
                lambda x: np.asarray(x[index]), moments or population.collector.obs_moments
            ),
        )

    def _evaluate(self, iteration: int) -> None:
        """Evaluate agents that have passed a multiple of `eval_every`; keep the best policies."""
        batch = self.shape.batch_size
        for index, agent in enumerate(self.agents):
            every = agent.config.eval_every
            due = every and (iteration + 1) * batch // every > iteration * batch // every
            trained = (iteration + 1) * batch == agent.log.step
            if not due or not trained:
                continue
            policy = agent.policy or self._policy(index)
            result = evaluate_policy(
                policy, self.task, episodes=agent.config.eval_episodes, seed=iteration
            )
            best = result.mean > agent.best_evaluation
            agent.best_evaluation = max(agent.best_evaluation, result.mean)
            if agent.record:
                agent.record.add_evaluation({"step": agent.log.step, **result.as_dict()})
                if best:
                    agent.record.save_policy(BEST_POLICY_FILE, policy)
            self._emit(agent.event("evaluation", mean=result.mean, std=result.std, best=best))
