"""Observations far from zero: seen relative to an origin in training, evaluation and acting."""

import functools
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import robustpo
from robustpo.config.run import make_config
from robustpo.config.shape import Shape
from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.processes import ProcessEnvironment
from robustpo.evaluation.evaluate import evaluate_policy
from robustpo.policy.policy import save_policy
from robustpo.runs.record import RunRecord
from robustpo.training.origin import origin_of, takes_origin
from robustpo.training.trainer import Trainer
from training.populations import SMALL, assert_same_bits, tensors_of


class Walk(gymnasium.Env):
    """A place on a line that lies at an offset, and a number that does not."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-1, 1, (1,))

    def __init__(self, offset=0.0):
        self.offset = offset

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.place = 0, self.np_random.uniform(-1, 1)
        return self.look(), {}

    def look(self):
        return np.array([self.offset + self.place, self.count / 30])

    def step(self, action):
        self.count += 1
        self.place = float(np.clip(self.place + 0.1 * action[0], -2, 2))
        return self.look(), -abs(self.place), False, self.count == 30, {}


grid = functools.partial(Walk, 5.5e6)
unix_time = functools.partial(Walk, 1.7e9)


def configs_of(seeds, **options):
    settings: dict[str, Any] = SMALL | {"steps": 512} | options
    return [make_config("walk", seed=s, num_envs=2, **settings) for s in seeds]


def trained(constructor, seeds=(0, 1), **options):
    trainer = Trainer(configs_of(seeds, **options), constructor=constructor)
    trainer.run()
    return trainer


@pytest.fixture(scope="module")
def on_grid():
    return trained(grid)


def test_the_offset_of_an_observation_plays_no_part(on_grid):
    plain, far = trained(Walk), trained(unix_time)
    for agents in zip(plain.agents, on_grid.agents, far.agents, strict=True):
        policies = [tensors_of(agent) for agent in agents]
        assert "observation.origin" not in policies[0]
        for tensors, offset in zip(policies[1:], (5.5e6, 1.7e9), strict=True):
            origin = tensors["observation.origin"].astype(np.float64)
            assert origin[1] == 0 and abs(origin[0] - offset) < 130  # a float32's distance there
            mean = origin + tensors["observation.mean"] - [offset, 0]
            np.testing.assert_allclose(mean, policies[0]["observation.mean"], atol=1e-3)
            for name in ("observation.variance", "actor.0.weight", "log_std"):
                np.testing.assert_allclose(tensors[name], policies[0][name], rtol=0.01, atol=2e-3)
        returns = [np.array(agent.log.recent_returns) for agent in agents]
        np.testing.assert_allclose(returns[1:], [returns[0]] * 2, rtol=0.01)


def test_an_origin_is_the_agents_own(on_grid):
    alone = trained(grid, seeds=(1,))
    assert_same_bits(tensors_of(alone.agents[0]), tensors_of(on_grid.agents[1]))
    first, second = (tensors_of(a)["observation.origin"] for a in on_grid.agents)
    assert first[0] != second[0]


def test_acting_evaluating_and_stepping_in_processes_see_the_same(on_grid):
    policy = on_grid.agents[0].policy
    result = evaluate_policy(policy, grid, episodes=3, seed=5)
    again = evaluate_policy(policy, functools.partial(Walk, 5.5e6 + 2**-9), episodes=3, seed=5)
    assert result.lengths == (30, 30, 30)
    # The policy sees a shift that float32 does not have there.
    assert result.returns != again.returns

    class Acting(Walk):
        """Acts by itself, in NumPy and with what it observes in float64."""

        def step(self, action):
            return super().step(policy(self.look()))

    assert evaluate_policy(policy, functools.partial(Acting, 5.5e6), episodes=3, seed=5) == result
    origin = np.array([[5.5e6, 0.0], [5.5e6 - 3, 1.0], [0.0, 0.0]])
    one, other = GymnasiumEnvironment(grid, [1, 2, 3]), ProcessEnvironment(grid, [1, 2, 3], 2)
    try:
        exact = one.reset_exact()
        assert exact.dtype == np.float64 and abs(exact[:, 0] - 5.5e6).max() <= 1
        np.testing.assert_array_equal(other.reset_exact(), exact)
        for environment in (one, other):
            environment.set_origin(origin)
        action = np.full((3, 1), 0.5, np.float32)
        seen = one.step(action).obs
        np.testing.assert_allclose(seen[:2], (exact - origin + [0.05, 1 / 30])[:2], rtol=1e-6)
        np.testing.assert_array_equal(other.step(action).obs, seen)
        np.testing.assert_array_equal(other.reset(), one.reset())
    finally:
        other.close()


def test_a_run_that_goes_on_keeps_its_origin(tmp_path):
    configs = configs_of((0,))

    def go_on(place, iterations):
        left = [iterations]

        def should_stop():
            left[0] -= 1
            return left[0] < 0

        records = [RunRecord(tmp_path / place, config) for config in configs]
        trainer = Trainer(configs, records=records, constructor=grid, should_stop=should_stop)
        trainer.run()
        return trainer.agents[0]

    go_on("parts", 2)
    assert_same_bits(tensors_of(go_on("parts", 9)), tensors_of(go_on("whole", 9)))


def test_an_agent_that_starts_from_a_policy_takes_its_origin(tmp_path, on_grid):
    policy = on_grid.agents[0].policy
    save_policy(tmp_path / "p.safetensors", policy)
    warm = trained(grid, seeds=(7,), init_policy=str(tmp_path / "p.safetensors"))
    assert_same_bits(
        tensors_of(warm.agents[0])["observation.origin"], policy.tensors["observation.origin"]
    )
    assert robustpo.load_policy(tmp_path / "p.safetensors").origin is not None


def test_only_what_lies_far_from_zero_has_an_origin():
    first = np.array([0.3, -1023.9, 1024.0, -5.5e6, 1e300, np.nan])
    np.testing.assert_array_equal(origin_of(first), [0, 0, 1024, -5.5e6, 0, 0])
    assert takes_origin(Shape()) and takes_origin(Shape(augmentation="rad"))
    assert not takes_origin(Shape(normalize_observations=False))
    assert not takes_origin(Shape(augmentation="rad", augmentation_of="raw"))
