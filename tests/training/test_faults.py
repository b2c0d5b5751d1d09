"""What goes wrong while training: one agent stops and says why, the others go on.

The environments are named `test_faults:…` on command lines, so that workers import this module.
"""

import functools
import json
import os
import signal

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import robustpo
from robustpo.errors import ConfigError, TrainingError, UnfinishedError

EPISODE = 100


def simulator_seed(agent_seed):
    """The seed of the one environment of an agent."""
    return int(np.random.SeedSequence(agent_seed).generate_state(1)[0]) & 0x7FFFFFFF


class Walk(gymnasium.Env):
    """A noisy walk; the agent of one seed meets `fault` at one step.

    Actions that are not finite are refused, as simulators do.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Box(-1, 1, (1,))
    faulty_seed, faulty_call = 1, 700

    def __init__(self, fault=None):
        self.fault = fault
        self.calls, self.first_seed = 0, None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            # As at the beginning: what an environment is is looked at before it is trained on.
            self.calls, self.first_seed = 0, seed
        self.position = self.np_random.normal(size=2).astype(np.float32)
        self.length = 0
        return self.position, {}

    def step(self, action):
        assert np.isfinite(action).all(), f"{action} is not finite"
        self.calls += 1
        self.length += 1
        self.position = 0.9 * self.position + action + self.np_random.normal(size=2) * 0.1
        obs, reward = self.position.astype(np.float32), -float(self.position @ self.position)
        hit = self.first_seed == simulator_seed(self.faulty_seed)
        if self.fault and hit and self.calls == self.faulty_call:
            obs, reward = self.fault(obs, reward)
        return obs, reward, False, self.length == EPISODE, {}


def nan_observation(obs, reward):
    return np.array([obs[0], np.nan], np.float32), reward


def infinite_observation(obs, reward):
    return np.array([-np.inf, obs[1]], np.float32), reward


def infinite_reward(obs, reward):
    return obs, np.inf


def nan_reward(obs, reward):
    return obs, np.nan


def kill(obs, reward):
    os.kill(os.getpid(), signal.SIGKILL)


def raise_error(obs, reward):
    raise RuntimeError("the simulator\nis unstable")


def nan_walk():
    return Walk(nan_observation)


def deadly_walk():
    return Walk(kill)


def raising_walk():
    return Walk(raise_error)


# `step` counts simulator calls, the ones that only reset included: one after every 100 steps. So
# the 700th step of the walk is row 700 + 6.
FAULTY_STEP = Walk.faulty_call + (Walk.faulty_call - 1) // EPISODE


def lines_of(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def result_of(directory):
    return json.loads((directory / "result.json").read_text())


@pytest.fixture(scope="module")
def sound(tmp_path_factory, tiny):
    """Runs of seeds 0 and 2 without any fault near them."""
    out = tmp_path_factory.mktemp("sound")
    return robustpo.train(Walk, seeds=[0, 2], out=out, progress=False, **tiny.options)


def train_and_fail(make, out, **options):
    """Train seeds 0 to 2, of which 1 fails; return where all three are recorded."""
    with pytest.raises(UnfinishedError, match="of 3 runs 1 failed") as caught:
        robustpo.train(make, seeds=[0, 1, 2], out=out, **options)
    runs = sorted(out.rglob("seed-?"))
    assert caught.value.directories == [runs[0], runs[2]]
    return runs


def assert_others_unharmed(runs, sound):
    for run, reference in zip((runs[0], runs[2]), sound, strict=True):
        assert result_of(run)["status"] == "completed"
        mine, theirs = (robustpo.load_policy(path).tensors for path in (run, reference))
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])


def assert_kept_and_finite(directory, rows):
    assert [row["step"] for row in lines_of(directory)] == [512 * (i + 1) for i in range(rows)]
    policy = robustpo.load_policy(directory)
    assert all(np.isfinite(tensor).all() for tensor in policy.tensors.values())
    assert np.isfinite(policy(np.zeros(2))).all()


@pytest.mark.parametrize(
    ("fault", "quantity"),
    [
        (nan_observation, "observation"),
        (infinite_observation, "observation"),
        (infinite_reward, "reward"),
        (nan_reward, "reward"),
    ],
)
def test_one_agent_stops_and_the_others_do_not_notice(
    tmp_path, tiny, sound, capfd, fault, quantity
):
    make = functools.partial(Walk, fault)
    runs = train_and_fail(make, tmp_path, **tiny.options)
    said = [line for line in capfd.readouterr().err.splitlines() if "not finite" in line]
    assert len(said) == 1
    for words in (":Walk", "seed 1", f"step {FAULTY_STEP}", quantity):
        assert words in said[0]
    result = result_of(runs[1])
    assert (result["status"], result["steps"]) == ("failed", 512)
    assert quantity in result["error"] and str(FAULTY_STEP) in result["error"]
    assert_kept_and_finite(runs[1], rows=1)
    assert_others_unharmed(runs, sound)


def test_a_gradient_that_overflows_stops_its_agent(tmp_path, tiny, capfd):
    # Finite in float32, but not its square.
    make = functools.partial(Walk, lambda obs, reward: (obs, 1e30))
    runs = train_and_fail(make, tmp_path, normalize_rewards=False, **tiny.options)
    said = [line for line in capfd.readouterr().err.splitlines() if "not finite" in line]
    assert len(said) == 1
    assert "seed 1" in said[0] and "gradient" in said[0]
    assert [result_of(run)["status"] for run in runs] == ["completed", "failed", "completed"]
    assert [(run / "final.safetensors").exists() for run in runs] == [True, False, True]
    assert_kept_and_finite(runs[1], rows=1)


def test_nothing_but_failures_is_an_error(tmp_path, tiny):
    with pytest.raises(TrainingError, match=r"of 1 runs 1 failed \(.*seed 1: reward"):
        robustpo.train(
            functools.partial(Walk, nan_reward),
            seeds=1,
            out=tmp_path,
            progress=False,
            **tiny.options,
        )
    assert robustpo.load_summary(tmp_path)["status"].to_list() == ["failed"]
    assert len(robustpo.load_results(tmp_path)) == 1


def test_a_fault_in_the_first_rollout_keeps_the_initial_policy(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(Walk, "faulty_call", 3)
    with pytest.raises(TrainingError, match="observation not finite at step 3"):
        robustpo.train(
            functools.partial(Walk, nan_observation),
            seeds=1,
            out=tmp_path,
            progress=False,
            **tiny.options,
        )
    (run,) = [path.parent for path in tmp_path.rglob("result.json")]
    assert np.isfinite(robustpo.load_policy(run)(np.zeros(2))).all()
    assert result_of(run)["steps"] == 0


def test_a_constructor_that_raises_is_refused_before_anything_is_written(tmp_path, tiny):
    def broken():
        raise OSError("no such model")

    with pytest.raises(ConfigError, match="OSError: no such model"):
        robustpo.train(broken, out=tmp_path / "o", **tiny.options)
    assert not (tmp_path / "o").exists()


def test_faults_on_the_command_line(robustpo_command, tmp_path, tiny):
    flags = ["--seeds", "0:3", "--workers", 2, *tiny.flags, "--out", "o"]
    done = robustpo_command("train", "test_faults:nan_walk", *flags, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if "not finite" in line]
    # When it happened, and as the reason of the exit code.
    assert len(said) == 2 and said[1] == done.stderr.splitlines()[-1]
    for words in ("test_faults:nan_walk", "seed 1", f"step {FAULTY_STEP}", "observation"):
        assert words in said[0]
    runs = sorted((tmp_path / "o").rglob("seed-?"))
    assert [tmp_path / line for line in done.stdout.splitlines()] == [runs[0], runs[2]]
    assert [result_of(run)["status"] for run in runs] == ["completed", "failed", "completed"]
    assert_kept_and_finite(runs[1], rows=1)


@pytest.mark.parametrize(
    ("task", "reason"),
    [("deadly_walk", "signal 9"), ("raising_walk", "is unstable")],
)
def test_a_worker_that_dies_takes_only_its_own_agents(
    robustpo_command, tmp_path, tiny, task, reason
):
    flags = ["--seeds", "0:2", "--workers", 2, *tiny.flags, "--out", "o"]
    done = robustpo_command("train", f"test_faults:{task}", *flags, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if "what was recorded is kept" in line]
    assert len(said) == 1
    for words in (f"test_faults:{task}", "seed 1", reason):
        assert words in said[0]
    last = done.stderr.splitlines()[-1]
    assert last.startswith("robustpo: failed: of 2 runs 1 is not finished (")
    assert reason in last and last.endswith(
        "); the same command goes on once nothing stands in its way"
    )
    lived, died = sorted(path.parent for path in tmp_path.rglob("config.json"))
    assert result_of(lived)["status"] == "completed"
    assert not (died / "result.json").exists()
    assert [row["step"] for row in lines_of(died)] == [512]
    assert robustpo.load_summary(tmp_path / "o")["status"].to_list() == ["completed", "incomplete"]
