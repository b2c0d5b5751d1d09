"""A run is of the environment it was trained on, and of no other that has its name."""

import functools
import json
import os
import shutil
import sys
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import robustpo
from robustpo.environments.make import Task
from robustpo.errors import EnvironmentMismatch
from robustpo.execution.recorded_environments import RecordedEnvironments
from robustpo.runs.surroundings import Surroundings, recorded, require_one

SMALL: dict[str, Any] = {
    "steps": 512,
    "num_steps": 256,
    "num_minibatches": 2,
    "update_epochs": 1,
    "hidden_sizes": (8,),
    "progress": False,
}
FLAGS = ["--steps", 512, "--num-steps", 256, "--num-minibatches", 2, "--update-epochs", 1]

MODULE = """
import gymnasium, numpy as np
from gymnasium import spaces

class Walk(gymnasium.Env):
    observation_space = spaces.Box(-9, 9, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.count = self.np_random.uniform(-1, 1, 1).astype(np.float32), 0
        return self.x, {}

    def step(self, action):
        self.x = np.clip(self.x + 0.1 * action, -9, 9).astype(np.float32)
        self.count += 1
        return self.x, REWARD, False, self.count == 50, {}

def make():
    return Walk()
"""


def files_of(directory):
    return {p: p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_an_edited_reward_is_refused_until_the_runs_are_moved_aside(robustpo_command, tmp_path):
    file = tmp_path / "my.py"
    file.write_text(MODULE.replace("REWARD", "1.0"))
    flags = [*FLAGS, "--seeds", "0:2", "--workers", 1]
    done = robustpo_command("train", "my:make", "--method", "ppo", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before = files_of(tmp_path / "runs")
    file.write_text(MODULE.replace("REWARD", "2.0 if self.count > 2 else 1.0"))
    # Half of it is to be trained; then all of it is recorded already.
    for methods in (["ppo", "rpo"], ["ppo"]):
        refused = robustpo_command(
            "compare", "my:make", "--methods", *methods, *flags, cwd=tmp_path
        )
        assert refused.returncode == 2, refused.stderr
        last = refused.stderr.splitlines()[-1]
        assert "reward of step 3: 1 recorded, 2 now" in last and "--fresh" in last
        assert "ppo_" in last and "Traceback" not in refused.stderr
        after = files_of(tmp_path / "runs")
        assert {p: text for p, text in after.items() if "ppo_" in str(p)} == before
        assert not list((tmp_path / "runs").rglob("rpo_*/seed-*/config.json"))
    fresh = [*flags, "--fresh", "--methods", "ppo", "rpo"]
    done = robustpo_command("compare", "my:make", *fresh, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").rglob(".seed-*.old-1/result.json"))) == 2


class Drift(gymnasium.Env):
    """What a test changes of it from outside is seen by no digest of its code."""

    observation_space = spaces.Box(-9, 9, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)
    reward = 1.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.count = self.np_random.uniform(-1, 1, 1).astype(np.float32), 0
        return self.x, {}

    def step(self, action):
        self.count += 1
        self.x = np.clip(self.x + 0.1 * action, -9, 9).astype(np.float32)
        return self.x, float(os.environ.get("DRIFT", "1")), False, self.count == 50, {}


def train(out, task: Task = Drift, **options):
    return robustpo.train(task, out=out, **SMALL | options)


def test_runs_of_two_environments_are_not_put_side_by_side(tmp_path, monkeypatch):
    (one,) = train(tmp_path, method="ppo")
    assert json.loads((one / "config.json").read_text())["environment"]["behaviour"]["steps"]
    monkeypatch.setenv("DRIFT", "3")
    # Nothing is recorded yet of this method, so nothing contradicts.
    (other,) = train(tmp_path, method="rpo")
    with pytest.raises(EnvironmentMismatch, match=r"reward of step 1: 1 in ppo.*, 3 in rpo"):
        robustpo.compare(Drift, seeds=0, out=tmp_path, **SMALL)
    with pytest.raises(EnvironmentMismatch, match="reward of step 1: 1 recorded, 3 now"):
        train(tmp_path, method="ppo")
    # A record from before environments were recorded contradicts nothing, and that is said.
    for run in (one, other):
        content = json.loads((run / "config.json").read_text())
        del content["environment"]
        (run / "config.json").write_text(json.dumps(content))
    assert train(tmp_path, method="ppo") == [one]


def test_a_run_that_goes_on_keeps_its_environment(tmp_path, monkeypatch, capsys):
    def stop(event):
        if event["step"] >= 512:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"steps": 1024, "checkpoint_every": 256}
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "a", callback=stop, **options)
    (run,) = [path.parent for path in (tmp_path / "a").rglob("config.json")]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    known = recorded(run)
    monkeypatch.setenv("DRIFT", "3")
    with pytest.raises(EnvironmentMismatch, match="reward of step 1: 1 recorded, 3 now"):
        train(tmp_path / "a", **options)
    monkeypatch.delenv("DRIFT")
    (run,) = train(tmp_path / "a", **options)
    assert recorded(run) == known
    # To the bit: both were looked at, and one twice.
    (untouched,) = train(tmp_path / "c", **options)
    tensors, others = (robustpo.load_policy(place).tensors for place in (run, untouched))
    for name in tensors:
        np.testing.assert_array_equal(tensors[name], others[name])
    # And one that was begun before environments were recorded goes on, with a note.
    (old,) = [path for path in (tmp_path / "b").rglob("config.json")]
    content = json.loads(old.read_text())
    del content["environment"]
    old.write_text(json.dumps(content))
    capsys.readouterr()
    train(tmp_path / "b", **options, progress=True)
    assert "do not say what their environment was" in " ".join(capsys.readouterr().err.split())


def found(behaviour, command, constructor="python-3.11 a", where=None):
    steps = {"tolerance": 1e-5, "steps": ["reset 0", f"{behaviour} . 0"]}
    return Surroundings(
        {"description": {}, "behaviour": steps, "constructor": constructor, "command": command},
        where,
    )


def test_what_differs_within_one_command_is_no_evidence():
    known = [found(1.0, "first", where="a"), found(2.0, "first", where="b")]
    (note,) = require_one("t", found(3.0, "second"), known)
    assert "behaves differently in every process (reward of step 1" in note
    # Other code decides then, and between commands a difference is one.
    with pytest.raises(EnvironmentMismatch, match="code that makes it"):
        require_one("t", found(1.0, "second", "python-3.11 b"), known)
    with pytest.raises(EnvironmentMismatch, match=r"1\.0 recorded, 3\.0 now"):
        require_one("t", found(3.0, "second"), known[:1])
    # A file that was edited while a command ran.
    with pytest.raises(EnvironmentMismatch, match=r"1\.0 recorded, 3\.0 now"):
        require_one("t", found(3.0, "first", "python-3.11 b"), known[:1])
    # Digests of code say nothing under another Python.
    assert require_one("t", found(1.0, "second", "python-3.12 b"), known[:1]) == []


def test_later_workers_are_told_what_earlier_ones_found():
    environments = RecordedEnvironments({})
    errand = environments.errand("my:make")
    assert errand["known"] == [] and errand["registration"] is None

    def heard(behaviour, constructor="python-3.11 a", notes=()):
        content = found(behaviour, errand["command"], constructor).environment
        about = {"task": "my:make", "where": f"runs/{behaviour}", "notes": list(notes)}
        return environments.hear({"kind": "environment", "environment": content, **about})

    assert heard(1.0, notes=["once"]) and heard(1.0, notes=["once"])
    # Of errands that were handed out before, too: their workers start later.
    assert [known["where"] for known in errand["known"]] == ["runs/1.0"]
    assert environments.news() == ["once"] and environments.news() == []
    assert heard(2.0)
    assert "behaves differently in every process" in environments.news()[0]
    assert not environments.hear({"kind": "iteration"})
    with pytest.raises(EnvironmentMismatch, match="code that makes it"):
        heard(1.0, "python-3.11 edited")
    with pytest.raises(EnvironmentMismatch, match="another one"):
        environments.hear({"kind": "refused", "text": "another one"})


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 500, 980, 5000])
def test_a_strangers_environment_is_read_if_it_is_flat(tmp_path, depth):
    text = f'{{"environment": {{"description": {"[" * depth}{"]" * depth}}}}}'
    (tmp_path / "config.json").write_text(text)
    assert (recorded(tmp_path) is not None) == (depth <= 3)


def test_two_lambdas_are_two_tasks(tmp_path):
    trained = []
    for reward in (1.0, 2.0, 1.0):

        def make(reward=reward):
            return gymnasium.wrappers.TransformReward(Drift(), lambda r: float(r) * reward)

        for task in (lambda: make(), functools.partial(make, reward)):
            trained += train(tmp_path, task)
    assert len(set(trained)) == 4 and trained[:2] == trained[4:]


def test_an_id_registered_in_this_process_is_trained_by_workers(tmp_path):
    # As what a script or a notebook defines.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    gymnasium.register("LocalDrift-v0", entry_point=lambda **_: Drift(), max_episode_steps=20)
    try:
        # In a worker, and in the processes that it starts in turn.
        (run,) = train(tmp_path, "LocalDrift-v0", env_processes=1)
        config = json.loads((run / "config.json").read_text())
        assert config["environment"]["description"]["time limit"] == 20
    finally:
        del gymnasium.registry["LocalDrift-v0"]
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_one_instance_for_all_agents_is_refused(tmp_path):
    shared = Drift()
    with pytest.raises(EnvironmentMismatch, match="the same Drift twice"):
        train(tmp_path, lambda: shared, seeds="0:3")
    assert not list(tmp_path.rglob("config.json"))
