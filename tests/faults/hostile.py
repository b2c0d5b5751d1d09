"""Environments that do everything an environment should not, made from a name.

`hostile:<fault>__<moment>` names one on a command line: the fault happens when the environment is
made, at its first reset, at its first step or at its 40th. `hostile:<fault>__<moment>__once` breaks
one agent of several only: that of `HIT`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

HIT = 1
MOMENTS = {"made": 0, "reset": 0, "step": 1, "later": 40}


class Sound(gymnasium.Env):
    """Pushes a cart to the origin in episodes of 20 steps; well behaved."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 20}
    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Box(-1.0, 1.0, (1,))

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
        due = self.steps == MOMENTS[self.moment] or self.steps > MOMENTS[self.moment] > 0
        return self.fault(self, answer) if due and self.hit and MOMENTS[self.moment] else answer


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


def make_cyclic(answer):
    loop = []
    loop.append(loop)
    return (loop, *answer[1:])


NUMBERS = {"nan": np.nan, "inf": np.inf, "huge": 1e300}

# What must end well: the environment is rude to the process, but its answers are sound.
RUDE = {
    "chdir": does(lambda: os.chdir("/")),
    "prints": does(lambda: print("\x1b[31mhello\x1b[0m")),
    "writes-to-1": does(lambda: os.write(1, b"hello\n")),
    "ignores-signals": does(ignore_signals),
    "leaves-thread": once_per_process(leave_thread),
    "leaves-child": once_per_process(leave_child),
    "leaves-fork": once_per_process(leave_fork),
    "enables-x64": does(enable_x64),
    "warns": does(lambda: warnings.warn("beware", stacklevel=1)),
    "makes-warnings-errors": does(lambda: warnings.simplefilter("error")),
    "makes-numpy-raise": does(lambda: np.seterr(all="raise")),
    "seeds-numpy": does(lambda: np.random.seed(0)),
    "close-raises": break_close,
    "close-exits": exit_on_close,
    "never-ends": never_ends,
    "info-none": answers(lambda a: (*a[:4], None)),
    "flags-of-numpy": answers(lambda a: (*a[:2], np.bool_(a[2]), np.bool_(a[3]), a[4])),
    "reward-of-numpy": answers(lambda a: (a[0], np.float64(a[1]), *a[2:])),
    "loses-stdout": does(lambda: setattr(sys, "stdout", None)),
}
# What must end in one clear line.
BROKEN = {
    "raises": raises(ValueError("out\nof \x1b[31mrange")),
    "asserts": raises(AssertionError()),
    "exits-0": raises(SystemExit(0)),
    "exits-text": raises(SystemExit("good bye")),
    "interrupts": raises(KeyboardInterrupt()),
    "out-of-memory": raises(MemoryError()),
    "recursion": raises(RecursionError("maximum recursion depth exceeded")),
    "generator-exit": raises(GeneratorExit()),
    "returns-none": lambda env, answer: None,
    "reward-none": answers(lambda a: (a[0], None, *a[2:])),
    "reward-text": answers(lambda a: (a[0], "much", *a[2:])),
    "reward-array": answers(lambda a: (a[0], np.ones(2), *a[2:])),
    "reward-nan": answers(lambda a: (a[0], np.nan, *a[2:])),
    "reward-inf": answers(lambda a: (a[0], -np.inf, *a[2:])),
    "obs-nan": answers(lambda a: (np.full(2, np.nan), *a[1:])),
    "obs-short": answers(lambda a: (a[0][:1], *a[1:])),
    "obs-text": answers(lambda a: ("here", *a[1:])),
    "obs-none": answers(lambda a: (None, *a[1:])),
    "obs-cyclic": answers(make_cyclic),
    "four-things": answers(lambda a: a[:4]),
}
# What ends the process that steps, so only a worker may meet it.
DEADLY = {
    "leaves-with-0": does(lambda: os._exit(0)),
    "leaves-with-3": does(lambda: os._exit(3)),
    "kills-itself": does(lambda: os.kill(os.getpid(), signal.SIGKILL)),
    "terminates-itself": does(lambda: os.kill(os.getpid(), signal.SIGTERM)),
    "aborts": does(os.abort),
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


_shared = Sound()
ODD = {
    "no-spaces": NoSpaces,
    "other-spaces": OtherSpaces,
    "raising-space": RaisingSpace,
    "no-init": NoInit,
    "not-an-environment": NotAnEnvironment,
    "nothing": lambda: None,
    "not-callable": 3,
    "takes-arguments": lambda size: Sound(),
    "a-vector": lambda: gymnasium.vector.SyncVectorEnv([Sound]),
    "discrete": lambda: gymnasium.make("CartPole-v1"),
}


def shared():
    return _shared


def __getattr__(name):
    if name in ODD:
        return ODD[name]
    fault, _, rest = name.partition("__")
    moment, _, once = rest.partition("__")
    if fault not in FAULTS or moment not in MOMENTS:
        raise AttributeError(name)

    def make():
        return Hostile(FAULTS[fault], moment, once == "once")

    make.__name__ = make.__qualname__ = name
    return make
