"""What is wrong with an environment, in plain words, before anything is trained on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium.vector import SyncVectorEnv

from robustpo.base.files import one_line
from robustpo.base.finding import Finding
from robustpo.environments.base import OVERFLOWING_REWARD, TaskSpec
from robustpo.environments.bounds import far_bounds
from robustpo.environments.check_vector import make_and_walk
from robustpo.environments.check_walk import SEED, STEPS, Walk, random_actions
from robustpo.environments.check_walk import walk as take_walk
from robustpo.environments.constructors import construct, find_constructor, task_name
from robustpo.environments.fence import Fence, describe, is_stop
from robustpo.environments.information import Information
from robustpo.environments.inspection import Task, describe_task, prepare
from robustpo.environments.make import is_jax_task, require_installed
from robustpo.environments.vector import Unpacked
from robustpo.environments.vector_inspection import is_vector
from robustpo.errors import ConfigError

LARGE_REWARD = 1e4
# Table 2 of arXiv 2212.07536.
PUBLISHED_ALPHA = 0.5
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
    found: list[Finding] = []
    try:
        found.extend(_check(task))
    except ConfigError as error:
        found.append(Finding("fail", str(error), name="constructor"))
    except BaseException as error:
        if is_stop(error):
            raise
        detail = f"the check itself {describe(error)}"
        advice = "mend what is odd about the environment; if nothing is, report this line"
        found.append(Finding("fail", detail, advice, name="check"))
    return found


def _check(task: Task) -> Sequence[Finding]:
    require_installed(task)
    constructor, name = find_constructor(task), task_name(task)
    fence = Fence(name)
    made = construct(name, constructor, fence)
    if is_jax_task(made):
        return _check_jax(made, name)
    if type(made) is SyncVectorEnv:
        source = Unpacked(constructor, made)
        return _check_gymnasium(fence, source(), source)
    if is_vector(made):
        return _check_vector(fence, made, constructor)
    return _check_gymnasium(fence, made, constructor)


def _check_jax(task: Any, name: str) -> list[Finding]:
    from robustpo.environments.jax_environment import HostJaxEnvironment, JaxEnvironment

    environment = HostJaxEnvironment(JaxEnvironment(task, [SEED, SEED], name=name))
    found = [Finding("ok", "sizes, shapes and types agree", name="spaces")]
    found += _judge_bounds(environment.spec)
    environment.reset()
    actions = random_actions(environment.spec.action_low, environment.spec.action_high)
    ends, largest = 0, 0.0
    for action in actions:
        step = environment.step(np.stack([action, action]))
        ends += int((step.terminated | step.truncated)[0])
        largest = max(largest, float(np.abs(step.reward).max()))
        if not (np.isfinite(step.final_obs).all() and np.isfinite(step.reward).all()):
            text = "an observation or a reward is not finite"
            advice = "find the division, root or logarithm that makes it"
            return [*found, Finding("fail", text, advice, name="steps")]
    found.append(Finding("ok", f"{STEPS} random steps are finite", name="steps"))
    found.extend(_judge_rewards(largest))
    return [*found, _judge_ends(ends, environment.spec.episode_limit)]


def _check_vector(fence: Fence, made: Any, constructor: Callable[[], Any]) -> list[Finding]:
    environment, walk = make_and_walk(fence.task, constructor, (fence, made))
    spec, count = environment.spec, environment.num_envs
    size = _judge_spaces(spec)
    kind = f"{count} environments, {environment.autoreset.replace('_', ' ')} autoreset"
    found = [replace(size, detail=f"{kind}: {size.detail}"), *_judge_bounds(spec)]
    if walk.problem:
        return [*found, walk.problem]
    found.append(Finding("ok", "returns observations of the space, and information", name="reset"))
    text = f"{STEPS} random steps of all are finite, {walk.rate:,.0f} a second"
    found += [Finding("ok", text, name="steps"), *_judge_rewards(walk.largest)]
    _, again = make_and_walk(fence.task, constructor, None)
    if again.problem or not np.array_equal(walk.observations, again.observations):
        advice = "until reset(seed) settles what is drawn, a run cannot be repeated"
        text = "the same seed and actions lead to other observations"
        found.append(Finding("warn", text, advice, name="repeatable"))
    else:
        text = "the same seed and actions lead to the same observations"
        found.append(Finding("ok", text, name="repeatable"))
    found.append(_judge_ends(walk.ends, spec.episode_limit))
    if walk.remark:
        advice = "return the observation before the reset as info['final_obs']"
        found[-1] = Finding("warn", walk.remark, advice, name="episodes")
    return [*found, *_judge_information(walk.said)]


def _judge_information(said: Sequence[Information]) -> list[Finding]:
    """Name what can be followed beside the return, and judged by; nothing if nothing was said."""
    numbers = dict.fromkeys(name for one in said for name in one.values)
    texts = dict.fromkeys(name for one in said for name in sorted(one.texts))
    if not numbers and not texts:
        return []
    detail = f"at an episode's end: {one_line(', '.join(numbers), 200) or 'no number'}"
    if texts:
        detail += f"; text, which is no metric: {one_line(', '.join(texts), 80)}"
    return [Finding("ok", detail, name="information")]


def _check_gymnasium(fence: Fence, made: Any, constructor: Callable[[], Any]) -> list[Finding]:
    env = prepare(fence, made)
    try:
        with fence.reading():
            spec = describe_task(fence.task, fence.task, env)
        found = [_judge_spaces(spec), *_judge_bounds(spec)]
        start = time.perf_counter()
        walk = take_walk(fence, made, spec)
        rate = STEPS / (time.perf_counter() - start)
    finally:
        # Before another is made: there may be only one at a time.
        complaint = fence.close(env)
    if complaint:
        advice = "make close() work, also if it is called twice; training goes on without"
        found.append(Finding("warn", complaint, advice, name="close"))
    if walk.problem:
        return [*found, walk.problem]
    found.append(
        Finding("ok", "returns an observation of the space, and information", name="reset")
    )
    found.append(
        Finding("ok", f"{STEPS} random steps are finite, {rate:,.0f} a second", name="steps")
    )
    if rate < SLOW:
        advice = "step several in processes of their own: --num-envs 8 --env-processes 8"
        found.append(Finding("warn", f"{rate:,.0f} steps a second are few", advice, name="speed"))
    found.extend(_judge_rewards(walk.largest))
    found.append(_judge_repeated(walk, _walk_again(fence.task, constructor, spec)))
    found.append(_judge_ends(walk.ends, spec.episode_limit))
    return [*found, *_judge_information(walk.said)]


def _walk_again(name: str, constructor: Callable[[], Any], spec: TaskSpec) -> Walk:
    fence = Fence(name)
    again = construct(name, constructor, fence)
    try:
        return take_walk(fence, again, spec)
    finally:
        fence.close(again)


def _judge_spaces(spec: TaskSpec) -> Finding:
    size = f"{spec.observation_size} observations, {spec.action_size} actions"
    if spec.bounded:
        return Finding("ok", size, name="spaces")
    return Finding(
        "warn",
        f"{size}, not all of them bounded",
        "give the action space finite bounds, which squashed policies need",
        name="spaces",
    )


def _judge_rewards(largest: float) -> list[Finding]:
    if largest > OVERFLOWING_REWARD:
        advice = "scale it: float32, in which it is normalised and learned, cannot hold its square"
        return [Finding("fail", f"a reward is {largest:.3g}", advice, name="rewards")]
    if largest > LARGE_REWARD:
        advice = (
            "rewards are normalised unless that is switched off; smaller ones train better then"
        )
        return [Finding("warn", f"a reward is {largest:,.0f}", advice, name="rewards")]
    return []


def _judge_repeated(walk: Walk, again: Walk) -> Finding:
    if again.problem:
        detail = f"the second one that was made: {again.problem.detail}"
        return Finding("fail", detail, again.problem.advice, name="repeatable")
    if np.array_equal(walk.observations, again.observations):
        detail = "the same seed and actions lead to the same observations"
        return Finding("ok", detail, name="repeatable")
    return Finding(
        "warn",
        "the same seed and actions lead to other observations",
        "draw from self.np_random after super().reset(seed=seed) and nothing else; until then "
        "a run cannot be repeated, and goes on with a new episode after it was stopped",
        name="repeatable",
    )


def _judge_bounds(spec: TaskSpec) -> list[Finding]:
    """Warn of bounds that the published protocol, which acts in raw units, does not suit."""
    text = far_bounds(spec.action_low, spec.action_high, PUBLISHED_ALPHA)
    if text is None:
        return []
    advice = (
        "a task of your own is trained with the preset own, which scales actions to their bounds; "
        "with --preset paper choose --action-scale bounds"
    )
    return [Finding("warn", text, advice, name="actions")]


def _judge_ends(ends: int, limit: int | None) -> Finding:
    if limit and limit < STEPS and not ends:
        advice = "let step() return truncated=True then, as the wrapper TimeLimit does"
        detail = f"no episode ended after {limit:,} steps, which is its time limit"
        return Finding("warn", detail, advice, name="episodes")
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
