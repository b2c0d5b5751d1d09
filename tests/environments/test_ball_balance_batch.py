"""Many BallBalance environments: each for itself, stable, and restored bit by bit."""

import numpy as np
import pytest

from robustpo.environments.isaac.ball_balance import BallBalance
from robustpo.environments.isaac.ball_balance_model import KNEE_VELOCITIES

mujoco = pytest.importorskip("mujoco")

SEEDS = [11 * i + 2**40 * (i % 2) for i in range(16)]


def play(environment, actions):
    """Step with actions `[T, N, 3]`; return what each step said, stacked."""
    steps = [environment.step(action) for action in actions]
    return [np.stack(column) for column in zip(*steps, strict=True)]


def random_actions(count, num_envs, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, num_envs, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("which", "threads"), [([5], 1), ([15, 0, 7], 1), (range(16), 2), ([1, 2, 3, 4, 5], 2)]
)
def test_an_environment_depends_on_its_own_seed_alone(which, threads):
    which, actions = list(which), random_actions(250, 16)
    together, apart = BallBalance(SEEDS), BallBalance([SEEDS[i] for i in which], threads)
    np.testing.assert_array_equal(together.reset()[which], apart.reset())
    expected, found = play(together, actions), play(apart, actions[:, which])
    assert (~expected[-1]).sum() > 10
    for column, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(column[:, which], other)


def test_same_seeds_give_the_same_bits():
    runs = []
    for _ in range(2):
        environment = BallBalance(SEEDS)
        environment.reset()
        runs.append(play(environment, random_actions(60, 16)))
    for column, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(column, other)


@pytest.mark.parametrize("stop", [41, 130])
def test_restored_environments_go_on_with_the_same_bits(stop):
    actions = random_actions(300, 16)
    environment = BallBalance(SEEDS)
    environment.reset()
    play(environment, actions[:stop])
    saved = environment.save()
    assert all(len(value) == 16 for value in saved.values())
    expected = play(environment, actions[stop:])
    restored, which = BallBalance(SEEDS), np.arange(16) % 3 != 0
    restored.reset()
    untouched = BallBalance(SEEDS)
    untouched.reset()
    restored.load(saved, which)
    found, others = play(restored, actions[stop:]), play(untouched, actions[stop:])
    for column, new, other in zip(expected, found, others, strict=True):
        np.testing.assert_array_equal(column[:, which], new[:, which])
        np.testing.assert_array_equal(other[:, ~which], new[:, ~which])


def test_saved_state_is_a_copy():
    environment = BallBalance(SEEDS)
    environment.reset()
    saved = environment.save()
    kept = {key: value.copy() for key, value in saved.items()}
    play(environment, random_actions(5, 16))
    for key, value in kept.items():
        np.testing.assert_array_equal(saved[key], value)


def foot_errors(environment):
    """Return how far feet are from where they are held, in m, `[N, 3]`."""
    model, data = environment.model, mujoco.MjData(environment.model)
    errors = []
    for state in environment.save()["physics"]:
        data.qpos[:] = state[1 : 1 + model.nq]
        mujoco.mj_kinematics(model, data)
        gaps = [data.site(f"foot{i}").xpos - data.site(f"anchor{i}").xpos for i in range(3)]
        errors.append(np.linalg.norm(gaps, axis=1))
    return np.array(errors)


def test_feet_stay_where_they_are_held():
    environment = BallBalance(SEEDS)
    environment.reset()
    errors = []
    for action in random_actions(500, 16):
        environment.step(action)
        errors.append(foot_errors(environment))
    assert np.mean(errors) < 1e-3
    assert np.max(errors) < 1e-2


@pytest.mark.parametrize("period", [1, 8, 16])
def test_extreme_actions_stay_finite_and_closed(period):
    environment = BallBalance(range(64))
    environment.reset()
    side = np.random.default_rng(1).choice([-1.0, 1.0], (64, 3))
    for t in range(300):
        step = environment.step(side * (-1) ** (t // period))
        assert np.isfinite(step.obs).all()
        assert np.isfinite(step.reward).all()
        assert np.abs(environment.save()["physics"][:, KNEE_VELOCITIES]).max() < 100
    assert foot_errors(environment).max() < 0.05


def test_a_hundred_thousand_random_steps_stay_finite():
    environment = BallBalance(range(256))
    environment.reset()
    for action in random_actions(400, 256):
        step = environment.step(action)
        assert np.isfinite(step.obs).all()
        assert ((step.reward >= 0) & (step.reward <= 1)).all()
