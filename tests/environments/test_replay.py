"""Simulators are brought back exactly: as many resets, the same actions, the same bits after."""

import re

import gymnasium
import numpy as np
import pytest

from robustpo.environments import catalog
from robustpo.environments.envpool import EnvPoolEnvironment
from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.errors import ConfigError
from robustpo.training import restore
from robustpo.training.replay import ReplayLog

TAIL, AFTER = 23, 30
SEEDS = [7, 1234567, 3]


def play(environment, actions):
    """Step a pool together with actions `[T, N, A]`; return what it says, `[T, N, …]` each."""
    rows = []
    for action in actions:
        native = action.astype(environment._action_dtype)
        raw, reward, _, _, info = environment._pool.step(native)
        parts = raw.values() if isinstance(raw, dict) else [raw]
        obs = np.concatenate([part.reshape(len(action), -1) for part in parts], axis=1)
        rows.append((obs, reward, info["elapsed_step"] != 0))
    return [np.stack(column) for column in zip(*rows, strict=True)]


def random_actions(spec, count, num_envs, seed=0):
    low, high = np.clip(spec.action_low, -3, 3), np.clip(spec.action_high, -3, 3)
    rng = np.random.default_rng(seed)
    return rng.uniform(low, high, (count, num_envs, spec.action_size)).astype(np.float32)


ENVPOOL = [entry for entry in catalog.CATALOG.values() if entry.simulator == "envpool"]
FLAGGED = [entry.id for entry in ENVPOOL if entry.random_step]
# Simulators that take seconds to make or to reset, beside a sister that is tested always.
SLOW = re.compile("dog-(?!walk)|humanoid_CMU-(?!walk)|quadruped-escape")
EXACT = [
    pytest.param(entry.id, marks=[pytest.mark.slow] if SLOW.search(entry.id) else [])
    for entry in ENVPOOL
    if not entry.random_step
]


@pytest.mark.parametrize("task", EXACT)
def test_every_task_of_the_catalog_is_brought_back(task):
    assert_brought_back(task)


@pytest.mark.parametrize("task", FLAGGED)
def test_flagged_tasks_cannot_be_brought_back(task):
    assert EnvPoolEnvironment(task, [0]).random_step
    with pytest.raises(AssertionError, match="obs"):
        assert_brought_back(task)


def assert_brought_back(task):
    first = EnvPoolEnvironment(task, SEEDS)
    spec = first.spec
    # Past the end of an episode at its limit, and into the next.
    assert spec.episode_limit
    count = spec.episode_limit + 1 + TAIL
    actions = random_actions(spec, count + AFTER, len(SEEDS))
    first.init()
    expected = play(first, actions)
    log = ReplayLog(len(SEEDS), spec.action_low, spec.action_high)
    for rollout in np.array_split(np.arange(count), 3):
        log.add(actions[rollout], ~expected[2][rollout])
    assert (log.resets >= 2).all()
    again = EnvPoolEnvironment(task, SEEDS)
    again.init()
    again.replay(log.resets - 1, log.tails())
    found = play(again, actions[count:])
    for name, one, other in zip(("obs", "reward", "valid"), expected, found, strict=True):
        np.testing.assert_array_equal(one[count:], other, err_msg=name)


def test_gymnasium_is_brought_back_one_environment_at_a_time():
    # By hand: the second environment is two episodes and eleven steps further than the first.
    task, seeds = "gymnasium/Pendulum-v1", [5, 6]
    peers = [gymnasium.make("Pendulum-v1") for _ in seeds]
    actions = random_actions(GymnasiumEnvironment(task, seeds).spec, 11, 2)
    last = []
    for peer, seed, resets, steps in zip(peers, seeds, (1, 3), (0, 11), strict=True):
        obs, _ = peer.reset(seed=seed)
        for _ in range(resets - 1):
            obs, _ = peer.reset()
        for action in actions[:steps, 1]:
            obs, *_ = peer.step(action)
        last.append(obs)
    environment = GymnasiumEnvironment(task, seeds)
    start = environment.reset()
    found = environment.replay(np.array([0, 2]), [actions[:0, 0], actions[:, 1]])
    np.testing.assert_array_equal(start[0], last[0])
    np.testing.assert_array_equal(found[1], last[1])
    assert (found[0] == 0).all()
    following = environment.step(actions[0])
    for i, peer in enumerate(peers):
        np.testing.assert_array_equal(following.obs[i], peer.step(actions[0, i])[0])


