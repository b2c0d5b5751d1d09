"""What is wrong with a vector environment, in plain words, before anything is trained on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from robustpo.base.finding import Finding
from robustpo.environments.check_walk import SEED, STEPS, random_actions
from robustpo.environments.fence import Fence
from robustpo.environments.information import Information
from robustpo.environments.vector import VectorEnvironment
from robustpo.errors import SimulatorError


@dataclass(frozen=True)
class VectorWalk:
    """What random steps showed; the problem is None if nothing was wrong."""

    problem: Finding | None
    observations: np.ndarray
    ends: int = 0
    largest: float = 0.0
    rate: float = 0.0
    said: tuple[Information, ...] = ()
    remark: str | None = None


def make_and_walk(
    name: str, constructor: Callable[[], Any], first: tuple[Fence, Any] | None
) -> tuple[VectorEnvironment, VectorWalk]:
    """Make a vector, take the same random steps as every time, and close it.

    Raises:
        ConfigError: if it will not do.
    """
    environment = VectorEnvironment(constructor, [SEED], name=name, first=first)
    try:
        return environment, _walk(environment)
    finally:
        environment.close()


def _walk(environment: VectorEnvironment) -> VectorWalk:
    spec, count = environment.spec, environment.num_envs
    seen, ends, largest = [], 0, 0.0
    step_name = "reset"
    try:
        seen.append(environment.reset())
        step_name, start = "steps", time.perf_counter()
        for action in random_actions(spec.action_low, spec.action_high):
            step = environment.step(np.tile(action, (count, 1)))
            seen.append(step.final_obs)
            ends += int(((step.terminated | step.truncated) & step.valid).sum())
            largest = max(largest, float(np.abs(step.reward[step.valid]).max(initial=0.0)))
            if not (np.isfinite(step.final_obs).all() and np.isfinite(step.reward).all()):
                text = "an observation or a reward is not finite"
                advice = "find the division, root or logarithm that makes it"
                return VectorWalk(Finding("fail", text, advice, name="steps"), np.array([]))
    except SimulatorError as error:
        advice = "return batches as gymnasium.vector.VectorEnv documents them"
        return VectorWalk(Finding("fail", str(error), advice, name=step_name), np.array([]))
    rate = STEPS * count / (time.perf_counter() - start)
    said = tuple(environment.take_information())
    return VectorWalk(None, np.array(seen), ends, largest, rate, said, environment.remark)
