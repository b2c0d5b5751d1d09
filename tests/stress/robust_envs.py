"""Environments whose answers under shifts are known; named by tests as `module:callable`."""

import os

import gymnasium
import numpy as np
from gymnasium import spaces


class Track(gymnasium.Env):
    """The reward of a step is `length` times what is pushed, less what is pushed off the target."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, length: float = 1.0, breaks_at: float = 5.0, dies_at: float = 50.0) -> None:
        self.length = length
        self.breaks = length >= breaks_at
        self.dies = length >= dies_at

    def _see(self):
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.target = self._see()
        return self.target, {}

    def step(self, action):
        if self.dies:
            os._exit(7)
        if self.breaks:
            raise FloatingPointError("the simulation is unstable")
        reward = self.length * (1 - abs(float(action[0]) - float(self.target[0])))
        self.steps += 1
        self.target = self._see()
        return self.target, reward, False, self.steps >= 20, {}
