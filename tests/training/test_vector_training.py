"""Vectors train like their environments do, and what environments say of episodes is kept."""

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorWrapper

import robustpo
from robustpo.errors import ConfigError

NUM_ENVS = 3
OPTIONS: dict[str, Any] = {
    "num_steps": 40,
    "num_minibatches": 2,
    "update_epochs": 2,
    "hidden_sizes": (8, 8),
    "steps": 4 * 40 * NUM_ENVS,
    "progress": False,
}


def changed(**changes) -> dict[str, Any]:
    return OPTIONS | changes


class Fall(gymnasium.Env):
    """Falls at an even length and is cut at an odd one; only what falls says how far it came."""

    observation_space = spaces.Box(-10, 10, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.length = 0, int(self.np_random.integers(2, 6))
        self.x = self.np_random.uniform(-1, 1)
        return self.observe(), {}

    def step(self, action):
        self.t += 1
        self.x += 0.1 * float(action[0])
        ended, falls = self.t == self.length, self.length % 2 == 0
        said = {"is_success": not falls, "mode": "slow", "pose": np.zeros(3)} if ended else {}
        if ended and falls:
            said["fell/at"] = self.t
        return self.observe(), -abs(self.x), ended and falls, ended and not falls, said

    def observe(self):
        return np.array([self.x, self.t], np.float32)


def vector(mode=AutoresetMode.NEXT_STEP):
    return VectorWrapper(SyncVectorEnv([Fall] * NUM_ENVS, autoreset_mode=mode))


def same_step():
    return vector(AutoresetMode.SAME_STEP)


def plain():
    return SyncVectorEnv([Fall] * NUM_ENVS, autoreset_mode=AutoresetMode.SAME_STEP)


def rows_of(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def result_of(run):
    return json.loads((run / "result.json").read_text())


def stop_after(iterations):
    """Return a callback that stops once so many iterations of an agent have been made."""
    left = iter(range(iterations))
    return lambda event: next(left, None) != iterations - 1


@pytest.mark.parametrize("make", [vector, plain])
def test_a_vector_trains_to_the_bit_like_its_environments(tmp_path, make):
    """A vector that resets in the next step, and one whose environments are stepped singly."""
    singly = robustpo.train(
        Fall, seeds="0:2", out=tmp_path / "singly", num_envs=NUM_ENVS, **OPTIONS
    )
    together = robustpo.train(make, seeds="0:2", out=tmp_path / "together", **OPTIONS)
    for mine, theirs in zip(together, singly, strict=True):
        assert rows_of(mine) == rows_of(theirs)
        for name in ("information", "final_return", "episodes"):
            assert result_of(mine)[name] == result_of(theirs)[name]
        own, other = (robustpo.load_policy(run).tensors for run in (mine, theirs))
        assert own.keys() == other.keys()
        assert all(np.array_equal(own[name], other[name]) for name in own)


def test_what_environments_say_becomes_columns(tmp_path):
    (run,) = robustpo.train(same_step, out=tmp_path, **OPTIONS)
    rows = rows_of(run)
    assert len(rows) == 4
    for row in rows:
        assert 0 < row["info/is_success"] < 1
        # Said of the episodes that fell alone, whose lengths are 2 or 4: missing is not zero.
        assert 2 <= row["info/fell/at"] <= 4
        assert "info/mode" not in row and "info/pose" not in row
    frame = robustpo.load_results(tmp_path)
    assert frame["info/is_success"].to_list() == [row["info/is_success"] for row in rows]
    said = result_of(run)["information"]
    assert said["mode"] == {"text": True}
    assert said["is_success"]["proportion"] and not said["fell/at"]["proportion"]
    assert said["is_success"]["episodes"] == 100
    # Of 100 episodes as many fell as did not succeed, and it knows no more than the last 100.
    assert said["fell/at"]["episodes"] <= 100
    summary = robustpo.load_summary(tmp_path)
    assert summary["info/is_success"].to_list() == [said["is_success"]["mean"]]
    assert summary["info/mode"].to_list() == [None]


def test_events_have_them_too(tmp_path):
    events = []
    robustpo.train(same_step, out=tmp_path, callback=events.append, **OPTIONS)
    assert all(0 < event["info/is_success"] < 1 for event in events)


def test_trackers_have_them_too(tmp_path):
    pytest.importorskip("tensorboardX", reason="pip install 'robustpo[tensorboard]'")
    (run,) = robustpo.train(same_step, out=tmp_path, track="tensorboard", **OPTIONS)
    (file,) = (run / "tensorboard").iterdir()
    # A tag for each of the four iterations.
    assert file.read_bytes().count(b"train/info/is_success") == 4


def test_a_plain_vector_goes_on_to_the_bit(tmp_path):
    whole = robustpo.train(plain, out=tmp_path / "whole", **OPTIONS)
    robustpo.train(plain, out=tmp_path / "parts", callback=stop_after(2), **OPTIONS)
    parts = robustpo.train(plain, out=tmp_path / "parts", **OPTIONS)
    assert rows_of(parts[0]) == rows_of(whole[0])
    assert result_of(parts[0])["information"] == result_of(whole[0])["information"]
    own, other = (robustpo.load_policy(run[0]).tensors for run in (parts, whole))
    assert all(np.array_equal(own[name], other[name]) for name in own)


def test_another_vector_begins_new_episodes_and_says_so(tmp_path, capfd):
    options = changed(progress=True)
    robustpo.train(same_step, out=tmp_path, callback=stop_after(2), **options)
    capfd.readouterr()
    (run,) = robustpo.train(same_step, out=tmp_path, **options)
    text = " ".join(capfd.readouterr().err.split())
    assert "a vector environment cannot be brought back" in text
    assert "no longer exact to the bit" in text
    result = result_of(run)
    assert (result["status"], result["steps"]) == ("completed", OPTIONS["steps"])


def test_an_agent_has_as_many_environments_as_the_vector(tmp_path):
    (run,) = robustpo.train(same_step, out=tmp_path, **OPTIONS)
    shape = json.loads((run / "config.json").read_text())["identity"]["shape"]
    assert shape["num_envs"] == NUM_ENVS
    # Asked for as it is, it is the same run.
    (again,) = robustpo.train(same_step, out=tmp_path, num_envs=NUM_ENVS, **OPTIONS)
    assert again == run
    for options in (changed(num_envs=2), changed(method="rpo:num_envs=4")):
        with pytest.raises(ConfigError, match=r"contradicts task .* a vector of 3 environments"):
            robustpo.train(same_step, out=tmp_path, **options)
    with pytest.raises(ConfigError, match="contradicts task"):
        robustpo.compare(same_step, out=tmp_path, **changed(num_envs=2))


def test_vectors_are_evaluated_in_whole(tmp_path):
    (run,) = robustpo.train(same_step, out=tmp_path, eval_every=240, eval_episodes=4, **OPTIONS)
    policy = robustpo.load_policy(run)
    found = robustpo.evaluate(policy, task=same_step, episodes=7)
    single = robustpo.evaluate(policy, task=Fall, episodes=7, envs=3)
    assert len(found.returns) == 7 and set(found.lengths) <= {2, 3, 4, 5}
    assert len((run / "evaluations.jsonl").read_text().splitlines()) == 2
    assert len(single.returns) == 7


def test_pins_nothing_where_a_vector_may_have_processes(tmp_path, monkeypatch):
    from robustpo.execution import execution

    seen = []
    monkeypatch.setattr(
        execution, "launch", lambda shards, on_event, make, workers, how: seen.append(how.pin)
    )
    for make in (same_step, plain):
        with pytest.raises(robustpo.UnfinishedError):
            robustpo.train(make, out=tmp_path, **OPTIONS)
    assert seen == [False, True]
