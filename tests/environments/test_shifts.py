"""Disturbed senses and actuators, on an integrator whose answers are known."""

import numpy as np
import pytest

from robustpo.environments.base import Autoreset, HostEnvironment, Step, TaskSpec
from robustpo.environments.shifts import SHIFTS, DisturbedEnvironment
from robustpo.errors import ConfigError

LENGTH = 6


class Integrators(HostEnvironment):
    """x ← x + a, observed as it is; an episode is of `LENGTH` steps and begins at 10."""

    def __init__(self, count=2, autoreset: Autoreset = "next_step", size=1):
        self.num_envs, self.autoreset = count, autoreset
        self.spec = TaskSpec("integrator", "Custom", size, (-2.0,), (2.0,), LENGTH, "gymnasium")
        self.size, self.executed = size, []

    def reset(self):
        self.x = np.full(self.num_envs, 10.0)
        self.steps = np.zeros(self.num_envs, int)
        self.ended = np.zeros(self.num_envs, bool)
        return self._obs()

    def _obs(self):
        return np.repeat(self.x[:, None], self.size, axis=1).astype(np.float32)

    def step(self, action):
        self.executed.append(action[:, 0].copy())
        valid = ~self.ended if self.autoreset == "next_step" else np.ones(self.num_envs, bool)
        self.x = np.where(valid, self.x + action[:, 0], 10.0)
        self.steps = np.where(valid, self.steps + 1, 0)
        ends = self.steps >= LENGTH
        self.ended = ends
        final = self._obs()
        if self.autoreset == "same_step":
            self.x, self.steps = np.where(ends, 10.0, self.x), np.where(ends, 0, self.steps)
        no = np.zeros(self.num_envs, bool)
        return Step(self._obs(), self.x.astype(np.float32), no, ends, final, valid)


def disturbed(name, level, *, seed=0, copies=1, scale=None, **options):
    inner = Integrators(**options)
    return inner, DisturbedEnvironment(
        inner, SHIFTS[name], level, seed=seed, copies=copies, scale=scale
    )


def ones(env, value=1.0):
    return np.full((env.num_envs, 1), value, np.float32)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("delay", [0, 1, 3])
def test_an_action_takes_effect_k_steps_later_in_every_episode(delay, autoreset):
    inner, env = disturbed("action-delay", delay, autoreset=autoreset)
    env.reset()
    lengths = LENGTH + (autoreset == "next_step")
    for _ in range(2):
        for t in range(1, LENGTH):
            env.step(ones(env))
            assert inner.x.tolist() == [10.0 + max(0, t - delay)] * 2
        for _ in range(lengths - LENGTH + 1):
            env.step(ones(env))


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("delay", [0, 1, 3])
def test_an_observation_arrives_k_steps_later_in_every_episode(delay, autoreset):
    _, env = disturbed("observation-delay", delay, autoreset=autoreset)
    obs = env.reset()
    for _ in range(2):
        assert obs[:, 0].tolist() == [10.0, 10.0]
        for t in range(1, LENGTH):
            obs = env.step(ones(env)).obs
            assert obs[:, 0].tolist() == [10.0 + max(0, t - delay)] * 2
        for _ in range(1 + (autoreset == "next_step")):
            obs = env.step(ones(env)).obs


def test_what_is_always_lost_never_arrives():
    inner, env = disturbed("observation-dropout", 1.0)
    env.reset()
    for _ in range(LENGTH - 1):
        assert env.step(ones(env)).obs[:, 0].tolist() == [10.0, 10.0]
    assert inner.x.tolist() == [15.0, 15.0]
    inner, env = disturbed("action-dropout", 1.0)
    env.reset()
    for _ in range(LENGTH - 1):
        env.step(ones(env))
    # That nearest to zero, for ever.
    assert inner.x.tolist() == [10.0, 10.0]


