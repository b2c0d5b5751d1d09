"""The training loop of one population: collect, learn, record, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robustpo.algorithm.experience import Coefficients, Rollout
from robustpo.algorithm.learner import LearnerState
from robustpo.base.loops import on_accelerator
from robustpo.config.run import RunConfig
from robustpo.environments.base import HostEnvironment, Replayed, TracedEnvironment
from robustpo.environments.watchdog import watching
from robustpo.errors import SimulatorError
from robustpo.policy.policy import POLICY_FILE, Policy
from robustpo.training.agent import Agent, Event
from robustpo.training.collectors import make_collector
from robustpo.training.compilation import compiler_options, forget_extensions
from robustpo.training.population import (
    CollectorState,
    Population,
    coefficients_at,
    init_population,
    learn_population,
    put_agents,
    take_agent,
)
from robustpo.training.recording import Recording, Schedule
from robustpo.training.remarks import diverged, endless, located, not_exact
from robustpo.training.restore import restore_collection
from robustpo.training.rollout import Outcome, outcome
from robustpo.training.simulators import make_simulators
from robustpo.training.snapshot import given_origin, make_policy, warm_start

Emit = Callable[[Event], None]
# A policy, episodes and a seed become the evaluation as plain data; None if it was stopped.
Evaluate = Callable[[Policy, int, int], dict[str, Any] | None]
Inspect = Callable[[list[int], Population, Rollout, Coefficients], None]


@jax.jit
def _copied(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)


class Trainer:
    """Trains the agents of one population to their ends.

    Args:
        configs: one configuration per agent, all of one task and shape.
        records: what keeps each agent; None keeps nothing.
        emit: receives events as plain dictionaries.
        should_stop: asked before every iteration; True ends training and keeps what is there.
        constructor: makes the environment when the task is not a name.
        checkpoint_every: steps between checkpoints; 0 for one every two minutes.
        inspect: called after every collection, before the update, with each agent's iteration, the
            population that collected, what it collected and the coefficients. It must copy what it
            keeps, because the update donates its buffers.
        environment: the population's simulators, if they are made already.
        evaluate: evaluates a policy where the configuration says so (`eval_every`); None leaves
            evaluations out.
        vectorized: whether the agents are updated all at once; None does so on an accelerator.
    """

    def __init__(
        self,
        configs: Sequence[RunConfig],
        *,
        records: Sequence[Recording | None] | None = None,
        emit: Emit = lambda event: None,
        should_stop: Callable[[], bool] = lambda: False,
        constructor: Callable[[], Any] | None = None,
        checkpoint_every: int = 0,
        inspect: Inspect | None = None,
        environment: TracedEnvironment | HostEnvironment | None = None,
        evaluate: Evaluate | None = None,
        vectorized: bool | None = None,
    ) -> None:
        if len({(c.task, c.shape) for c in configs}) != 1:
            raise ValueError("the agents of a population must share one task and one shape")
        self._configs = list(configs)
        self._emit = emit
        self._should_stop = should_stop
        self._inspect = inspect
        self._evaluate = evaluate
        self._vectorized = on_accelerator() if vectorized is None else vectorized
        self.task = constructor or configs[0].task
        self.shape = configs[0].shape
        forget_extensions(self.shape)
        self.environment = environment or make_simulators(configs, self.task)
        self.spec = self.environment.spec
        self.agents = [
            Agent(config, record, self.spec)
            for config, record in zip(configs, records or [None] * len(configs), strict=True)
        ]
        self._schedule = Schedule(checkpoint_every)
        sizes = (self.spec.observation_size, self.spec.action_size)
        self.population = warm_start(init_population(configs, *sizes), configs)
        self._collector = make_collector(self.environment, self.shape, len(configs))
        self._learn: Any = None
        self._remarked = False

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
        update = self._update(rollout, coefficients)
        lowered = learn_population.lower(self.shape, *update, vectorized=self._vectorized)
        self._learn = lowered.compile(compiler_options())

    def run(self) -> None:
        """Train until every agent is done, has failed, or `should_stop` says so."""
        # Minutes, where the simulator is a large program.
        self._emit({"kind": "compiling"})
        self.compile()
        self._emit({"kind": "started", "agents": len(self.agents)})
        self._catch_up()
        clock = time.perf_counter()
        paused = seconds = 0.0
        while any(agent.running for agent in self.agents) and not self._should_stop():
            metrics, rows, moments = self._iterate()
            seconds = time.perf_counter() - clock - paused
            trained = [index for index, agent in enumerate(self.agents) if agent.running]
            for index in trained:
                own = {name: float(values[index]) for name, values in metrics.items()}
                self._take_in(index, own, rows, moments, seconds)
            before = time.perf_counter()
            evaluated = [index for index in trained if self._evaluated(index)]
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
                found = agent.load(*self._state_of(index))
            learners.append(found and found[0])
            saved.append(found and found[1])
        state, restarted = restore_collection(self._collector, self.population.collector, saved)
        whole = put_agents(self.population.learners, learners)
        self.population = replace(self.population, learners=whole, collector=state)
        for agent, which in zip(self.agents, restarted, strict=True):
            if which.any():
                agent.replay.restarted(which)
                self._emit(agent.event("note", text=not_exact(agent, self.environment)))

    def _save(self, seconds: float) -> None:
        """Write a checkpoint of every agent that still trains."""
        for index, agent in enumerate(self.agents):
            if agent.running:
                self._keep(index, seconds)

    def _keep(self, index: int, seconds: float, *, last: bool = False) -> None:
        agent, origin = self.agents[index], self._collector.origins[index]
        if agent.record is not None and not last and agent.log.step != agent.saved_step:
            # For whoever looks before the end; the last one is written there.
            agent.record.save_policy(POLICY_FILE, self._policy(index))
        agent.save(*self._state_of(index), agent.seconds_before + seconds, origin, last=last)

    def _state_of(self, index: int) -> tuple[LearnerState, CollectorState, Any]:
        """Return one agent's learner, its part of collection, and its simulators' state."""
        return (
            take_agent(self.population.learners, index),
            take_agent(self.population.collector, index),
            self._collector.simulator_state(index),
        )

    def _iterations(self) -> list[int]:
        return [agent.iteration for agent in self.agents]

    def _coefficients(self) -> Coefficients:
        return coefficients_at(self._configs, self._iterations())

    def _update(self, rollout: Rollout, coefficients: Coefficients) -> tuple[Any, ...]:
        """Return what an update takes, in `learn_population`'s order."""
        iterations = np.array(self._iterations(), np.int32)
        count = np.int32(len(self.agents))
        population = self.population
        return population.learners, rollout, coefficients, population.keys, iterations, count

    def _iterate(self) -> tuple[dict[str, np.ndarray], Outcome, Any]:
        """Collect and learn once; return the host's metrics `[P]` and rows, the moments before."""
        population = self.population
        coefficients = self._coefficients()
        # Collection uses up what it is given.
        moments = _copied(population.collector.obs_moments)
        try:
            state, rollout = self._collector.collect(
                population.learners.params,
                population.collector,
                population.keys,
                coefficients,
                self._iterations(),
            )
        except SimulatorError as error:
            raise located(error, self.agents) from error
        self._listen()
        if self._inspect is not None:
            self._inspect(self._iterations(), population, rollout, coefficients)
        learners, metrics = self._learn(*self._update(rollout, coefficients))
        self.population = replace(population, learners=learners, collector=state)
        metrics |= {"alpha": coefficients.alpha}
        replayed = isinstance(self.environment, Replayed)
        return *jax.device_get((metrics, outcome(rollout.transitions, replayed))), moments

    def _listen(self) -> None:
        """Take in what simulators on the host say of episodes, and of themselves."""
        if not isinstance(self.environment, HostEnvironment):
            return
        said, count = self.environment.take_information(), self.shape.num_envs
        for index, agent in enumerate(self.agents if said else ()):
            if agent.running:
                agent.log.information.add(said, index * count, count)
        remark = self.environment.remark
        if remark is not None and not self._remarked:
            self._emit({"kind": "note", "text": remark})
            self._remarked = True

    def _take_in(
        self,
        index: int,
        metrics: Mapping[str, float],
        rows: Outcome,
        moments: Any,
        seconds: float,
    ) -> None:
        """Record one agent's iteration; end it if it has failed or is done."""
        agent = self.agents[index]
        returns = rows.episode_return[index]
        fault = agent.find_fault(rows.fault[index], metrics, returns)
        if fault:
            self._fail(index, fault, moments, seconds)
            return
        valid = rows.valid[index]
        ended = valid & (rows.terminated[index] | rows.truncated[index])
        agent.log.add(
            int(valid.sum()),
            returns[ended].tolist(),
            rows.episode_length[index][ended].tolist(),
            metrics,
        )
        if text := agent.alarm(metrics["entropy"]):
            self._emit(agent.event("note", text=text))
        if rows.executed is not None:
            reset = ended if self._collector.same_step else ~valid
            agent.replay.add(rows.executed[index], reset)
        so_far = agent.seconds_before + seconds
        row = agent.log.take_row(so_far, final=agent.done)
        if row and agent.record:
            agent.record.add_row(row)
        recent = agent.log.final_return
        said = agent.log.information.recent()
        self._emit(agent.event("iteration", seconds=so_far, return_mean=recent, **said, **metrics))

    def _fail(self, index: int, fault: tuple[int, str], moments: Any, seconds: float) -> None:
        agent = self.agents[index]
        error = diverged(agent, *fault)
        self._emit(agent.event("failed", text=error))
        self._finish(index, "failed", seconds, error=error, moments=moments)

    def _finish(
        self, index: int, status: str, seconds: float, error: str | None = None, moments: Any = None
    ) -> None:
        """Write an agent's policy and, unless it was interrupted, its last state and result."""
        agent = self.agents[index]
        if status == "completed":
            self._keep(index, seconds, last=True)
        agent.end(status, self._policy(index, moments), agent.seconds_before + seconds, error)
        if status != "failed":
            final_return = agent.log.final_return
            self._emit(agent.event("finished", status=status, final_return=final_return))

    def _policy(self, index: int, moments: Any = None) -> Policy:
        params = self.population.learners.params
        moments = moments or self.population.collector.obs_moments
        # Whole arrays are viewed, not copied; slicing on the device would launch a program each.
        params, moments = take_agent((params, moments), index)
        origin = self._collector.origins[index]
        return make_policy(self.agents[index].config, self.spec, params, moments, origin)

    def _catch_up(self) -> None:
        """Evaluate agents whose last evaluation was stopped before it had ended."""
        for index, agent in enumerate(self.agents):
            if agent.record is None or agent.log.step in (0, agent.record.evaluated_at):
                continue
            if self._evaluated(index) and agent.done:
                self._finish(index, "completed", 0.0)

    def _evaluated(self, index: int) -> bool:
        """Evaluate an agent if it is due; False if that was stopped before it had ended."""
        agent = self.agents[index]
        batch, every = self.shape.batch_size, agent.config.eval_every
        step = agent.log.step
        due = agent.running and every and step // every != (step - batch) // every
        if not due or self._evaluate is None:
            return True
        policy = self._policy(index)
        result = self._evaluate(policy, agent.config.eval_episodes, agent.iteration - 1)
        if result is None:
            return False
        best = agent.take_evaluation(result, policy)
        shown = {name: result[name] for name in ("mean", "std")}
        self._emit(agent.event("evaluation", **shown, best=best))
        return True
