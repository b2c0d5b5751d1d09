"""What is wrong with an environment, in plain words, before anything is trained on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from robustpo.diagnosis.finding import Finding
from robustpo.environments.base import TaskSpec
from robustpo.environments.bounds import bounds_to_try, far_bounds
from robustpo.environments.constructors import construct, find_constructor, one_line, task_name
from robustpo.environments.gymnasium import Task, inspect
from robustpo.environments.make import is_jax_task
from robustpo.errors import ConfigError
from robustpo.settings import Settings

STEPS = 200
SEED = 1
LARGE_REWARD = 1e4
SLOW = 500.0


def check_environment(task: Task) -> list[Finding]:
    """Say what would go wrong, or go badly, if a task were trained on.

    It is constructed twice, reset and stepped some hundred times with random actions.

    Args:
        task: an id, `module:callable`, or a function or class that makes one environment.

    Returns:
        Findings with `status` `fail` (it cannot be trained on), `warn` (it can, but look at it) or
        `ok`, what was found in `detail` and what to do in `advice`.

    Example:
        >>> for finding in check_environment("gymnasium/Pendulum-v1"):
        ...     print(finding.status, finding.name)
        ok spaces
        ok reset
        ok steps
        ok repeatable
        ok episodes
    """
    try:
        constructor = find_constructor(task)
        made = construct(task_name(task), constructor)
        if is_jax_task(made):
            return _check_jax(made, task_name(task))
        return list(_check_gymnasium(made, constructor, task_name(task)))
    except ConfigError as error:
        return [Finding("fail", str(error), name="constructor")]


def _check_jax(task: Any, name: str) -> list[Finding]:
    from robustpo.environments.jax_task import HostJaxEnvironment, JaxEnvironment

    environment = HostJaxEnvironment(JaxEnvironment(task, [SEED, SEED], name=name))
    found = [Finding("ok", "sizes, shapes and types agree", name="spaces")]
    found += _judge_bounds(environment.spec)
    environment.reset()
    actions = _actions(environment.spec.action_low, environment.spec.action_high)
    ends = 0
    for action in actions:
        step = environment.step(np.stack([action, action]))
        ends += int((step.terminated | step.truncated)[0])
        if not (np.isfinite(step.final_obs).all() and np.isfinite(step.reward).all()):
            text = "an observation or a reward is not finite"
            advice = "find the division, root or logarithm that makes it"
            return [*found, Finding("fail", text, advice, name="steps")]
    found.append(Finding("ok", f"{STEPS} random steps are finite", name="steps"))
    return [*found, _judge_ends(ends, environment.spec.episode_limit)]


def _check_gymnasium(env: Any, constructor: Callable[[], Any], name: str) -> Iterator[Finding]:
    spec = inspect(name, construct(name, constructor))
    size = f"{spec.observation_size} observations, {spec.action_size} actions"
    if spec.bounded:
        yield Finding("ok", size, name="spaces")
    else:
        yield Finding(
            "warn",
            f"{size}, not all of them bounded",
            "give the action space finite bounds, which squashed policies need",
            name="spaces",
        )
    yield from _judge_bounds(spec)
    start = time.perf_counter()
    walk = _walk(env, spec)
    rate = STEPS / (time.perf_counter() - start)
    env.close()
    if walk.problem:
        yield walk.problem
        return
    yield Finding("ok", "returns an observation of the space, and information", name="reset")
    yield Finding("ok", f"{STEPS} random steps are finite, {rate:,.0f} a second", name="steps")
    if rate < SLOW:
        advice = "step several in processes of their own: --num-envs 8 --env-processes 8"
        yield Finding("warn", f"{rate:,.0f} steps a second are few", advice, name="speed")
    if walk.largest > LARGE_REWARD:
        advice = (
            "rewards are normalised unless that is switched off; smaller ones train better then"
        )
        yield Finding("warn", f"a reward is {walk.largest:,.0f}", advice, name="rewards")
    again = construct(name, constructor)
    same = np.array_equal(walk.observations, _walk(again, spec).observations)
    again.close()
    if same:
        detail = "the same seed and actions lead to the same observations"
        yield Finding("ok", detail, name="repeatable")
    else:
        yield Finding(
            "warn",
            "the same seed and actions lead to other observations",
            "draw from self.np_random after super().reset(seed=seed) and nothing else; until then "
            "a run cannot be repeated, and goes on with a new episode after it was stopped",
            name="repeatable",
        )
    yield _judge_ends(walk.ends, spec.episode_limit)


@dataclass(frozen=True)
class _Walk:
    """What random steps showed; the problem is None if nothing was wrong."""

    problem: Finding | None
    observations: np.ndarray
    ends: int = 0
    largest: float = 0.0


def _walk(env: Any, spec: TaskSpec) -> _Walk:
    """Take the same random steps every time; the first ones are at the bounds."""
    observations: list[np.ndarray] = []
    ends, largest = 0, 0.0

    def stopped(name: str, detail: str, advice: str) -> _Walk:
        return _Walk(Finding("fail", detail, advice, name=name), np.array([]))

    try:
        answer = env.reset(seed=SEED)
    except Exception as error:
        return stopped("reset", one_line(error), "make reset(seed=1) work, seed being optional")
    if not (isinstance(answer, tuple) and len(answer) == 2):
        detail = f"reset returns {one_line(type(answer).__name__)}, not (observation, information)"
        return stopped("reset", detail, "return two things, as Gymnasium asks; old Gym had one")
    space = env.action_space
    obs = answer[0]
    for action in _actions(spec.action_low, spec.action_high):
        wrong = _wrong_observation(env.observation_space, obs)
        if wrong:
            return stopped("steps" if observations else "reset", *wrong)
        observations.append(np.asarray(spaces.flatten(env.observation_space, obs)))
        try:
            answer = env.step(action.reshape(space.shape).astype(space.dtype))
        except Exception as error:
            detail = f"step({action.tolist()}) raises {one_line(repr(error))}"
            return stopped("steps", detail, "accept every action of the action space")
        if not (isinstance(answer, tuple) and len(answer) == 5):
            detail = f"step returns {len(answer) if isinstance(answer, tuple) else 1} things, not 5"
            advice = "return (observation, reward, terminated, truncated, information)"
            return stopped("steps", detail, advice)
        obs, reward, terminated, truncated, _ = answer
        if np.ndim(reward) or not np.isfinite(float(reward)):
            detail = f"the reward is {one_line(repr(reward))}, not one finite number"
            return stopped("steps", detail, "return a float that is neither NaN nor infinite")
        for word, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, bool | np.bool_):
                detail = f"{word} is {one_line(repr(flag))}, neither True nor False"
                return stopped("steps", detail, f"return {word} as a bool")
        largest = max(largest, abs(float(reward)))
        if terminated or truncated:
            ends += 1
            obs, _ = env.reset()
    return _Walk(None, np.array(observations, np.float64), ends, largest)


def _wrong_observation(space: spaces.Space, obs: Any) -> tuple[str, str] | None:
    """Return what is wrong with an observation and what to do, or None."""
    try:
        flat = np.asarray(spaces.flatten(space, obs), np.float64)
    except Exception as error:
        detail = f"an observation does not fit its space ({one_line(repr(error))})"
        return detail, f"return what {one_line(space)} says, or change the space"
    expected = spaces.flatdim(space)
    if flat.shape != (expected,):
        detail = f"an observation has {flat.size} numbers, its space {expected}"
        return detail, "return an observation of the space's shape, or change the space"
    if not np.isfinite(flat).all():
        detail = f"number {int(np.argmin(np.isfinite(flat)))} of an observation is not finite"
        return detail, "find the division, root or logarithm that makes it"
    return None


def _actions(low: Sequence[float], high: Sequence[float]) -> np.ndarray:
    """Return the bounds, where there are any, and then random actions, `[STEPS, A]` float32."""
    bounds = bounds_to_try(low, high)
    random = np.random.default_rng(0).uniform(bounds[0], bounds[1], (STEPS - 2, len(low)))
    return np.concatenate([bounds, random]).astype(np.float32)


def _judge_bounds(spec: TaskSpec) -> list[Finding]:
    """Warn of bounds that the published protocol, which acts in raw units, does not suit."""
    text = far_bounds(spec.action_low, spec.action_high, Settings().alpha)
    if text is None:
        return []
    advice = (
        "a task of your own is trained with the preset own, which scales actions to their bounds; "
        "with --preset paper choose --action-scale bounds"
    )
    return [Finding("warn", text, advice, name="actions")]


def _judge_ends(ends: int, limit: int | None) -> Finding:
    if ends or limit:
        how = f"end after {limit:,} steps at most" if limit else f"ended {ends} times"
        return Finding("ok", how, name="episodes")
    return Finding(
        "warn",
        f"no episode ended within {STEPS} random steps, and there is no time limit",
        "give it one (gymnasium.register with max_episode_steps, the wrapper TimeLimit, or "
        "episode_limit of a JaxTask) if it can go on for ever: returns are of whole episodes",
        name="episodes",
    )
