"""Host environments in processes: the same bits, the same errors, and nothing left running."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from environments import hostile
from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.processes import ProcessEnvironment
from robustpo.errors import ConfigError, SimulatorError

TASK = "gymnasium/Pendulum-v1"
SEEDS = [5, 6, 7, 8, 9]


def actions(count):
    return np.random.default_rng(0).uniform(-2, 2, (count, len(SEEDS), 1)).astype(np.float32)


@pytest.mark.parametrize("processes", [1, 2, 9])
def test_steps_are_those_of_one_process(processes):
    one, many = GymnasiumEnvironment(TASK, SEEDS), ProcessEnvironment(TASK, SEEDS, processes)
    assert many.spec == one.spec and many.num_envs == 5
    np.testing.assert_array_equal(one.reset(), many.reset())
    for action in actions(205):  # past the time limit of 200 and the phantom row
        for left, right in zip(one.step(action), many.step(action), strict=True):
            np.testing.assert_array_equal(left, right)
            assert left.dtype == right.dtype
    many.close()


def test_environments_are_replayed_each_by_itself():
    tails = list(np.moveaxis(actions(7), 1, 0))
    tails[1] = tails[1][:0]
    resets = np.array([0, 2, 1, 0, 3])
    found = []
    for environment in (GymnasiumEnvironment(TASK, SEEDS), ProcessEnvironment(TASK, SEEDS, 2)):
        environment.reset()
        found.append(environment.replay(resets, tails))
        environment.close()
    np.testing.assert_array_equal(*found)
    assert (found[0] != 0).any(1).all()


class Fragile(gymnasium.wrappers.TransformAction):
    """A pendulum that raises in its third step."""

    def __init__(self):
        super().__init__(gymnasium.make("Pendulum-v1"), lambda a: a, None)
        self.count = 0

    def step(self, action):
        self.count += 1
        if self.count == 3:
            raise RuntimeError("a joint broke")
        return super().step(action)


def test_what_a_constructor_makes_here_is_stepped_there_and_its_errors_come_back():
    environment = ProcessEnvironment(Fragile, [1, 2], 2)
    environment.reset()
    zeros = np.zeros((2, 1), np.float32)
    environment.step(zeros)
    environment.step(zeros)
    with pytest.raises(SimulatorError, match=r"simulator seed 1: step raised .*a joint broke") as e:
        environment.step(zeros)
    assert e.value.index == 0
    environment.close()


def test_a_task_may_lie_beside_the_program_that_was_started(tmp_path, monkeypatch):
    source = "import gymnasium\n\ndef make():\n    return gymnasium.make('Pendulum-v1')\n"
    (tmp_path / "beside_the_program.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    make = importlib.import_module("beside_the_program").make
    environment = ProcessEnvironment(make, [1, 2], 2)
    assert environment.reset().shape == (2, 3)
    environment.close()


def broken():
    raise ValueError("no licence")


def test_a_constructor_that_fails_is_named():
    with pytest.raises(ConfigError, match=r"broken' could not be made: .*no licence"):
        ProcessEnvironment(broken, [1, 2], 2)


def test_a_process_that_is_killed_is_reported_at_once():
    environment = ProcessEnvironment(TASK, SEEDS, 2)
    environment.reset()
    os.kill(environment._workers[1].process.pid, signal.SIGKILL)
    begin = time.monotonic()
    with pytest.raises(SimulatorError, match=r"seeds 8, 9 was ended by signal 9 \(SIGKILL\)") as e:
        environment.step(actions(1)[0])
    assert time.monotonic() - begin < 10 and e.value.index == 3
    environment.close()


class Forks(hostile.Slide):
    """Leaves a fork, which holds all that its process holds, and then ends its process."""

    def step(self, action):
        if os.fork() == 0:
            time.sleep(10_000)
        os._exit(3)


def test_a_fork_that_is_left_behind_keeps_nobody():
    many = ProcessEnvironment(Forks, [1], 1)
    group = many._workers[0].process.pid
    many.reset()
    started = time.monotonic()
    with pytest.raises(SimulatorError, match="ended with exit code 3"):
        many.step(np.zeros((1, 1), np.float32))
    assert time.monotonic() - started < 60
    many.close()
    while living_in(group):
        assert time.monotonic() - started < 60, "the fork lives on"
        time.sleep(0.05)


def living_in(group):
    """Return the processes of a group that have not ended, whether somebody takes note or not."""
    living = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, own, *_ = place.read_text().rpartition(")")[2].split()
            if int(own) == group and state != "Z":
                living.append(place.parent.name)
    return living


def test_nothing_is_left_running():
    environment = ProcessEnvironment(TASK, SEEDS, 2)
    processes = [worker.process for worker in environment._workers]
    environment.close()
    environment.close()
    assert [process.returncode for process in processes] == [0, 0]
    forgotten = ProcessEnvironment(TASK, SEEDS, 1)
    (process,) = [worker.process for worker in forgotten._workers]
    del forgotten
    assert process.returncode == 0


def test_processes_end_with_their_parent():
    program = (
        "import os, signal\n"
        "from robustpo.environments.processes import ProcessEnvironment\n"
        f"env = ProcessEnvironment({TASK!r}, [1], 1); env.reset()\n"
        "print(env._workers[0].process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    pid = int(done.stdout)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and os.path.exists(f"/proc/{pid}"):
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "Z":
                break
        time.sleep(0.1)
    else:
        assert not os.path.exists(f"/proc/{pid}")


def imports():
    loaded = {"jax"} & set(sys.modules)
    assert not loaded, loaded
    return gymnasium.make("Pendulum-v1")


def test_the_processes_import_no_jax():
    ProcessEnvironment("environments.test_processes:imports", [1], 1).close()
