"""PyBullet's two tasks: the engine, the seeds, the picture, and nothing printed."""

import functools
import random
import subprocess
import sys

import numpy as np
import pytest

from robustpo.environments.catalog import CATALOG
from robustpo.environments.constructors import load_source
from robustpo.environments.make import make_host_environment

pytest.importorskip("pybullet", reason="pip install 'robustpo[pybullet]'")
TASKS = ["AntBulletEnv-v0", "MinitaurBulletEnv-v0"]


def play(task, seeds, actions):
    environment = make_host_environment(task, seeds)
    observations = [environment.reset()]
    rewards = []
    for action in actions:
        step = environment.step(action)
        observations.append(step.obs)
        rewards.append(step.reward)
    environment.close()
    return np.stack(observations), np.stack(rewards)


@pytest.mark.parametrize("task", TASKS)
def test_an_environment_depends_on_its_own_seed_alone(task):
    actions = np.random.default_rng(0).uniform(-1, 1, (60, 2, 8)).astype(np.float32)
    together, rewards = play(task, [3, 4], actions)
    random.seed(1)
    np.random.seed(1)
    alone, alone_rewards = play(task, [4], actions[:, 1:])
    np.testing.assert_array_equal(together[:, 1:], alone)
    np.testing.assert_array_equal(rewards[:, 1:], alone_rewards)
    assert (together[0, 0] != together[0, 1]).any()


def test_the_minitaur_leaves_the_global_generators_alone():
    random.seed(5)
    np.random.seed(5)
    expected = random.Random(5).random(), np.random.RandomState(5).rand()
    play("MinitaurBulletEnv-v0", [1], np.zeros((2, 1, 8), np.float32))
    assert (random.random(), np.random.rand()) == expected


def test_the_ant_walks_and_the_minitaur_pays_for_going_forward():
    env = load_source(CATALOG["MinitaurBulletEnv-v0"])()
    env.reset(seed=0)
    inner = env.unwrapped._env
    before = np.array(inner._last_base_position)
    _, reward, *_ = env.step(np.full(8, 0.3, np.float32))
    moved = np.array(inner.minitaur.GetBasePosition()) - before
    torque, speed = inner.minitaur.GetMotorTorques(), inner.minitaur.GetMotorVelocities()
    # minitaur_gym_env.py: weight 1 forward, 0.005 energy; drift and shake weigh 0.
    energy = abs(np.dot(torque, speed)) * inner._time_step
    assert reward == pytest.approx(moved[0] - 0.005 * energy)


@pytest.mark.parametrize("task", TASKS)
def test_a_picture_shows_the_robot(task):
    env = functools.partial(load_source(CATALOG[task]), render_mode="rgb_array")()
    env.reset(seed=0)
    frame = np.asarray(env.render())
    assert frame.shape == (480, 640, 3) and frame.dtype == np.uint8
    # The robot stands in the middle, where an empty plane has two colours.
    colours = np.unique(frame[150:350, 200:440].reshape(-1, 3), axis=0)
    assert len(colours) > 50
    env.close()


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_printed_and_no_stand_in_stays(task):
    program = (
        "import sys; from robustpo.environments.make import make_host_environment\n"
        f"env = make_host_environment({task!r}, [1]); env.reset(); env.close()\n"
        "assert not {'gym', 'pkg_resources'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
