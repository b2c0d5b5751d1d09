"""A simulator that dies in the middle: who it was, at which step, and what is kept."""

import json
import os
import signal
from pathlib import Path

import gymnasium
import pytest

import robustpo
from robustpo.errors import SimulatorError

OPTIONS = {
    "num_envs": 2,
    "num_steps": 64,
    "num_minibatches": 4,
    "update_epochs": 1,
    "steps": 10 * 128,
    "checkpoint_every": 128,
    "progress": False,
}


class Mortal(gymnasium.Wrapper):
    """A pendulum that dies in its 150th step or later, in the way a file says once there is one."""

    def __init__(self):
        super().__init__(gymnasium.make("Pendulum-v1"))
        self.count = 0

    def reset(self, *, seed=None, options=None):
        # What an environment is is looked at, with a seed, before it is trained on.
        self.count = self.count if seed is None else 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.count += 1
        if self.count >= 150 and (way := Path(os.environ["MORTAL"])).exists():
            if way.read_text() == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("a joint broke")
        return super().step(action)


@pytest.mark.parametrize(
    ("way", "processes", "words"),
    [
        ("killed", 2, r"seeds \d+ was ended by signal 9 \(SIGKILL\)"),
        ("raises", 2, r"simulator seed \d+: step raised RuntimeError: a joint broke"),
        ("raises", 0, r"simulator seed \d+: step raised RuntimeError: a joint broke"),
    ],
)
def test_agent_and_step_are_named_and_the_run_goes_on(tmp_path, monkeypatch, way, processes, words):
    file = tmp_path / "way"
    monkeypatch.setenv("MORTAL", str(file))

    def arm(event):
        # Not before: how long a step takes is measured on environments of its own.
        if event["step"] == 256:
            file.write_text(way)

    # Rollouts of 64 steps of two environments: the 150th is row 21 of the third, after 2·21 steps
    # of it and 256 before it.
    with pytest.raises(SimulatorError, match=rf"seed 4, step {256 + 2 * 21 + 1}: .*{words}"):
        robustpo.train(
            Mortal, seeds=4, out=tmp_path, env_processes=processes, callback=arm, **OPTIONS
        )
    (record,) = tmp_path.rglob("seed-4")
    assert (record / "checkpoint").is_dir() and not (record / "result.json").exists()
    file.unlink()
    robustpo.train(Mortal, seeds=4, out=tmp_path, env_processes=processes, **OPTIONS)
    resumed = json.loads((record / "config.json").read_text())["resumed"]
    assert [entry["step"] for entry in resumed] == [256]
    assert json.loads((record / "result.json").read_text())["status"] == "completed"
