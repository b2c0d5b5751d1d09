"""The Gymnasium adapter, on environments whose every number can be said in advance."""

import functools

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit, TransformReward

from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.make import resolve
from robustpo.errors import ConfigError


class Counter(gymnasium.Env):
    """Observes its step count, a random number drawn at reset, and its last action."""

    observation_space = spaces.Dict(
        {
            "action": spaces.Box(-10, 10, (2, 3), np.float64),
            "count": spaces.Discrete(4),
            "draw": spaces.Box(0, 1, (1,), np.float64),
        }
    )
    action_space = spaces.Box(
        np.array([[-1, -2, -3], [-0.1, 0, 0]]), np.array([[1, 2, 3], [0.1, 5, 6]]), dtype=np.float64
    )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.draw, self.last = 0, self.np_random.random(), np.zeros((2, 3))
        return self._observe(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.count, self.last = self.count + 1, action
        return self._observe(), float(self.count), self.count == 3, False, {}

    def _observe(self):
        return {"action": self.last, "count": self.count, "draw": np.array([self.draw])}


def wrapped_counter():
    return TimeLimit(TransformReward(Counter(), lambda reward: 10 * float(reward)), 2)


def _action(num_envs, value=0.05):
    return np.full((num_envs, 6), value, np.float32)


def test_dictionaries_are_flattened_and_actions_get_their_shape():
    env = GymnasiumEnvironment(Counter, [0, 1])
    spec = env.spec
    assert spec.observation_size == 6 + 4 + 1  # the discrete part becomes one-hot
    assert spec.action_low == (-1, -2, -3, -0.1, 0, 0)
    assert spec.action_high == (1, 2, 3, 0.1, 5, 6)
    assert (spec.id, spec.suite, spec.episode_limit) == (f"{__name__}:Counter", "Custom", None)
    obs = env.reset()
    action = np.array([[0.5, 1, 2, 0.1, 4, 5], [-1, -2, -3, -0.1, 0, 0]], np.float32)
    step = env.step(action)
    np.testing.assert_array_equal(obs[:, 6:10], [[1, 0, 0, 0]] * 2)
    np.testing.assert_array_equal(step.obs[:, 6:10], [[0, 1, 0, 0]] * 2)
    np.testing.assert_array_equal(step.obs[:, :6], action)
    assert obs.dtype == step.obs.dtype == step.reward.dtype == np.float32


def test_actions_stay_inside_bounds_that_float32_cannot_express():
    assert np.float64(np.float32(0.1)) > 0.1  # which Counter's assertion would refuse
    env = GymnasiumEnvironment(Counter, [0])
    env.reset()
    env.step(np.array([env.spec.action_high], np.float32))


def test_the_row_after_an_end_only_resets():
    env = GymnasiumEnvironment(Counter, [0, 1])
    env.reset()
    steps = [env.step(_action(2)) for _ in range(6)]
    rows = [[s.reward[0], s.terminated[0], s.truncated[0], s.valid[0]] for s in steps]
    assert rows == [
        [1, False, False, True],
        [2, False, False, True],
        [3, True, False, True],
        [0, False, False, False],
        [1, False, False, True],
        [2, False, False, True],
    ]
    assert steps[2].final_obs[0, 9] == 1 and steps[3].obs[0, 6] == 1


def test_a_reset_in_the_middle_makes_the_next_row_valid():
    env = GymnasiumEnvironment(Counter, [0])
    env.reset()
    ended = [env.step(_action(1)).terminated for _ in range(3)][-1]
    env.reset()
    step = env.step(_action(1))
    assert ended.all() and step.valid.all() and step.reward == 1


def test_wrappers_of_the_constructor_are_kept():
    env = GymnasiumEnvironment(wrapped_counter, [0])
    assert env.spec.episode_limit == 2
    env.reset()
    steps = [env.step(_action(1)) for _ in range(3)]
    assert [float(s.reward[0]) for s in steps] == [10, 20, 0]
    assert [bool(s.truncated[0]) for s in steps] == [False, True, False]
    assert [bool(s.valid[0]) for s in steps] == [True, True, False]


def test_an_environment_depends_on_its_own_seed_only():
    env, alone = GymnasiumEnvironment(Counter, [5, 9]), GymnasiumEnvironment(Counter, [9])
    together = [env.reset()] + [env.step(_action(2)).obs for _ in range(5)]
    by_itself = [alone.reset()] + [alone.step(_action(1)).obs for _ in range(5)]
    np.testing.assert_array_equal(np.stack(together)[:, 1:], np.stack(by_itself))
    draws = np.stack(together)[:, :, 10]
    assert draws[0, 0] != draws[0, 1]
    assert draws[0, 1] != draws[4, 1]  # a new episode goes on with the stream
    expected = np.random.default_rng(np.random.SeedSequence(9)).random()
    assert draws[0, 1] == np.float32(expected)


def test_pendulum_equals_gymnasium_stepped_by_hand():
    env = GymnasiumEnvironment("gymnasium/Pendulum-v1", [3])
    peer = gymnasium.make("Pendulum-v1")
    obs, _ = peer.reset(seed=3)
    np.testing.assert_array_equal(env.reset()[0], obs)
    actions = np.random.default_rng(0).uniform(-2, 2, (201, 1, 1)).astype(np.float32)
    for count, action in enumerate(actions[:200], start=1):
        step = env.step(action)
        obs, reward, terminated, truncated, _ = peer.step(action[0])
        np.testing.assert_array_equal(step.obs[0], obs)
        assert step.reward[0] == np.float32(reward) and step.valid[0]
        assert (step.terminated[0], step.truncated[0]) == (terminated, truncated)
        assert step.truncated[0] == (count == 200)
    phantom = env.step(actions[200])
    assert not phantom.valid[0] and not phantom.truncated[0]
    assert (env.spec.episode_limit, env.spec.suite) == (200, "Gymnasium")


class _Spaces(Counter):
    def __init__(self, observation=None, action=None):
        self.observation_space = observation or Counter.observation_space
        self.action_space = action or Counter.action_space


def test_unbounded_actions_are_accepted():
    unbounded = spaces.Box(-np.inf, np.inf, (2, 3), np.float64)
    env = GymnasiumEnvironment(functools.partial(_Spaces, action=unbounded), [0])
    env.reset()
    assert not env.spec.bounded
    assert (env.step(_action(1, 1e6)).obs[0, :6] == 1e6).all()


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (spaces.Discrete(3), "discrete"),
        (spaces.MultiDiscrete([2, 3]), "discrete"),
        (spaces.MultiBinary(4), "discrete"),
        (spaces.Box(0, 5, (2,), np.int32), "integer"),
        (spaces.Dict({"a": spaces.Box(0, 1, (2,))}), "composite"),
    ],
)
def test_actions_that_are_not_continuous_are_refused(action, kind):
    with pytest.raises(ConfigError, match=f"{kind} action space") as caught:
        resolve(functools.partial(_Spaces, action=action))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "observation",
    [
        spaces.Box(0, 255, (84, 84), np.uint8),
        spaces.Box(0, 255, (96, 96, 3), np.uint8),
        spaces.Box(0, 1, (3, 8, 8), np.float32),
        spaces.Dict({"camera": spaces.Box(0, 255, (8, 8, 3), np.uint8), "x": spaces.Discrete(2)}),
        spaces.Tuple([spaces.Box(0, 255, (8, 8), np.uint8)]),
    ],
)
def test_images_are_refused(observation):
    with pytest.raises(ConfigError, match=r"observes images of shape \("):
        resolve(functools.partial(_Spaces, observation=observation))


def test_observations_without_a_fixed_length_are_refused():
    observation = spaces.Sequence(spaces.Box(0, 1, (2,)))
    with pytest.raises(ConfigError, match="no fixed length"):
        resolve(functools.partial(_Spaces, observation=observation))


def _fails():
    raise ValueError("no licence\nfound")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (_fails, r"_fails' could not be made: .* raised ValueError: no licence found$"),
        (dict, "'builtins:dict' returned dict, expected a gymnasium.Env, a"),
        (Counter(), "is a Counter; expected an id"),
    ],
)
def test_constructors_that_do_not_construct_are_named(task, message):
    with pytest.raises(ConfigError, match=message) as caught:
        resolve(task)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seeds", [[], [-1]])
def test_seeds_out_of_range_are_refused(seeds):
    with pytest.raises(ConfigError, match="env_seeds="):
        GymnasiumEnvironment(Counter, seeds)
