"""However a worker ends, the command tells by the records what is done, and says what is not.

The environments are named `test_worker_ends:…` on command lines: workers import this module.
"""

import functools
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import robustpo
from robustpo.config.run import make_config
from robustpo.errors import UnfinishedError
from robustpo.execution.standing import examine
from robustpo.runs.locks import is_locked
from robustpo.runs.run_state import run_state

FAULTY_CALL = 700


class Walk(gymnasium.Env):
    """A walk whose 700th step, with the simulator's seed of some agent, does something."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,))
    action_space = spaces.Box(-1, 1, (1,))

    def __init__(self, faults):
        self.faults, self.calls, self.first_seed = faults, 0, None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            # As at the beginning: what an environment is is looked at before it is trained on.
            self.calls, self.first_seed = 0, seed
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.calls += 1
        reward = -float(np.abs(action).sum())
        if self.calls == FAULTY_CALL:
            for seed, fault in self.faults.items():
                if self.first_seed == simulator_seed(seed):
                    reward = fault(reward)
        return np.zeros(1, np.float32), reward, False, self.calls % 100 == 0, {}


def simulator_seed(agent_seed):
    """The seed of the one environment of an agent."""
    return int(np.random.SeedSequence(agent_seed).generate_state(1)[0]) & 0x7FFFFFFF


def note_child(pid):
    with open("children", "a") as file:
        file.write(f"{pid}\n")


def start_children(reward):
    """Leave programs, a fork and a process of multiprocessing behind, all with open pipes."""
    note_child(subprocess.Popen(["sleep", "300"]).pid)
    # This one has left the worker's group.
    note_child(subprocess.Popen(["sleep", "300"], start_new_session=True).pid)
    child = os.fork()
    if not child:
        time.sleep(300)
        os._exit(0)
    note_child(child)
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(300,))
    process.start()
    note_child(process.pid)
    return reward


def end_with_success(reward):
    os._exit(0)


def diverge(reward):
    return np.nan


def leave(reward):
    sys.exit(0)


FAULTS = {0: start_children, 1: end_with_success, 2: leave}
many_faults = functools.partial(Walk, FAULTS)
one_diverges = functools.partial(Walk, {1: diverge})


@pytest.fixture
def children(tmp_path):
    """Where children are noted; those that are left are ended."""
    yield tmp_path / "children"
    if (tmp_path / "children").exists():
        for pid in (tmp_path / "children").read_text().split():
            if is_alive(int(pid)):
                os.kill(int(pid), signal.SIGKILL)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_run_is_done_when_its_record_says_so(robustpo_command, tmp_path, tiny, children):
    # Every agent has a worker of its own.
    flags = ["--seeds", "0:3", "--workers", 3, "--no-pin", *tiny.flags, "--out", "o"]
    done = robustpo_command("train", "test_worker_ends:many_faults", *flags, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    runs = sorted((tmp_path / "o").rglob("seed-?"))
    # Printed is what is done, and nothing that is not there.
    assert [tmp_path / line for line in done.stdout.splitlines()] == runs[:1]
    assert [run_state(run).state for run in runs] == ["done", "stopped", "stopped"]
    last = done.stderr.splitlines()[-1]
    assert last.startswith("robustpo: failed: of 3 runs 2 are not finished (")
    assert (
        last.endswith("; the same command goes on once nothing stands in its way")
        and len(last) < 2000
    )
    for seed, words in ((1, "ended before its runs had"), (2, "exit")):
        said = next(part for part in last.split("; ") if f"seed {seed}" in part)
        assert words in said, last
    # What was started is gone with its worker, but for what had left its group; locks are free.
    alive = [is_alive(int(pid)) for pid in children.read_text().split()]
    assert alive == [False, True, False, False]
    assert not any(is_locked(run) for run in runs)
    assert list((tmp_path / "o").rglob("*.lock")) == []


def test_a_run_that_failed_is_no_success_the_second_time_either(tmp_path, tiny, capfd):
    for _ in range(2):
        with pytest.raises(UnfinishedError, match=r"of 2 runs 1 failed .*seed 1: reward") as caught:
            robustpo.train(one_diverges, seeds="0:2", out=tmp_path, **tiny.options)
        assert [path.name for path in caught.value.directories] == ["seed-0"]
    assert "1 of 2 runs have failed before and are kept" in capfd.readouterr().err


def test_a_comparison_is_reported_without_the_runs_that_failed(tmp_path, tiny):
    with pytest.raises(UnfinishedError, match=r"of 4 runs 2 failed .*ppo.*seed 1.*rpo") as caught:
        robustpo.compare(one_diverges, seeds="0:2", out=tmp_path, progress=False, **tiny.options)
    error = caught.value
    assert [path.name for path in error.directories] == ["seed-0", "seed-0"]
    assert error.report is not None and all(file.exists() for file in error.report.files)
    assert "1 failed" in error.report.table
    assert robustpo.load_summary(tmp_path)["status"].to_list() == ["completed", "failed"] * 2


def test_a_result_that_cannot_be_read_is_the_same_to_all(
    comparison, robustpo_command, tmp_path, tiny
):
    shutil.copytree(comparison.out, tmp_path / "runs")
    place = tmp_path / "runs" / comparison.run("rpo", 0).relative_to(comparison.out)
    for damaged in ('{"status": "completed", "steps": 512}', '{"status": "comp'):
        (place / "result.json").write_text(damaged)
        assert run_state(place).state == "stopped" and "result.json" in run_state(place).reason
        summary = robustpo.load_summary(tmp_path / "runs")
        assert summary["status"].to_list().count("incomplete") == 1
        assert summary.filter(method="rpo", seed=0)["status"].to_list() == ["incomplete"]
        config = make_config(tiny.task, "rpo", **tiny.options)
        standing = examine({config: place}, fresh=False)[config]
        assert standing.pending and standing.stale and "result.json" in standing.problems[0]
    done = robustpo_command("train", tiny.task, "--seeds", "0:2", *tiny.flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of 2 runs are recorded already" in done.stderr
    assert "result.json" in done.stderr
    assert "moved aside: runs/" in done.stderr and ".seed-0.old-1" in done.stderr
    assert run_state(place).done
    mine, theirs = (robustpo.load_policy(run) for run in (place, comparison.run("rpo", 0)))
    for name, tensor in mine.tensors.items():
        np.testing.assert_array_equal(tensor, theirs.tensors[name])