def test_a_lost_action_leaves_the_last_one_on():
    inner, env = disturbed("action-dropout", 0.5, count=400)
    env.reset()
    first = ones(env)
    env.step(first)
    lost_first = inner.executed[0] == 0.0
    assert 0.4 < lost_first.mean() < 0.6
    env.step(ones(env, -1.0))
    held = inner.executed[1] != -1.0
    assert 0.4 < held.mean() < 0.6
    assert (inner.executed[1][held] == inner.executed[0][held]).all()


def test_noise_is_of_the_size_that_it_is_said_to_be():
    scale = np.array([0.5, 3.0])
    _, env = disturbed("observation-noise", 0.2, count=20_000, size=2, scale=scale)
    noise = env.reset() - 10.0
    # A standard deviation over 20,000 draws is right to 0.5%.
    assert noise.std(axis=0) == pytest.approx(0.2 * scale, rel=0.03)
    assert abs(noise.mean(axis=0)).max() < 0.02
    inner, env = disturbed("action-noise", 0.1, count=20_000)
    env.reset()
    env.step(ones(env, 0.0))
    # Half of the range from -2 to 2 is 2.
    assert inner.executed[0].std() == pytest.approx(0.2, rel=0.03)


def test_a_weaker_actuator_does_less_and_none_leaves_its_bounds():
    inner, env = disturbed("action-scale", 0.25)
    env.reset()
    env.step(ones(env))
    assert inner.executed[0].tolist() == [0.25, 0.25]
    inner, env = disturbed("action-scale", 3.0)
    env.reset()
    env.step(ones(env))
    assert inner.executed[0].tolist() == [2.0, 2.0]


@pytest.mark.parametrize("name", [n for n, s in SHIFTS.items() if s.kind != "dynamics"])
def test_nothing_differs_at_the_nominal_level(name):
    plain = Integrators(count=3)
    inner, env = disturbed(name, SHIFTS[name].nominal, count=3)
    rng = np.random.default_rng(0)
    assert (env.reset() == plain.reset()).all()
    for _ in range(20):
        action = rng.uniform(-2, 2, (3, 1)).astype(np.float32)
        ours, theirs = env.step(action), plain.step(action)
        for a, b in zip(ours, theirs, strict=True):
            assert (np.asarray(a) == np.asarray(b)).all()
    assert (np.stack(inner.executed) == np.stack(plain.executed)).all()


@pytest.mark.parametrize(
    ("name", "level"),
    [("observation-noise", 0.3), ("observation-dropout", 0.5), ("action-noise", 0.3)],
)
def test_policies_side_by_side_meet_the_same(name, level):
    both_inner, both = disturbed(name, level, count=8, copies=2)
    alone_inner, alone = disturbed(name, level, count=4)
    other_inner, other = disturbed(name, level, count=4, seed=1)
    seen = [env.reset() for env in (both, alone, other)]
    for _ in range(5):
        steps = [env.step(ones(env)) for env in (both, alone, other)]
        seen = [np.concatenate([s, step.obs], axis=1) for s, step in zip(seen, steps, strict=True)]
    executed = [np.stack(e.executed, 1) for e in (both_inner, alone_inner, other_inner)]
    for all_seen in (seen, executed):
        assert (all_seen[0][:4] == all_seen[1]).all()
        assert (all_seen[0][4:] == all_seen[1]).all()
    assert not (seen[1] == seen[2]).all() or not (executed[1] == executed[2]).all()


def test_levels_that_are_none_are_refused():
    delay, lost, mass = SHIFTS["action-delay"], SHIFTS["action-dropout"], SHIFTS["mass"]
    assert mass.with_levels((2.0, 0.5)) == (0.5, 1.0, 2.0)
    noise = SHIFTS["action-noise"]
    for shift, level in ((delay, 1.5), (delay, -1), (lost, 1.1), (mass, 0.0), (noise, np.inf)):
        with pytest.raises(ConfigError, match=f"shift {shift.name}="):
            shift.with_levels((level,))
