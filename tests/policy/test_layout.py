"""Observations of several parts become the vectors that Gymnasium makes of them, without it."""

import json

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

import robustpo
from robustpo.environments.inspection import layout_of
from robustpo.environments.make import resolve
from robustpo.errors import ConfigError
from robustpo.policy.layout import MAX_DEPTH, flatten, require_layout, size_of
from robustpo.policy.policy import Policy

leaves = st.one_of(
    st.lists(st.integers(0, 3), max_size=3).map(lambda s: spaces.Box(-1, 1, tuple(s), np.float64)),
    st.builds(spaces.Discrete, st.integers(1, 5), start=st.integers(-3, 3)),
    st.lists(st.integers(1, 4), min_size=1, max_size=3).map(spaces.MultiDiscrete),
    st.integers(1, 4).map(spaces.MultiBinary),
)
several = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
        st.dictionaries(st.text(min_size=1, max_size=3), inner, min_size=1, max_size=3).map(
            spaces.Dict
        ),
    ),
    max_leaves=5,
)


def travelled(space):
    """A layout as it comes out of a file."""
    return json.loads(json.dumps(layout_of(space)))


@given(several, st.integers(0, 2**31))
def test_any_observation_is_what_gymnasium_makes_of_it(space, seed):
    space.seed(seed)
    layout = travelled(space)
    require_layout(layout, spaces.flatdim(space))
    assert size_of(layout) == spaces.flatdim(space)
    one, other = space.sample(), space.sample()
    expected = [spaces.flatten(space, obs) for obs in (one, other)]
    np.testing.assert_array_equal(flatten(layout, one), expected[0])
    np.testing.assert_array_equal(flatten(layout, stacked([one, other])), expected)


def stacked(observations):
    first = observations[0]
    if isinstance(first, dict):
        return {key: stacked([obs[key] for obs in observations]) for key in first}
    if isinstance(first, tuple):
        return tuple(stacked(list(parts)) for parts in zip(*observations, strict=True))
    return np.stack(observations)


PLACE = spaces.Dict(
    {
        "angle": spaces.Box(-1, 1, (2,)),
        "goal": spaces.Discrete(3, start=1),
        "map": spaces.Box(-1, 1, (2, 2)),
        "pair": spaces.Tuple([spaces.Box(-1, 1, ()), spaces.MultiBinary(2)]),
    }
)
GIVEN = {"angle": [0.5, 1], "goal": 2, "map": np.eye(2), "pair": (0.25, [1, 0])}


def test_by_hand():
    expected = [0.5, 1, 0, 1, 0, 1, 0, 0, 1, 0.25, 1, 0]
    np.testing.assert_array_equal(flatten(travelled(PLACE), GIVEN), expected)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"angle": [1, 2, 3]}, r"obs\['angle'\] has shape \(3,\), expected \(2,\)"),
        ({"goal": 0}, r"obs\['goal'\] is 0, expected a whole number from 1 to 3"),
        ({"goal": 1.5}, r"obs\['goal'\] is 1.5, expected a whole number"),
        ({"map": np.eye(3)}, r"obs\['map'\] has shape \(3, 3\)"),
        ({"pair": [1]}, r"obs\['pair'\] is a list, expected a tuple \(a number, \[2\]\)"),
        ({"pair": 3}, r"obs\['pair'\] is a int, expected a tuple"),
        ({"angle": np.zeros((4, 2))}, "parts of different batches"),
    ],
)
def test_what_does_not_fit_is_named(changed, error):
    with pytest.raises(ValueError, match=error):
        flatten(travelled(PLACE), GIVEN | changed)


def test_a_part_that_is_missing_is_named():
    with pytest.raises(ValueError, match=r"obs has no 'map', expected {angle: \[2\], goal"):
        flatten(travelled(PLACE), {k: v for k, v in GIVEN.items() if k != "map"})
    with pytest.raises(ValueError, match=r"obs is an array \(12,\), expected a dictionary"):
        flatten(travelled(PLACE), np.zeros(12))


def nested(depth):
    return ["box", [1]] if not depth else ["tuple", [nested(depth - 1)]]


