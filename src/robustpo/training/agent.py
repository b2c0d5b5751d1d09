"""One agent of a population as the host sees it: its record, its counters, its way back."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robustpo.algorithm.experience import FAULTS
from robustpo.algorithm.learner import LearnerState
from robustpo.config.run import RunConfig
from robustpo.environments.base import OVERFLOWING_REWARD, TaskSpec
from robustpo.errors import ConfigError
from robustpo.policy.families import FAMILIES
from robustpo.policy.policy import BEST_POLICY_FILE, POLICY_FILE, Policy
from robustpo.training.alarm import EntropyLimits, entropy_limits
from robustpo.training.bookkeeping import AgentLog
from robustpo.training.population import CollectorState
from robustpo.training.recording import Checkpoint, Recording
from robustpo.training.replay import ReplayLog
from robustpo.training.restore import SavedCollection, from_tensors, to_tensors

ORIGIN = "origin"

Event = dict[str, Any]


@dataclass
class Agent:
    """One agent.

    Attributes:
        config: what it is.
        record: what keeps it; None keeps nothing.
        spec: sizes of its task.
        variant: the configuration's, which is dear to name in every event.
        log: averages and counters.
        replay: what brings its simulators back.
        running: whether it still trains.
        best_evaluation: the highest mean of the evaluations made during training.
        seconds_before: training time before this process took it over.
        limits: between which entropies its policy is taken to be sound.
        saved_step: where it stood at its last checkpoint.
        policy: what it became, once it has ended.
    """

    config: RunConfig
    record: Recording | None
    spec: TaskSpec
    variant: str = field(init=False)
    log: AgentLog = field(init=False)
    replay: ReplayLog = field(init=False)
    limits: EntropyLimits = field(init=False)
    running: bool = True
    best_evaluation: float = -np.inf
    seconds_before: float = 0.0
    saved_step: int = 0
    policy: Policy | None = None

    def __post_init__(self) -> None:
        self.variant = self.config.variant
        self.log = AgentLog(self.config)
        self.replay = ReplayLog(
            self.config.shape.num_envs, self.spec.action_low, self.spec.action_high
        )
        shape = self.config.shape
        scaled = 2.0 if shape.action_scale == "bounds" else None
        width = FAMILIES[shape.distribution].width or scaled
        self.limits = entropy_limits(self.spec.action_low, self.spec.action_high, width=width)

    @property
    def iteration(self) -> int:
        """Iterations that lie behind it."""
        return self.log.step // self.config.shape.batch_size

    @property
    def done(self) -> bool:
        """Whether it still runs and has made all its steps."""
        return self.running and self.log.step >= self.config.total_steps

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What it goes on from, or None."""
        return self.record.checkpoint if self.record else None

    def event(self, kind: str, **content: Any) -> Event:
        """Return an event that names this agent."""
        return {
            "kind": kind,
            "task": self.config.task,
            "variant": self.variant,
            "seed": self.config.settings.seed,
            "step": self.log.step,
            "total_steps": self.config.total_steps,
            **content,
        }

    def find_fault(
        self, faults: np.ndarray, metrics: Mapping[str, float], returns: np.ndarray
    ) -> tuple[int, str] | None:
        """Return the step and the name of the first quantity that was not finite.

        Args:
            faults: index in `FAULTS` of every row of the rollout, `[T, E]`.
            metrics: what the update reports.
            returns: raw return of every row's episode up to it, `[T, E]`.
        """
        if faults.any():
            row = int(np.flatnonzero(faults.reshape(-1))[0])
            return self.log.step + row + 1, FAULTS[int(faults.reshape(-1)[row])]
        if metrics["finite"] < 1:
            largest = float(np.nanmax(np.abs(returns), initial=0.0))
            why = f"rewards too large for float32 (returns of {largest:.3g}), "
            quantity = "gradient" if largest < OVERFLOWING_REWARD else f"{why}gradient"
            return self.log.step + self.config.shape.batch_size, quantity
        return None

    def alarm(self, entropy: float) -> str | None:
        """Remember that the entropy has collapsed or exploded; say so the first time."""
        kind = self.limits.judge(entropy)
        if kind is None or kind in self.log.alarms:
            return None
        self.log.alarms[kind] = self.log.step
        bound = self.limits.low if kind == "collapsed" else self.limits.high
        return (
            f"{self.config.task}, {self.variant}, seed {self.config.settings.seed}: the "
            f"policy's entropy has {kind} at step {self.log.step:,} ({entropy:.2f} nats, alarm at "
            f"{bound:.2f}); training goes on"
        )

    def take_evaluation(self, result: Mapping[str, Any], policy: Policy) -> bool:
        """Keep an evaluation, and the policy if it is the best so far; return whether it is."""
        best = result["mean"] > self.best_evaluation
        self.best_evaluation = max(self.best_evaluation, result["mean"])
        if self.record:
            self.record.add_evaluation({"step": self.log.step, **result})
            if best:
                self.record.save_policy(BEST_POLICY_FILE, policy)
        return best

    def end(self, status: str, policy: Policy, seconds: float, error: str | None) -> None:
        """Write the policy and, unless the agent was interrupted, the result."""
        self.running, self.policy = False, policy
        if self.record is None:
            return
        if row := self.log.take_row(seconds, final=True):
            self.record.add_row(row)
        self.record.save_policy(POLICY_FILE, policy)
        if status == "interrupted":
            self.record.write_table()
            return
        self.record.finish(
            {
                "status": status,
                "final_return": self.log.final_return,
                "information": self.log.information.result(),
                "episodes": self.log.episodes,
                "steps": self.log.step,
                "transitions": self.log.transitions,
                "seconds": seconds,
                "alarms": self.log.alarms,
                "error": error,
            }
        )

    def save(
        self,
        learner: LearnerState,
        state: CollectorState,
        simulator: Any,
        seconds: float,
        origin: np.ndarray,
        *,
        last: bool = False,
    ) -> None:
        """Write a checkpoint of the agent as it stands between two iterations.

        The last one of an agent that is done is kept beside its policy.
        """
        if self.record is None or (self.log.step == self.saved_step and not last):
            return
        tensors = to_tensors("learner", learner) | to_tensors("collector", state)
        if simulator is None:
            tensors |= self.replay.to_tensors()
        else:
            tensors |= to_tensors("simulator", simulator)
        if origin.any():
            tensors[ORIGIN] = origin
        best = self.best_evaluation
        content = {
            "step": self.log.step,
            "seconds": seconds,
            "best_evaluation": best if math.isfinite(best) else None,
            "log": self.log.state(),
        }
        keep = self.record.save_final if last else self.record.save_checkpoint
        keep(tensors, content)
        self.saved_step = self.log.step

    def load(
        self, learner: LearnerState, state: CollectorState, simulator: Any
    ) -> tuple[LearnerState, SavedCollection]:
        """Take over the agent's checkpoint; return what belongs into its population.

        Args:
            learner: a learner of the same sizes.
            state: one agent's part of a collector's state.
            simulator: the state of its simulators at their start; None if they are replayed.

        Raises:
            ConfigError: if the checkpoint does not fit the run.
        """
        assert self.checkpoint is not None and self.record is not None
        tensors, content = self.checkpoint.tensors, self.checkpoint.state
        try:
            self.log.restore(content.get("log") or {})
            if self.log.step != self.checkpoint.step:
                raise ConfigError("its counters contradict each other")
            if simulator is None:
                self.replay.restore(tensors, self.log.step // self.config.shape.num_envs)
            else:
                simulator = from_tensors("simulator", simulator, tensors)
            self.seconds_before = _number(content.get("seconds"))
            if content.get("best_evaluation") is not None:
                self.best_evaluation = _number(content["best_evaluation"])
            learner = from_tensors("learner", learner, tensors)
            state = from_tensors("collector", state, tensors)
            origin = np.zeros(self.spec.observation_size, np.float32)
            if ORIGIN in tensors:
                origin = from_tensors(ORIGIN, origin, tensors)
        except ConfigError as error:
            raise ConfigError(
                f"the checkpoint in {self.record.directory} cannot be used: {error}; --fresh "
                "starts over and moves the old record aside"
            ) from error
        self.saved_step = self.log.step
        replay = self.replay
        return learner, SavedCollection(
            state, replay.resets, replay.tails(), replay.kept, simulator, origin
        )


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        raise ConfigError("its seconds or its best evaluation are no numbers")
    return float(value)
