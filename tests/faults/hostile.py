"""Environments that do everything an environment should not, made from a name.

`hostile:<fault>__<moment>` names one on a command line: the fault happens when the environment is
made, at every reset, from its first step on or from its 40th. `hostile:<fault>__<moment>__once`
breaks one agent of several only: that of `HIT`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from environments import hostile as odd

HIT = 1
MOMENTS = {"made": 0, "reset": 0, "step": 1, "later": 40}
STEPS = ("step", "later")
# `train-one` breaks one agent of three, each in a worker of its own.
# `train-apart` steps in processes of its own.
COMMANDS = ("train", "train-apart", "compare", "evaluate", "record", "check")


class Sound(gymnasium.Env):
    """Pushes a cart to the origin in episodes of 20 steps; well behaved."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Box(-1.0, 1.0, (1,))
    alive = 0

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1, 1, 2)
        self.taken = 0
        return self.state.astype(np.float32), {}

    def step(self, action):
        self.taken += 1
        self.state[1] += 0.1 * float(action[0])
        self.state[0] += 0.1 * self.state[1]
        reward = -float(self.state @ self.state)
        return self.state.astype(np.float32), reward, False, self.taken == 20, {}

    def render(self):
        return np.full((32, 32, 3), 200, np.uint8)


class Hostile(Sound):
    """Behaves until its moment comes, and then meets its fault.

    Args:
        fault: takes the environment and what it was about to return; returns what it does return.
        moment: one of `MOMENTS`.
        once: whether only the agent of seed `HIT` is met.
    """

    def __init__(self, fault, moment, once):
        super().__init__("rgb_array")
        self.fault, self.moment, self.once = fault, moment, once
        self.steps, self.hit = 0, not once
        if moment == "made":
            self.fault(self, None)

    def reset(self, *, seed=None, options=None):
        if self.once and seed is not None:
            self.hit = seed == simulator_seed(HIT)
        answer = super().reset(seed=seed, options=options)
        return self.fault(self, answer) if self.moment == "reset" and self.hit else answer

    def step(self, action):
        answer = super().step(action)
        self.steps += 1
        due = self.steps >= MOMENTS[self.moment] > 0
        return self.fault(self, answer) if due and self.hit else answer


def simulator_seed(agent_seed):
    """The seed of the one environment of an agent."""
    return int(np.random.SeedSequence(agent_seed).generate_state(1)[0]) & 0x7FFFFFFF


def raises(error):
    def fault(env, answer):
        raise error

    return fault


def does(action):
    """Do something to the process and return what was to be returned."""

    def fault(env, answer):
        action()
        return answer

    return fault


def once_per_process(action):
    done = []

    def act():
        if not done:
            done.append(True)
            action()

    return does(act)


def answers(change):
    """Return something else, from steps only."""
    return lambda env, answer: change(answer) if answer and len(answer) == 5 else answer


def ignore_signals():
    for number in (signal.SIGINT, signal.SIGTERM):
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, signal.SIG_IGN)


def leave_thread():
    threading.Thread(target=time.sleep, args=(600,), daemon=False).start()


def leave_child():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def leave_fork():
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)


def enable_x64():
    import jax

    jax.config.update("jax_enable_x64", True)


def break_close(env, answer):
    def close():
        raise RuntimeError("it will not close")

    env.close = close
    return answer


def exit_on_close(env, answer):
    def close():
        sys.exit(0)

    env.close = close
    return answer


def never_ends(env, answer):
    env.taken = -1
    return (*answer[:3], False, answer[4]) if answer and len(answer) == 5 else answer


def exists_once(env, answer):
    if Sound.alive:
        raise OSError("address already in use")
    Sound.alive += 1

    def close():
        Sound.alive -= 1

    env.close = close
    return answer


def silence():
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def take_all():
    """Be rude in many ways at once."""
    ignore_signals()
    enable_x64()
    os.makedirs("assets", exist_ok=True)
    os.chdir("assets")
    silence()
    np.seterr(all="raise")


def write_everywhere():
    print("hello")
    os.write(1, b"hello\n")
    os.system("echo hello")


