"""Environments that do to the process what simulators do, each in one way; right in all else."""

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from robustpo.policy.policy import Policy, save_policy


class Slide(gymnasium.Env):
    """A point that is pushed for ten steps; it pays one per step."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012
    observation_space = spaces.Box(-10, 10, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)
    limit = 10

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None) -> Any:
        super().reset(seed=seed)
        self.t, self.x = 0, self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.x.copy(), {}

    def step(self, action) -> Any:
        self.t += 1
        self.x = np.clip(self.x + 0.1 * action, -10, 10).astype(np.float32)
        return self.x.copy(), 1.0, False, self.t >= self.limit, {}

    def render(self):
        return np.full((16, 20, 3), 10 * self.t % 250, np.uint8)


class Endless(Slide):
    limit = 10**9


class Exits(Slide):
    """Its window is closed in the fifth step."""

    def step(self, action) -> Any:
        if self.t == 4:
            sys.exit()
        return super().step(action)


class ExitsWhenMade(Slide):
    def __init__(self, render_mode=None):
        sys.exit(0)


class ExitsWhenReset(Slide):
    def reset(self, **keywords) -> Any:
        sys.exit("no display")


class ExitsWhenClosed(Slide):
    def close(self):
        sys.exit(0)


class FailsToClose(Slide):
    def close(self):
        raise OSError("the connection is gone")


class Interrupts(Slide):
    """Says by KeyboardInterrupt that its window was closed."""

    def step(self, action) -> Any:
        raise KeyboardInterrupt


class Chatty(Slide):
    """Prints from Python, from below it, and from a child process."""

    def reset(self, **keywords) -> Any:
        print("reset!")
        os.write(1, b"from C\n")
        os.system("echo from a child")
        return super().reset(**keywords)


class Threads(Slide):
    """Leaves a thread behind that never ends."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        threading.Thread(target=time.sleep, args=(10_000,)).start()


class Leaves(Slide):
    """Leaves processes running that hold what they were given: a child, an orphan, a fork."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        subprocess.Popen(["sleep", "10000"])
        os.system("sleep 10000 &")

    def step(self, action) -> Any:
        if self.t == 4 and os.fork() == 0:
            time.sleep(10_000)
            os._exit(0)
        return super().step(action)


class Once(Slide):
    """There can be one at a time in a process."""

    alive = 0

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        if Once.alive:
            raise OSError("address already in use")
        Once.alive += 1

    def close(self):
        Once.alive -= 1


class TakesAll(Endless):
    """Takes Ctrl-C and SIGTERM, moves, computes in double precision, silences standard error."""

    def __init__(self, render_mode=None):
        import jax

        super().__init__(render_mode)
        jax.config.update("jax_enable_x64", True)
        self.take()
        os.makedirs("assets", exist_ok=True)
        os.chdir("assets")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def reset(self, **keywords) -> Any:
        self.take()
        np.seterr(all="raise")
        return super().reset(**keywords)

    def take(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)


class NoSpace(gymnasium.Env):
    """Sets its space of actions in reset alone."""

    observation_space = Slide.observation_space

    def reset(self, **keywords) -> Any:
        self.action_space = Slide.action_space
        return np.zeros(2, np.float32), {}

    def step(self, action) -> Any:
        return np.zeros(2, np.float32), 0.0, False, True, {}


class OtherBox:
    """What gym.spaces.Box is to gymnasium: another class."""

    shape, dtype = (1,), np.dtype("float32")


class OtherActions(Slide):
    action_space = OtherBox()


class OtherObservations(Slide):
    observation_space = OtherBox()


class OtherPackage:
    """Derived from the Env of another package."""

    action_space, observation_space = OtherBox(), OtherBox()


class WrapsNothing(gymnasium.Wrapper):
    def __init__(self, render_mode=None):
        self.inner = Slide()


class NoActions(Slide):
    action_space = spaces.Box(-1, 1, (0,), np.float32)


class UnreadableSpec(Slide):
    def _refuse(self):
        raise RuntimeError("ask me later")

    spec: Any = property(_refuse)


class NoReward(Slide):
    def step(self, action) -> Any:
        obs, _, *rest = super().step(action)
        return (obs, None, *rest)


class NoLastObservation(Slide):
    def step(self, action) -> Any:
        obs, reward, terminated, truncated, info = super().step(action)
        return None if truncated else obs, reward, terminated, truncated, info


class HugeReward(Slide):
    def step(self, action) -> Any:
        obs, _, *rest = super().step(action)
        return (obs, -1e20, *rest)


class Unwritable(Slide):
    """Raises what cannot even be written out."""

    def step(self, action) -> Any:
        class Odd(Exception):
            def __str__(self):
                raise ValueError

        raise Odd


def save_idle_policy(path):
    """Write a policy for a `Slide` that always does the same."""
    tensors = {
        "actor.0.weight": np.zeros((2, 1), np.float32),
        "actor.0.bias": np.full(1, 0.5, np.float32),
        "log_std": np.zeros(1, np.float32),
        "action.low": np.full(1, -1, np.float32),
        "action.high": np.full(1, 1, np.float32),
    }
    metadata = {"activation": "tanh", "distribution": "gaussian"}
    policy = Policy(tensors, metadata)
    if path is not None:
        save_policy(path, policy)
    return policy