def test_an_episode_that_ended_in_the_last_row_is_reset_in_the_next():
    environment = GymnasiumEnvironment("gymnasium/Pendulum-v1", [5])
    environment.reset()
    actions = random_actions(environment.spec, 200, 1)
    environment.replay(np.array([0]), [actions[:, 0]])
    step = environment.step(actions[0])
    assert not step.valid[0]


def test_the_log_counts_resets_and_keeps_what_was_executed():
    log = ReplayLog(2, (-1.0,), (0.5,))
    action = np.array([[0.1, 9.0], [0.2, np.nan], [-7.0, 0.3], [0.4, 0.4]], np.float32)[..., None]
    reset = np.array([[0, 0], [1, 0], [0, 0], [0, 0]], bool)
    log.add(action, reset)
    assert log.resets.tolist() == [2, 1]
    # Clipped to the bounds; what is not finite goes to the simulator as 0.
    first, second = log.tails()
    np.testing.assert_array_equal(first[:, 0], np.array([-1.0, 0.4], np.float32))
    np.testing.assert_array_equal(second[:, 0], np.array([0.5, 0.0, 0.3, 0.4], np.float32))
    log.add(action[:1], np.array([[0, 1]], bool))
    assert log.resets.tolist() == [2, 2]
    assert [len(tail) for tail in log.tails()] == [3, 0]
    copy = ReplayLog(2, (-1.0,), (0.5,))
    copy.restore(log.to_tensors(), 5)
    assert copy.resets.tolist() == [2, 2]
    np.testing.assert_array_equal(copy.tails()[0], log.tails()[0])


def test_an_episode_too_long_to_keep_is_given_up(monkeypatch):
    monkeypatch.setattr("robustpo.training.replay.MAX_TAIL", 10)
    log = ReplayLog(1, (-1.0,), (1.0,))
    action, reset = np.zeros((8, 1, 1), np.float32), np.zeros((8, 1), bool)
    log.add(action, reset)
    assert log.kept.all()
    log.add(action, reset)
    assert not log.kept.any() and len(log.tails()[0]) == 0
    copy = ReplayLog(1, (-1.0,), (1.0,))
    copy.restore(log.to_tensors(), 16)
    assert not copy.kept.any()
    reset[3] = True
    log.add(action, reset)
    assert log.kept.all() and len(log.tails()[0]) == 4


@pytest.mark.parametrize(
    "damage",
    [
        {"replay.resets": np.array([2, 10**15])},
        {"replay.resets": np.array([0, 1])},
        {"replay.resets": np.array([1.0, 1.0])},
        {"replay.lengths": np.array([4, 1])},
        {"replay.lengths": np.array([10**15, -(10**15)])},
        {"replay.actions": np.zeros((3, 2), np.float32)},
        {"replay.actions": np.full((3, 1), np.nan, np.float32)},
    ],
)
def test_a_log_that_no_run_could_have_written_is_refused(damage):
    tensors = {
        "replay.resets": np.array([2, 1]),
        "replay.lengths": np.array([1, 2]),
        "replay.actions": np.zeros((3, 1), np.float32),
    }
    ReplayLog(2, (-1.0,), (1.0,)).restore(dict(tensors), 10)
    with pytest.raises(ConfigError):
        ReplayLog(2, (-1.0,), (1.0,)).restore(tensors | damage, 10)


@pytest.mark.parametrize("seconds", [60.0, -1.0])
def test_resets_are_made_in_parts_while_there_is_time(monkeypatch, seconds):
    monkeypatch.setattr(restore, "MAX_SECONDS", seconds)
    monkeypatch.setattr(restore, "RESETS_AT_ONCE", 2)
    one, other = (GymnasiumEnvironment("gymnasium/Pendulum-v1", [5, 6, 7]) for _ in range(2))
    further = np.array([0, 1, 6])
    done = restore._reset_all_but_one(one, further)
    assert done.tolist() == [True, True, seconds > 0]
    if seconds > 0:
        nothing = [np.zeros((0, 1), np.float32)] * 3
        parts = one.replay(further.clip(max=1), nothing)
        np.testing.assert_array_equal(parts, other.replay(further, nothing))