@pytest.mark.parametrize(
    "layout",
    [
        None,
        3,
        [],
        ["box"],
        ["box", 3],
        ["box", [3, -1]],
        ["box", [True]],
        ["box", [1.0]],
        ["box", [2]],
        ["box", [1], 1],
        ["discrete", 1],
        ["discrete", 0, 0],
        ["multi-discrete", [1], [0, 0]],
        ["multi-discrete", [1], None],
        ["dict", []],
        ["dict", [["a"]]],
        ["dict", [["a", ["box", [1]]], ["a", ["box", [0]]]]],
        ["dict", {"a": ["box", [1]]}],
        ["tuple", [["what", [1]]]],
        ["box", [10**6] * 5000],
        nested(MAX_DEPTH + 1),
    ],
)
def test_what_a_file_may_not_say_is_refused(layout):
    with pytest.raises(ConfigError, match="its layout is not that of 1 observed numbers"):
        require_layout(layout, 1)


def test_layouts_that_one_number_may_have():
    for layout in (["box", []], ["box", [1, 1]], ["discrete", 1, 7], nested(MAX_DEPTH)):
        require_layout(layout, 1)


class Parts(gymnasium.Env):
    """Observes a dictionary; the reward is for moving towards the goal."""

    observation_space = PLACE
    action_space = spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.left = 8
        return self.observation_space.sample(), {}

    def step(self, action):
        self.left -= 1
        obs = self.observation_space.sample()
        return obs, float(action[0]), False, not self.left, {}


def test_a_policy_of_a_dictionary_takes_it_as_the_environment_gives_it(tmp_path, tiny):
    options = tiny.options | {"steps": 512, "preset": "own"}
    (run,) = robustpo.train(Parts, out=tmp_path, progress=False, seeds=0, **options)
    policy = robustpo.load_policy(run)
    env = Parts()
    obs, _ = env.reset(seed=3)
    expected = policy(spaces.flatten(PLACE, obs))
    assert policy(obs) == expected
    action, state = policy.predict(obs)
    assert action == expected and state is None
    batch = stacked([obs, env.reset(seed=4)[0]])
    assert policy(batch).shape == (2, 1) and policy(batch)[0] == pytest.approx(expected[0])
    assert policy.value(obs).shape == () and policy.log_prob(batch, policy(batch)).shape == (2,)
    with pytest.raises(ValueError, match="obs has no 'goal'"):
        policy({"angle": [0, 0]})
    assert "observes={angle: [2], goal: one of 3, map: [2, 2], pair: (a number, [2])}" in repr(
        policy
    )
    copied = tmp_path / "copy.safetensors"
    policy.save(copied)
    assert robustpo.load_policy(copied)(obs) == expected


@pytest.mark.parametrize(
    ("space", "one"),
    [
        (spaces.Discrete(4, start=2), 3),
        (spaces.MultiDiscrete([2, 1]), [1, 0]),
        (spaces.MultiDiscrete([1, 1, 1]), [0, 0, 0]),
        (spaces.Tuple([spaces.Discrete(1), spaces.Box(-1, 1, ())]), (0, 0.5)),
    ],
)
def test_choices_are_never_taken_for_the_vector_they_become(space, one):
    size = spaces.flatdim(space)
    tensors = {
        "actor.0.weight": np.arange(1, size + 1, dtype=np.float32)[:, None],
        "actor.0.bias": np.zeros(1, np.float32),
        "log_std": np.zeros(1, np.float32),
        "action.low": np.full(1, -100, np.float32),
        "action.high": np.full(1, 100, np.float32),
    }
    metadata = {"activation": "tanh", "distribution": "gaussian", "observation": travelled(space)}
    policy = Policy(tensors, metadata)
    flat = np.asarray(spaces.flatten(space, one), np.float32)
    expected = flat @ tensors["actor.0.weight"]
    np.testing.assert_allclose(policy(one), expected)
    np.testing.assert_allclose(policy(flat), expected)
    # As many as there are numbers in the vector, too.
    for count in range(1, 6):
        batch = stacked([one] * count)
        np.testing.assert_allclose(policy(batch), np.tile(expected, (count, 1)))


@pytest.mark.parametrize("obs", ["a", None, [1, "b"], object()])
def test_what_is_no_observation_is_a_value_error(obs):
    with pytest.raises(ValueError, match="obs"):
        flatten(["discrete", 3, 0], obs)


def test_a_catalogued_task_has_the_parts_of_its_own_implementation():
    from dm_control import suite

    layout = resolve("dm_control/walker-walk-v0").layout
    observed = suite.load("walker", "walk").reset().observation
    vector = flatten(json.loads(json.dumps(layout)), observed)
    np.testing.assert_array_equal(vector, np.concatenate([np.ravel(x) for x in observed.values()]))
    assert resolve("Pendulum-v1").layout is None