def raise_unwritable(env, answer):
    class Odd(Exception):
        def __str__(self):
            raise ValueError

    raise Odd


def lose_last(answer):
    return (None if answer[3] else answer[0], *answer[1:])


def make_cyclic(answer):
    loop = []
    loop.append(loop)
    return (loop, *answer[1:])


@dataclass(frozen=True)
class Fault:
    """What an environment does, and what is to come of it.

    Attributes:
        act: does it.
        moments: when.
        fine: the commands that must end with the right result all the same.
        wrong: those that must end in a line that says what is wrong; of commands that are in
            neither, either is right.
        kills: whether it ends the process that steps, which only a worker may meet.
    """

    act: Callable[[Any, Any], Any]
    moments: tuple[str, ...] = tuple(MOMENTS)
    fine: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    kills: bool = False

    @property
    def commands(self):
        """The commands that may meet it."""
        return self.wrong if self.kills else COMMANDS


def rude(act, moments=("made", "reset", "later"), fine=COMMANDS, wrong=()):
    """Rude to the process, but sound in its answers: all must end well."""
    return Fault(act, moments, fine, wrong)


def broken(act, moments=tuple(MOMENTS), fine=(), wrong=COMMANDS):
    """All must end in one clear line."""
    return Fault(act, moments, fine, wrong)


def deadly(act):
    """It ends the process that steps: the runs of that worker fail, and no others."""
    return Fault(act, STEPS, (), ("train", "train-apart", "compare", "train-one"), kills=True)


RUDE = {
    "chdir": rude(does(lambda: os.chdir("/"))),
    "prints": rude(does(lambda: print("\x1b[31mhello\x1b[0m"))),
    "writes-everywhere": rude(does(write_everywhere)),
    "ignores-signals": rude(does(ignore_signals)),
    "takes-all": rude(once_per_process(take_all)),
    "silences": rude(once_per_process(silence)),
    "leaves-thread": rude(once_per_process(leave_thread)),
    "leaves-child": rude(once_per_process(leave_child)),
    "leaves-fork": rude(once_per_process(leave_fork)),
    "enables-x64": rude(does(enable_x64)),
    "warns": rude(does(lambda: warnings.warn("beware", stacklevel=1))),
    "makes-warnings-errors": rude(does(lambda: warnings.simplefilter("error"))),
    "makes-numpy-raise": rude(does(lambda: np.seterr(all="raise"))),
    "seeds-numpy": rude(does(lambda: np.random.seed(0))),
    "close-raises": rude(break_close),
    "close-exits": rude(exit_on_close),
    "info-none": rude(answers(lambda a: (*a[:4], None)), STEPS),
    "flags-of-numpy": rude(
        answers(lambda a: (*a[:2], np.bool_(a[2]), np.bool_(a[3]), a[4])), STEPS
    ),
    "reward-of-numpy": rude(answers(lambda a: (a[0], np.float64(a[1]), *a[2:])), STEPS),
    "loses-stdout": rude(does(lambda: setattr(sys, "stdout", None))),
    "loses-stderr": rude(does(lambda: setattr(sys, "stderr", None))),
    "closes-1": rude(once_per_process(lambda: os.close(1))),
    "closes-2": rude(once_per_process(lambda: os.close(2))),
    "clears-variables": rude(does(os.environ.clear)),
    "lowers-recursion": rude(does(lambda: sys.setrecursionlimit(120)), ("made",)),
    "empties-path": rude(does(sys.path.clear), ("made",)),
    # Cut by evaluation and film; of training there is nothing to compare.
    "never-ends": rude(never_ends, STEPS, ("train", "train-apart", "evaluate", "record", "check")),
    # One in each process is all that these need.
    "exists-once": rude(
        exists_once,
        ("made",),
        ("train-apart", "evaluate", "record", "check"),
        ("train", "compare"),
    ),
    # What float32 cannot square is not learned from, but may be reported.
    "reward-huge": rude(
        answers(lambda a: (a[0], -1e20, *a[2:])), STEPS, ("evaluate", "record"), ("check",)
    ),
}
BROKEN = {
    "raises": broken(raises(ValueError("out\nof \x1b[31mrange"))),
    "asserts": broken(raises(AssertionError())),
    "exits-0": broken(raises(SystemExit(0))),
    "exits-text": broken(raises(SystemExit("good bye"))),
    "interrupts": broken(raises(KeyboardInterrupt())),
    "out-of-memory": broken(raises(MemoryError())),
    "recursion": broken(raises(RecursionError("maximum recursion depth exceeded"))),
    "generator-exit": broken(raises(GeneratorExit())),
    "unwritable": broken(raise_unwritable),
    "returns-none": broken(lambda env, answer: None, ("reset", *STEPS)),
    "reward-none": broken(answers(lambda a: (a[0], None, *a[2:])), STEPS),
    "reward-text": broken(answers(lambda a: (a[0], "much", *a[2:])), STEPS),
    "reward-array": broken(answers(lambda a: (a[0], np.ones(2), *a[2:])), STEPS),
    "reward-nan": broken(answers(lambda a: (a[0], np.nan, *a[2:])), STEPS),
    "reward-inf": broken(answers(lambda a: (a[0], -np.inf, *a[2:])), STEPS),
    "obs-nan": broken(answers(lambda a: (np.full(2, np.nan), *a[1:])), STEPS),
    "obs-short": broken(answers(lambda a: (a[0][:1], *a[1:])), STEPS),
    "obs-text": broken(answers(lambda a: ("here", *a[1:])), STEPS),
    "obs-none": broken(answers(lambda a: (None, *a[1:])), STEPS),
    "obs-cyclic": broken(answers(make_cyclic), STEPS),
    "last-obs-none": broken(answers(lose_last), STEPS),
    "four-things": broken(answers(lambda a: a[:4]), STEPS),
}
DEADLY = {
    "leaves-with-0": deadly(does(lambda: os._exit(0))),
    "leaves-with-3": deadly(does(lambda: os._exit(3))),
    "kills-itself": deadly(does(lambda: os.kill(os.getpid(), signal.SIGKILL))),
    "terminates-itself": deadly(does(lambda: os.kill(os.getpid(), signal.SIGTERM))),
    "aborts": deadly(does(os.abort)),
}
FAULTS = RUDE | BROKEN | DEADLY


