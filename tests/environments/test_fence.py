"""Whatever an environment does, one line of ours comes out, and the process is as it was."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from environments import hostile
from environments.test_jax_task import Walk
from robustpo.environments.fence import describe
from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.jax_environment import HostJaxEnvironment, JaxEnvironment
from robustpo.environments.make import resolve
from robustpo.errors import ConfigError, SimulatorError

ACTION = np.full((1, 1), 0.5, np.float32)


@pytest.fixture
def noted_interrupts():
    """A handler of Ctrl-C that takes a note, as training has, put back afterwards."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, before)


def play(task, steps=40):
    environment = GymnasiumEnvironment(task, [1])
    environment.reset()
    for _ in range(steps):
        environment.step(ACTION)


@pytest.mark.parametrize(
    ("task", "kind", "words"),
    [
        (hostile.Exits, SimulatorError, r"seed 1: step ended the program \(sys.exit with None\)"),
        (hostile.ExitsWhenReset, SimulatorError, r"reset ended the program .*'no display'"),
        (hostile.ExitsWhenMade, ConfigError, r"its constructor ended the program \(.* 0\)"),
        (hostile.NoReward, SimulatorError, "step returned the reward None, expected one number"),
        (hostile.NoLastObservation, SimulatorError, "observation None, expected 2 numbers"),
        (hostile.Unwritable, SimulatorError, "step raised Odd: a Odd that cannot be written out"),
        (hostile.NoSpace, ConfigError, "has no action_space; set it in the class"),
        (hostile.OtherActions, ConfigError, r"action_space .*hostile.OtherBox, .* no space of gym"),
        (hostile.OtherObservations, ConfigError, r"observation_space .* no space of gymnasium"),
        (hostile.OtherPackage, ConfigError, "environment of another package"),
        (hostile.WrapsNothing, ConfigError, r"wraps nothing; call super\(\).__init__\(env\)"),
        (hostile.NoActions, ConfigError, "has no actions"),
        (hostile.UnreadableSpec, ConfigError, "unreadable .*RuntimeError: ask me later"),
    ],
)
def test_what_is_raised_is_one_line_that_names_it(task, kind, words):
    with pytest.raises(kind, match=words) as caught:
        play(task)
    assert "\n" not in str(caught.value)


def test_an_environments_own_interrupt_is_no_ctrl_c(noted_interrupts):
    with pytest.raises(SimulatorError, match="step raised KeyboardInterrupt"):
        play(hostile.Interrupts)


def test_a_ctrl_c_is_not_taken_for_the_environments():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        play(hostile.Interrupts)


@pytest.mark.parametrize("task", [hostile.FailsToClose, hostile.ExitsWhenClosed])
def test_what_fails_to_close_is_left_as_it_is(task):
    assert resolve(task).action_size == 1
    environment = GymnasiumEnvironment(task, [1, 2])
    environment.close()


def test_a_second_one_that_cannot_be_made_leaves_no_first():
    with pytest.raises(ConfigError, match=r"already in use; 1 had been made before it.*--envs 1"):
        GymnasiumEnvironment(hostile.Once, [1, 2])
    assert hostile.Once.alive == 0


class Homebody(hostile.TakesAll):
    """Says where it is stepped, and in what precision it would compute."""

    seen = []  # noqa: RUF012

    def step(self, action) -> Any:
        self.seen.append((Path.cwd(), jnp.ones(1).dtype))
        return super().step(action)


def test_the_process_stays_ours_and_the_simulator_keeps_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    errors, stderr = np.geterr(), os.fstat(2)
    environment = GymnasiumEnvironment(Homebody, [1, 2])
    for call in (environment.reset, lambda: environment.step(np.concatenate([ACTION, ACTION]))):
        call()
        assert {number: signal.getsignal(number) for number in before} == before
        assert Path.cwd() == tmp_path
        assert jnp.ones(1).dtype == np.float32
        assert np.geterr() == errors
        assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (stderr.st_dev, stderr.st_ino)
    # Both were made where the command was started, not one inside the other's directory.
    assert Homebody.seen == [(tmp_path / "assets", np.float64)] * 2
    environment.close()


