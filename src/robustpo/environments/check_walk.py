"""Random steps through a user's environment, and what is wrong with the first answer that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from robustpo.base.files import one_line
from robustpo.base.finding import Finding
from robustpo.environments.base import TaskSpec
from robustpo.environments.bounds import bounds_to_try
from robustpo.environments.fence import Fence, describe
from robustpo.environments.information import Information, of_one
from robustpo.errors import SimulatorError

STEPS = 200
SEED = 1


@dataclass(frozen=True)
class Walk:
    """What random steps showed; the problem is None if nothing was wrong."""

    problem: Finding | None
    observations: np.ndarray
    ends: int = 0
    largest: float = 0.0
    said: tuple[Information, ...] = ()


def walk(fence: Fence, env: Any, spec: TaskSpec) -> Walk:
    """Take the same random steps every time; the first ones are at the bounds."""
    observations: list[np.ndarray] = []
    ends, largest, name = 0, 0.0, "reset"
    said: list[Information] = []
    try:
        obs = _reset(fence, env, seed=SEED)
        for action in random_actions(spec.action_low, spec.action_high):
            observations.append(_observation(env.observation_space, obs))
            name = "steps"
            obs, reward, terminated, truncated, info = _step(fence, env, action)
            largest = max(largest, abs(reward))
            if terminated or truncated:
                ends += 1
                said += [one for one in (of_one(info, 0),) if one is not None]
                _observation(env.observation_space, obs)
                obs = _reset(fence, env)
    except _Wrong as wrong:
        return Walk(Finding("fail", wrong.detail, wrong.advice, name=name), np.array([]))
    return Walk(None, np.array(observations, np.float64), ends, largest, tuple(said))


class _Wrong(Exception):
    """What is wrong with an answer, and what to do."""

    def __init__(self, detail: str, advice: str) -> None:
        super().__init__(detail)
        self.detail, self.advice = detail, advice


def _reset(fence: Fence, env: Any, *, seed: int | None = None) -> Any:
    try:
        with fence.call("reset"):
            answer = env.reset(seed=seed)
    except SimulatorError as error:
        advice = "make reset(seed=1) work, seed being optional"
        raise _Wrong(describe(error.__cause__ or error), advice) from error
    if not (isinstance(answer, tuple) and len(answer) == 2):
        detail = f"reset returns {one_line(type(answer).__name__)}, not (observation, information)"
        raise _Wrong(detail, "return two things, as Gymnasium asks; old Gym had one")
    return answer[0]


def _step(fence: Fence, env: Any, action: np.ndarray) -> tuple[Any, float, bool, bool, Any]:
    space = env.action_space
    try:
        with fence.step:
            answer = env.step(action.reshape(space.shape).astype(space.dtype))
    except SimulatorError as error:
        cause = error.__cause__ or error
        advice = "accept every action of the action space"
        if isinstance(cause, SystemExit):
            advice = "raise an error or end the episode instead; sys.exit is for programs"
        raise _Wrong(f"step({action.tolist()}) {describe(cause)}", advice) from error
    if not (isinstance(answer, tuple) and len(answer) == 5):
        detail = f"step returns {len(answer) if isinstance(answer, tuple) else 1} things, not 5"
        advice = "return (observation, reward, terminated, truncated, information)"
        raise _Wrong(detail, advice)
    obs, reward, terminated, truncated, info = answer
    number = _number(reward)
    if not np.isfinite(number):
        detail = f"the reward is {one_line(repr(reward))}, not one finite number"
        raise _Wrong(detail, "return a float that is neither NaN nor infinite")
    for word, flag in (("terminated", terminated), ("truncated", truncated)):
        if not isinstance(flag, bool | np.bool_):
            detail = f"{word} is {one_line(repr(flag))}, neither True nor False"
            raise _Wrong(detail, f"return {word} as a bool")
    return obs, number, bool(terminated), bool(truncated), info


def _number(reward: Any) -> float:
    """Return a reward as a number; NaN for what is none."""
    try:
        return float("nan") if np.ndim(reward) else float(reward)
    except Exception:
        return float("nan")


def _observation(space: spaces.Space, obs: Any) -> np.ndarray:
    """Return an observation as it is learned from, or raise what is wrong with it."""
    if obs is None:
        raise _Wrong("an observation is None", "return one at every end of an episode too")
    try:
        flat = np.asarray(spaces.flatten(space, obs), np.float64)
    except Exception as error:
        detail = f"an observation does not fit its space ({one_line(repr(error))})"
        advice = f"return what {one_line(space)} says, or change the space"
        raise _Wrong(detail, advice) from error
    expected = spaces.flatdim(space)
    if flat.shape != (expected,):
        detail = f"an observation has {flat.size} numbers, its space {expected}"
        raise _Wrong(detail, "return an observation of the space's shape, or change the space")
    if not np.isfinite(flat).all():
        detail = f"number {int(np.argmin(np.isfinite(flat)))} of an observation is not finite"
        raise _Wrong(detail, "find the division, root or logarithm that makes it")
    return flat.copy()


def random_actions(low: Sequence[float], high: Sequence[float]) -> np.ndarray:
    """Return the bounds, where there are any, and then random actions, `[STEPS, A]` float32."""
    bounds = bounds_to_try(low, high)
    random = np.random.default_rng(0).uniform(bounds[0], bounds[1], (STEPS - 2, len(low)))
    return np.concatenate([bounds, random]).astype(np.float32)