class NoSpaces(Sound):
    observation_space = action_space = None


class OtherSpaces(Sound):
    action_space = type("Box", (), {"shape": (1,), "low": -1, "high": 1, "dtype": np.float32})()


class RaisingSpace(Sound):
    @property
    def action_space(self):
        raise RuntimeError("ask me later")


class NoInit(gymnasium.Wrapper):
    def __init__(self):
        pass


class NotAnEnvironment:
    pass


# Nobody can train on these; a constructor or a class each, or no such thing.
class Silent(gymnasium.vector.SyncVectorEnv):
    """A vector from before there were ways of resetting."""

    def __init__(self, makers):
        super().__init__(makers)
        self.metadata = {}


ODD = {
    "no-spaces": NoSpaces,
    "no-init": NoInit,
    "not-an-environment": NotAnEnvironment,
    "nothing": lambda: None,
    "not-callable": 3,
    "takes-arguments": lambda size: Sound(),
    "a-vector-that-does-not-say-how-it-resets": lambda: Silent([Sound]),
    "discrete": lambda: gymnasium.make("CartPole-v1"),
    "other-spaces": OtherSpaces,
    "raising-space": RaisingSpace,
    "no-space-before-reset": odd.NoSpace,
    "other-actions": odd.OtherActions,
    "other-observations": odd.OtherObservations,
    "other-package": odd.OtherPackage,
    "wraps-nothing": odd.WrapsNothing,
    "no-actions": odd.NoActions,
    "unreadable-spec": odd.UnreadableSpec,
}


def __getattr__(name):
    fault, _, rest = name.partition("__")
    moment, _, once = rest.partition("__")
    if fault not in FAULTS or moment not in MOMENTS:
        raise AttributeError(name)

    def make():
        return Hostile(FAULTS[fault].act, moment, once == "once")

    make.__name__ = make.__qualname__ = name
    return make
