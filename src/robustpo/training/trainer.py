"""The training loop of one population: collect, learn, record, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from robustpo.algorithm.experience import Coefficients, Rollout
from robustpo.config import RunConfig
from robustpo.environments.base import HostEnvironment, Replayed, TracedEnvironment
from robustpo.environments.watchdog import watching
from robustpo.errors import SimulatorError
from robustpo.evaluation.evaluate import Stopped, evaluate_policy
from robustpo.policy import BEST_POLICY_FILE, Policy
from robustpo.training.agent import Agent, Event
from robustpo.training.checkpoint import Schedule
from robustpo.training.collectors import make_collector
from robustpo.training.compilation import compiler_options
from robustpo.training.population import (
    Population,
    coefficients_at,
    init_population,
    make_learn,
    put_agents,
    take_agent,
)
from robustpo.training.record import RunRecord
from robustpo.training.remarks import diverged, endless, located, not_exact
from robustpo.training.restore import restore_collection
from robustpo.training.simulators import make_simulators
from robustpo.training.snapshot import given_origin, make_policy, warm_start

Emit = Callable[[Event], None]
Inspect = Callable[[list[int], Population, Rollout, Coefficients], None]


class Trainer:
    """Trains the agents of one population to their ends.

    Args:
        configs: one configuration per agent, all of one task and shape.
        records: where each agent is recorded; None keeps nothing on disk.
        emit: receives events as plain dictionaries.
        should_stop: asked before every iteration and every step of an evaluation; True ends
            training and keeps what is there.
        constructor: makes the environment when the task is not a name.
        checkpoint_every: steps between checkpoints; 0 for one every two minutes.
        inspect: called after every collection, before the update, with each agent's iteration, the
            population that collected, what it collected and the coefficients. It must copy what it
            keeps, because the update donates its buffers.
        env_processes: processes that step simulators outside the compiled program; 0 for none.
        environment: the population's simulators, if they are made already.
    """

    def __init__(
        self,
        configs: Sequence[RunConfig],
        *,
        records: Sequence[RunRecord | None] | None = None,
        emit: Emit = lambda event: None,
        should_stop: Callable[[], bool] = lambda: False,
        constructor: Callable[[], Any] | None = None,
        checkpoint_every: int = 0,
        inspect: Inspect | None = None,
        env_processes: int = 0,
        environment: TracedEnvironment | HostEnvironment | None = None,
    ) -> None:
        if len({(c.task, c.shape) for c in configs}) != 1:
            raise ValueError("the agents of a population must share one task and one shape")
        self._configs = list(configs)
        self._emit = emit
        self._should_stop = should_stop
        self._inspect = inspect
        self.task = constructor or configs[0].task
        self.shape = configs[0].shape
        self.environment = environment or make_simulators(configs, self.task, env_processes)
        self.spec = self.environment.spec
        self.agents = [
            Agent(config, record, self.spec)
            for config, record in zip(configs, records or [None] * len(configs), strict=True)
        ]
        self._schedule = Schedule(checkpoint_every)
        self.population = init_population(
            configs, self.spec.observation_size, self.spec.action_size
        )
        self.population = warm_start(self.population, configs)
        self._collector = make_collector(self.environment, self.shape, len(configs))
        self._learn = make_learn(self.shape)

    def compile(self) -> None:
        """Start the simulators, restore what goes on, compile both halves of an iteration."""
        size = self.spec.observation_size
        origins = [given_origin(config, size) for config in self._configs]
        state = self._collector.start(self.population.collector, origins)
        self.population = replace(self.population, collector=state)
        self._restore()
        population, coefficients = self.population, self._coefficients()
        rollout = self._collector.compile(
            population.learners.params, population.collector, population.keys, coefficients
        )
        lowered = self._learn.lower(
            population.learners,
            rollout,
            coefficients,
            population.keys,
            self._iterations(),
            jnp.int32(len(self.agents)),
        )
        self._learn = lowered.compile(compiler_options())

    def run(self) -> None:
        """Train until every agent is done, has failed, or `should_stop` says so."""
        self.compile()
        self._emit({"kind": "started", "agents": len(self.agents)})
        self._catch_up()
        clock = time.perf_counter()
        paused = seconds = 0.0
        while any(agent.running for agent in self.agents) and not self._should_stop():
            metrics, rollout, moments = self._iterate()
            seconds = time.perf_counter() - clock - paused
            trained = [index for index, agent in enumerate(self.agents) if agent.running]
            for index in trained:
                own = {name: float(values[index]) for name, values in metrics.items()}
                self._take_in(index, own, rollout, moments, seconds)
            before = time.perf_counter()
            evaluated = [index for index in trained if self._evaluate(index)]
            paused += time.perf_counter() - before
            for index in evaluated:
                if self.agents[index].done:
                    self._finish(index, "completed", seconds)
            if self._schedule.due(self.shape.batch_size):
                self._save(seconds)
        self._save(seconds)
        for index, agent in enumerate(self.agents):
            if agent.running:
                self._finish(index, "interrupted", seconds)
        if note := endless(self.agents):
            self._emit(note)

    def close(self) -> None:
        """Release the simulators."""
        if isinstance(self.environment, HostEnvironment):
            with watching():
                self.environment.close()

    def _restore(self) -> None:
        """Put agents that have a checkpoint back to where they stood."""
        learners, saved = [], []
        for index, agent in enumerate(self.agents):
            found = None
            if agent.checkpoint is not None:
                found = agent.load(
                    take_agent(self.population.learners, index),
                    take_agent(self.population.collector, index),
                    self._collector.simulator_state(index),
                )
            learners.append(found and found[0])
            saved.append(found and found[1])
        state, restarted = restore_collection(self._collector, self.population.collector, saved)
        self.population = replace(
            self.population,
            learners=put_agents(self.population.learners, learners),
            collector=state,
        )
        for agent, which in zip(self.agents, restarted, strict=True):
            if which.any():
                agent.replay.restarted(which)
                self._emit(agent.event("note", text=not_exact(agent, self.environment)))

    def _save(self, seconds: float) -> None:
        """Write a checkpoint of every agent that still trains."""
        for index, agent in enumerate(self.agents):
            if agent.running:
                agent.save(
                    take_agent(self.population.learners, index),
                    take_agent(self.population.collector, index),
                    self._collector.simulator_state(index),
                    agent.seconds_before + seconds,
                    self._collector.origins[index],
                )

    def _iterations(self) -> Array:
        return jnp.array([agent.iteration for agent in self.agents], jnp.int32)

    def _coefficients(self) -> Coefficients:
        return coefficients_at(self._configs, [agent.iteration for agent in self.agents])

    def _iterate(self) -> tuple[dict[str, np.ndarray], Rollout, Any]:
        """Collect and learn once; return host metrics `[P]`, the rollout, the moments before."""
        population = self.population
        coefficients = self._coefficients()
        moments = jax.tree.map(np.array, population.collector.obs_moments)
        try:
            state, rollout = self._collector.collect(
                population.learners.params,
                population.collector,
                population.keys,
                coefficients,
                [agent.iteration for agent in self.agents],
            )
        except SimulatorError as error:
            raise located(error, self.agents) from error
        if self._inspect is not None:
            iterations = [agent.iteration for agent in self.agents]
            self._inspect(iterations, population, rollout, coefficients)
        learners, metrics = self._learn(
            population.learners,
            rollout,
            coefficients,
            population.keys,
            self._iterations(),
            jnp.int32(len(self.agents)),
        )
        self.population = Population(learners, state, population.keys)
        host = {name: np.asarray(values) for name, values in metrics.items()}
        host["alpha"] = np.asarray(coefficients.alpha)
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
        returns = np.asarray(rows.episode_return)[index]
        fault = agent.find_fault(np.asarray(rows.fault)[index], metrics, returns)
        if fault:
            self._fail(index, fault, moments, seconds)
            return
        # Whole arrays are viewed, not copied; slicing on the device would launch a program each.
        valid = np.asarray(rows.valid)[index]
        ended = valid & (np.asarray(rows.terminated)[index] | np.asarray(rows.truncated)[index])
        agent.log.add(
            int(valid.sum()),
            returns[ended].tolist(),
            np.asarray(rows.episode_length)[index][ended].tolist(),
            metrics,
        )
        if text := agent.alarm(metrics["entropy"]):
            self._emit(agent.event("note", text=text))
        if isinstance(self.environment, Replayed):
            given = rows.action if rows.executed is None else rows.executed
            reset = ended if self._collector.same_step else ~valid
            agent.replay.add(np.asarray(given)[index], reset)
        so_far = agent.seconds_before + seconds
        row = agent.log.take_row(so_far, final=agent.done)
        if row and agent.record:
            agent.record.add_row(row)
        recent = agent.log.final_return
        self._emit(agent.event("iteration", seconds=so_far, return_mean=recent, **metrics))

    def _fail(self, index: int, fault: tuple[int, str], moments: Any, seconds: float) -> None:
        agent = self.agents[index]
        error = diverged(agent, *fault)
        self._emit(agent.event("failed", text=error))
        self._finish(index, "failed", seconds, error=error, moments=moments)

    def _finish(
        self, index: int, status: str, seconds: float, error: str | None = None, moments: Any = None
    ) -> None:
        """Write an agent's policy and, unless it was interrupted, its result."""
        agent = self.agents[index]
        agent.end(status, self._policy(index, moments), agent.seconds_before + seconds, error)
        if status != "failed":
            final_return = agent.log.final_return
            self._emit(agent.event("finished", status=status, final_return=final_return))

    def _policy(self, index: int, moments: Any = None) -> Policy:
        population = self.population
        return make_policy(
            self.agents[index].config,
            self.spec,
            jax.tree.map(lambda x: np.asarray(x[index]), population.learners.params),
            jax.tree.map(
                lambda x: np.asarray(x[index]), moments or population.collector.obs_moments
            ),
            self._collector.origins[index],
        )

    def _catch_up(self) -> None:
        """Evaluate agents whose last evaluation was stopped before it had ended."""
        for index, agent in enumerate(self.agents):
            if agent.record is None or agent.log.step in (0, agent.record.evaluated_at):
                continue
            if self._evaluate(index) and agent.done:
                self._finish(index, "completed", 0.0)

    def _evaluate(self, index: int) -> bool:
        """Evaluate an agent that has just passed a multiple of `eval_every`; keep the best.

        False if it was stopped before it had ended.
        """
        agent = self.agents[index]
        batch, every = self.shape.batch_size, agent.config.eval_every
        step = agent.log.step
        if not agent.running or not every or step // every == (step - batch) // every:
            return True
        policy = self._policy(index)
        try:
            result = evaluate_policy(
                policy,
                self.task,
                episodes=agent.config.eval_episodes,
                seed=agent.iteration - 1,
                should_stop=self._should_stop,
            )
        except Stopped:
            return False
        best = result.mean > agent.best_evaluation
        agent.best_evaluation = max(agent.best_evaluation, result.mean)
        if agent.record:
            agent.record.add_evaluation({"step": step, **result.as_dict()})
            if best:
                agent.record.save_policy(BEST_POLICY_FILE, policy)
        self._emit(agent.event("evaluation", mean=result.mean, std=result.std, best=best))
        return True
