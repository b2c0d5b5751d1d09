"""An own environment and its vector on the command line: checked, trained, judged by its word."""

import json

import pytest

TASK = """
import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper


class Drift(gymnasium.Env):
    observation_space = spaces.Dict({"x": spaces.Box(-9, 9, (1,)), "t": spaces.Discrete(11)})
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.x = 0, self.np_random.uniform(-1, 1)
        return self.observe(), {}

    def step(self, action):
        self.t, self.x = self.t + 1, np.clip(self.x + 0.2 * action[0], -9, 9)
        info = {"is_success": abs(self.x) < 0.5, "how": "slowly"}
        return self.observe(), -abs(self.x), False, self.t == 10, info

    def observe(self):
        return {"x": np.array([self.x], np.float32), "t": self.t}


def vector():
    return VectorWrapper(SyncVectorEnv([Drift] * 4, autoreset_mode=AutoresetMode.SAME_STEP))
"""
CONFIG = """
methods = ["ppo", "rpo"]
seeds = "0:5"
steps = 1_600
num_steps = 200
num_minibatches = 4
update_epochs = 2
judge_by = "is_success"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("own")
    (place / "drift.py").write_text(TASK)
    (place / "mine.toml").write_text(CONFIG)
    return place


def test_the_check_says_what_can_be_judged_by(place, robustpo_command):
    done = robustpo_command("envs", "drift:vector", "--check", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "4 environments, same step autoreset: 12 observations, 1 actions" in done.stdout
    assert "is_success; text, which is no metric: how" in done.stdout


@pytest.mark.parametrize("task", ["drift:Drift", "drift:vector"])
def test_a_comparison_is_judged_by_it(place, robustpo_command, task):
    steps = () if task.endswith("Drift") else ("--steps", 6400)
    done = robustpo_command("compare", task, "--config", "mine.toml", *steps, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "judged by is_success" in " ".join(done.stdout.split())
    assert "permutation test over seeds" in " ".join(done.stdout.split())
    # Judged again by another word, it is only read.
    words = ("compare", task, "--config", "mine.toml", *steps, "--judge-by", "how")
    done = robustpo_command(*words, cwd=place)
    assert done.returncode == 2
    assert "judge_by='how' is text, which is no metric; they say is_success" in done.stderr


def test_a_vectors_size_is_its_own(place, robustpo_command):
    words = ("train", "drift:vector", "--num-envs", 3, "--steps", 6400, "--num-steps", 200)
    done = robustpo_command(*words, cwd=place)
    assert done.returncode == 2
    assert "num_envs=3 contradicts task 'drift:vector', which is a vector of 4" in done.stderr


def test_an_id_is_made_as_a_vector(place, robustpo_command):
    words = ("train", "Pendulum-v1", "--vectorized", "--num-envs", 2)
    tiny = ("--steps", 800, "--num-steps", 400, "--num-minibatches", 2, "--update-epochs", 1)
    done = robustpo_command(*words, *tiny, cwd=place)
    assert done.returncode == 0, done.stderr
    (run,) = map(str.strip, done.stdout.splitlines())
    record = json.loads((place / run / "config.json").read_text())
    assert record["identity"]["task"] == "vector/Pendulum-v1:num_envs=2"
    assert record["identity"]["shape"]["num_envs"] == 2
    done = robustpo_command("evaluate", run, "--episodes", 3, cwd=place)
    assert done.returncode == 0, done.stderr
