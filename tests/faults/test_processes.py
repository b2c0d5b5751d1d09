"""Signals, hanging simulators and clocks that jump."""

import functools
import itertools
import signal
import time

import gymnasium
import numpy as np
import pytest

import robustpo
from faults.killing import end, kill, start, wait_for, workers_in

TASK = "dm_control/cartpole-balance-v0"
SHORT = ["--steps", 4096, "--num-steps", 512, "--num-minibatches", 4, "--update-epochs", 2]


def test_sigterm_while_compiling_ends_at_once(tmp_path):
    cold = {"ROBUSTPO_CACHE": str(tmp_path / "cold")}
    process = start("train", TASK, "--seeds", "0:5", "--workers", 1, cwd=tmp_path, **cold)
    try:
        wait_for(lambda: list(tmp_path.rglob("config.json")), process)
        # The simulators are made and the first programs are being compiled.
        time.sleep(1.0)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
        took = time.monotonic() - begin
    finally:
        end(process)
    assert process.returncode == 143, stderr
    assert took < 8 and "Traceback" not in stderr
    assert workers_in(tmp_path) == [] and not list(tmp_path.rglob("metrics.jsonl"))


def test_a_worker_killed_from_outside_is_named_once(tmp_path):
    flags = ["--seeds", "0:4", "--workers", 2, *SHORT, "--steps", 2_000_000]
    process = start("train", TASK, *flags, cwd=tmp_path)
    try:
        wait_for(lambda: len(list(tmp_path.rglob("metrics.jsonl"))) == 4, process)
        kill(workers_in(tmp_path)[0])
        # The other worker is not disturbed.
        time.sleep(1.0)
        assert process.poll() is None and len(workers_in(tmp_path)) == 1
        # Asked to end by somebody else, it does so in order, and its runs are not done.
        kill(workers_in(tmp_path)[0], signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        end(process)
    assert process.returncode == 1 and stdout == "", stderr
    last = stderr.splitlines()[-1]
    assert last.startswith("robustpo: failed: of 4 runs 4 are not finished (")
    assert "stopped by SIGTERM" in last and "killed by signal 9" in last and "and 1 more" in last
    # Those of the second left a checkpoint.
    assert len({path.parent for path in tmp_path.rglob("step-*.safetensors")}) == 2
    stderr = "\n".join(stderr.splitlines()[:-1])
    said = [line for line in stderr.splitlines() if "killed by signal 9" in line]
    assert len(said) == 1
    assert "and 1 run beside it" in said[0] and "fewer --workers" in said[0]
    assert "the same command goes on" in said[0]


class Stuck(gymnasium.Env):
    """Hangs in its 700th step, but not in the short measurement before training (seeds 1 to 3)."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, hang):
        self.hang, self.calls, self.measured = hang, 0, False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.measured = self.measured or seed in (1, 2, 3)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.calls += 1
        if self.calls == 700 and not self.measured:
            self.hang()
        return np.zeros(1, np.float32), 0.0, False, self.calls % 100 == 0, {}


def sleep_in_python():
    time.sleep(1000)


def sleep_in_c():
    import ctypes

    # Called with the interpreter's lock held, so that no thread of Python can notice.
    ctypes.PyDLL(None).sleep(1000)


stuck_in_python = functools.partial(Stuck, sleep_in_python)
stuck_in_c = functools.partial(Stuck, sleep_in_c)


@pytest.mark.parametrize("task", ["stuck_in_python", "stuck_in_c"])
def test_a_simulator_that_hangs_is_ended(tmp_path, task):
    flags = ["--step-timeout", 3, *SHORT]
    process = start("train", f"test_processes:{task}", *flags, cwd=tmp_path)
    try:
        _, stderr = process.communicate(timeout=100)
    finally:
        end(process)
        for worker in workers_in(tmp_path):
            kill(worker)
    assert process.returncode == 1, stderr
    said = [line for line in stderr.splitlines() if "did not return within 0:00:03" in line]
    assert said and f"in {task.replace('stuck', 'sleep')}" in said[0]
    assert "Traceback" not in stderr
    # The first rollout of 512 steps was whole.
    assert robustpo.load_results(tmp_path / "runs")["step"].to_list() == [512]


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(tmp_path, tiny, monkeypatch):
    robustpo.train(tiny.task, out=tmp_path / "a", progress=False, workers=1, **tiny.options)
    jumps = itertools.cycle([1e9, -1e9, 0.0, 4e9])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    make = functools.partial(gymnasium.make, "Pendulum-v1")
    options = tiny.options | {"num_steps": 512}
    runs = [
        robustpo.train(make, out=tmp_path / name, progress=False, **options)[0]
        for name in ("b", "c")
    ]
    tables = [robustpo.load_results(run) for run in runs]
    for table in tables:
        seconds = table["seconds"].to_list()
        assert seconds == sorted(seconds) and seconds[0] > 0 and seconds[-1] < 600
    assert tables[0].drop("seconds").equals(tables[1].drop("seconds"))