class Frugal(hostile.Slide):
    """Finds its modules where nobody else does, calls little deep and makes files for itself."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        sys.path[:] = ["assets"]
        sys.setrecursionlimit(150)
        os.umask(0o777)


def test_what_a_constructor_takes_away_is_given_back():
    mask = os.umask(0o027)
    places, depth = list(sys.path), sys.getrecursionlimit()
    try:
        GymnasiumEnvironment(Frugal, [1])
        assert os.umask(0o027) == 0o027
        assert sys.getrecursionlimit() == depth
        # What it has added it goes on to find.
        assert sys.path == list(dict.fromkeys(["assets", *places]))
    finally:
        os.umask(mask)
        sys.path[:] = places
        sys.setrecursionlimit(depth)


class Moves(hostile.Slide):
    """Goes to a folder of its own at its first reset and comes back at its second."""

    seen = []  # noqa: RUF012

    def reset(self, **keywords) -> Any:
        os.makedirs("own", exist_ok=True)
        os.chdir("own" if Path.cwd().name != "own" else "..")
        return super().reset(**keywords)

    def step(self, action) -> Any:
        self.seen.append(Path.cwd())
        return super().step(action)


def test_a_simulator_is_called_where_its_last_call_has_left_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = GymnasiumEnvironment(Moves, [1])
    for _ in range(3):
        environment.reset()
        environment.step(ACTION)
        environment.step(ACTION)
        assert Path.cwd() == tmp_path
    own = tmp_path / "own"
    assert Moves.seen == [own, own, tmp_path, tmp_path, own, own]


class Wanders(hostile.Slide):
    def step(self, action) -> Any:
        os.chdir("/")
        return super().step(action)


def test_one_that_moves_in_a_step_has_moved_no_longer_than_it_lives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = GymnasiumEnvironment(Wanders, [1])
    environment.reset()
    environment.step(ACTION)
    environment.close()
    assert Path.cwd() == tmp_path


def test_a_task_in_jax_that_exits_is_said_in_one_line():
    class Exits(Walk):
        traced = 0

        def step(self, state, action, *, key) -> Any:
            Exits.traced += 1
            if Exits.traced == at:
                sys.exit()
            return super().step(state, action, key=key)

    at = 1
    with pytest.raises(ConfigError, match=r"cannot be traced by JAX \(it ended the program"):
        resolve(Exits)
    # Looked at once without fault, it exits when the program is compiled.
    at = 3
    environment = HostJaxEnvironment(JaxEnvironment(Exits(), [1]))
    environment.reset()
    with pytest.raises(SimulatorError, match="step ended the program"):
        environment.step(ACTION)


def test_a_module_that_ends_the_program_when_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "a_script_that_exits.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"could not be imported \(ended the program"):
        resolve("a_script_that_exits:make")


def test_handlers_that_c_has_replaced_are_put_back():
    # In a process of its own: what C does, Python does not know.
    program = """
import ctypes, os, signal
from environments.hostile import Slide
from robustpo.environments.jax_environment import HostJaxEnvironment, JaxEnvironment
from robustpo.environments.make import resolve
class Takes(Slide):
    def __init__(self):
        ctypes.CDLL(None).signal(signal.SIGINT, ctypes.c_void_p(1))  # SIG_IGN
resolve(Takes)
try:
    os.kill(os.getpid(), signal.SIGINT)
    print("ignored")
except KeyboardInterrupt:
    print("ours")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "ours", done.stderr


class ResetsItself(hostile.Slide):
    """Begins its next episode in the step that ends one and hands over what it ended on."""

    observation_space = spaces.Dict(
        {"x": spaces.Box(-10, 10, (2,), np.float32), "t": spaces.Box(0, 99, (1,), np.float32)}
    )

    def __init__(self, key):
        super().__init__()
        self.key = key

    def reset(self, **keywords) -> Any:
        obs, info = super().reset(**keywords)
        return {"x": obs, "t": np.zeros(1, np.float32)}, info

    def step(self, action) -> Any:
        x, reward, terminated, truncated, info = super().step(action)
        obs = {"x": x, "t": np.array([self.t], np.float32)}
        if truncated:
            info = {self.key: obs}
            obs, _ = self.reset()
        return obs, reward, terminated, truncated, info


class Plain(ResetsItself):
    """The same without a reset of its own."""

    def step(self, action) -> Any:
        x, *rest = hostile.Slide.step(self, action)
        return ({"x": x, "t": np.array([self.t], np.float32)}, *rest)


@pytest.mark.parametrize("key", ["final_obs", "final_observation"])
def test_an_episode_ends_on_what_a_reset_in_the_same_step_hands_over(key):
    theirs = GymnasiumEnvironment(lambda: ResetsItself(key), [3])
    ours = GymnasiumEnvironment(lambda: Plain(key), [3])
    np.testing.assert_array_equal(theirs.reset(), ours.reset())
    # Ten steps, the last of which ends the episode.
    for _ in range(10):
        step = theirs.step(ACTION)
        for found, expected in zip(step, ours.step(ACTION), strict=True):
            np.testing.assert_array_equal(found, expected)
    # Then a row that only resets, whose observation is that of a first step to come.
    for _ in range(2):
        row = theirs.step(ACTION)
        assert not row.valid.any() and (row.obs[:, 0] == 0).all()
        ends = [bool(theirs.step(ACTION).truncated[0]) for _ in range(10)]
        assert ends == [False] * 9 + [True]


def test_errors_are_described_without_their_faults():
    assert describe(ValueError("no\nlicence")) == "raised ValueError: no licence"
    assert describe(SystemExit(3)) == "ended the program (sys.exit with 3)"
    assert describe(RuntimeError()) == "raised RuntimeError"


def test_gymnasiums_own_wrapper_that_resets_is_stepped_right():
    def wrapped():
        return gymnasium.wrappers.Autoreset(hostile.Slide())

    theirs = GymnasiumEnvironment(wrapped, [3])
    ours = GymnasiumEnvironment(hostile.Slide, [3])
    np.testing.assert_array_equal(theirs.reset(), ours.reset())
    for _ in range(36):
        for found, expected in zip(theirs.step(ACTION), ours.step(ACTION), strict=True):
            np.testing.assert_array_equal(found, expected)
