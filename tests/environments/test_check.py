"""What is said of environments that are wrong, each in one way."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from environments import hostile
from environments.test_jax_task import Walk
from robustpo import check_environment
from robustpo.config.settings import Settings
from robustpo.environments.check import PUBLISHED_ALPHA


class Fine(gymnasium.Env):
    """Nothing is wrong with it: unequal bounds, a dictionary of observations."""

    observation_space = spaces.Dict(
        {"b": spaces.Box(-9, 9, (2,), np.float64), "a": spaces.Discrete(3)}
    )
    action_space = spaces.Box(np.array([-1, 0], np.float32), np.array([1, 5], np.float32))

    def reset(self, *, seed=None, options=None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return self.look(), {}

    def look(self):
        return {"b": self.np_random.uniform(-1, 1, 2), "a": 1}

    def step(self, action) -> Any:
        assert self.action_space.contains(action)
        self.count += 1
        return self.look(), 0.5, self.count == 20, False, {}


def test_a_sound_environment_is_all_right():
    findings = check_environment(Fine)
    assert {finding.status for finding in findings} == {"ok"}
    names = ["spaces", "reset", "steps", "repeatable", "episodes"]
    assert [finding.name for finding in findings] == names
    assert findings[0].detail == "5 observations, 2 actions"  # three of the Discrete, two


def test_a_task_in_jax_is_checked():
    assert {finding.status for finding in check_environment(Walk)} == {"ok"}


class NoSeed(Fine):
    def look(self):
        return {"b": np.random.default_rng().uniform(-1, 1, 2), "a": 1}


class Endless(Fine):
    def step(self, action):
        return self.look(), 0.5, False, False, {}


class Unbounded(Fine):
    action_space = spaces.Box(-np.inf, np.inf, (2,))


class OldReset(Fine):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class OldStep(Fine):
    def step(self, action):
        return super().step(action)[:4]


class NotANumber(Fine):
    def look(self):
        return {"b": np.array([0.0, np.nan]), "a": 1}


class WrongShape(Fine):
    def look(self):
        return {"b": np.zeros(3), "a": 1}


class RewardOfMany(Fine):
    def step(self, action):
        return self.look(), np.zeros(2), False, False, {}


class FlagsAsNumbers(Fine):
    def step(self, action):
        return self.look(), 0.0, 0, False, {}


class Fussy(Fine):
    def step(self, action):
        if action[1] > 4.99:
            raise ValueError("too far")
        return super().step(action)


class Images(Fine):
    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)


class Discrete(Fine):
    action_space = spaces.Discrete(3)


class Overdue(hostile.Endless):
    """Says that its episodes end after a hundred steps."""

    spec = EnvSpec("Overdue-v0", max_episode_steps=100)


def unwrapped():
    """What registered the task ends it by a wrapper, which is not there."""
    return gymnasium.make("Pendulum-v1").unwrapped


def fails():
    raise OSError("no licence server")


@pytest.mark.parametrize(
    ("task", "status", "name", "words"),
    [
        (NoSeed, "warn", "repeatable", "self.np_random"),
        (Endless, "warn", "episodes", "there is no time limit"),
        (Unbounded, "warn", "spaces", "finite bounds"),
        (OldReset, "fail", "reset", "not (observation, information)"),
        (OldStep, "fail", "steps", "step returns 4 things, not 5"),
        (NotANumber, "fail", "reset", "number 4 of an observation is not finite"),
        (WrongShape, "fail", "reset", "6 numbers, its space 5"),
        (RewardOfMany, "fail", "steps", "not one finite number"),
        (FlagsAsNumbers, "fail", "steps", "terminated is 0, neither True nor False"),
        (Fussy, "fail", "steps", "accept every action"),
        (Images, "fail", "constructor", "observes images"),
        (Discrete, "fail", "constructor", "discrete action space"),
        (fails, "fail", "constructor", "no licence server"),
        (hostile.Exits, "fail", "steps", "ended the program"),
        (hostile.ExitsWhenMade, "fail", "constructor", "ended the program"),
        (hostile.ExitsWhenReset, "fail", "reset", "ended the program"),
        (hostile.ExitsWhenClosed, "warn", "close", "ended the program"),
        (hostile.FailsToClose, "warn", "close", "the connection is gone"),
        (hostile.NoSpace, "fail", "constructor", "has no action_space"),
        (hostile.OtherPackage, "fail", "constructor", "another package"),
        (hostile.WrapsNothing, "fail", "constructor", "wraps nothing"),
        (hostile.UnreadableSpec, "fail", "constructor", "ask me later"),
        (hostile.NoReward, "fail", "steps", "the reward is None"),
        (hostile.NoLastObservation, "fail", "steps", "an observation is None"),
        (hostile.HugeReward, "fail", "rewards", "float32"),
        (hostile.Unwritable, "fail", "steps", "Odd"),
        (Overdue, "warn", "episodes", "which is its time limit"),
        (unwrapped, "warn", "episodes", "there is no time limit"),
        ("walker-wlak", "fail", "constructor", "did you mean dm_control/walker-walk-v0"),
    ],
)
def test_one_thing_is_wrong_and_is_named(task, status, name, words):
    wrong = [finding for finding in check_environment(task) if finding.status != "ok"]
    assert [(finding.status, finding.name) for finding in wrong] == [(status, name)]
    assert words in wrong[0].detail + wrong[0].advice


def test_the_first_is_closed_before_the_second_is_made():
    assert {finding.status for finding in check_environment(hostile.Once)} == {"ok"}
    assert hostile.Once.alive == 0


def test_what_the_check_did_not_expect_is_a_finding(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("robustpo.environments.check.take_walk", broken)
    (last,) = [finding for finding in check_environment(Fine) if finding.status == "fail"]
    assert (last.name, last.detail) == ("check", "the check itself raised ZeroDivisionError")


class Fine5000(Fine):
    action_space = spaces.Box(np.array([-0.01, 0], np.float32), np.array([0.01, 5000], np.float32))


def test_bounds_far_from_one_are_warned_of():
    assert Settings().alpha == PUBLISHED_ALPHA
    (found,) = [finding for finding in check_environment(Fine5000) if finding.status != "ok"]
    assert (found.status, found.name) == ("warn", "actions")
    assert "±0.01" in found.detail and "100 times half the range" in found.detail
    assert "--action-scale bounds" in str(found.advice)
