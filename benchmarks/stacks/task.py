"""The task and the settings that all stacks share, as far as each allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

ENVS, ROLLOUT, EPOCHS, MINIBATCH = 8, 256, 10, 64
ROWS = ENVS * ROLLOUT
MINIBATCHES = ROWS // MINIBATCH
WIDTH, RATE, GAMMA, LAMBDA, CLIP, VALUE, NORM = 64, 1e-3, 0.9, 0.95, 0.2, 0.5, 0.5
ALPHA, REWARD = 0.5, 0.1
# Episodes of 200 steps that the reported return is the mean of.
EPISODES = 100


class Counted(gymnasium.Wrapper):
    """Pendulum-v1 with rewards of a tenth, which notes what its episodes returned."""

    def __init__(self, returns: list[float]) -> None:
        super().__init__(gymnasium.make("Pendulum-v1"))
        self._returns, self._sum = returns, 0.0

    def reset(self, **options: Any) -> Any:
        """Begin an episode."""
        self._sum = 0.0
        return super().reset(**options)

    def step(self, action: Any) -> Any:
        """Step, with an action that the environment clips."""
        obs, reward, terminated, truncated, info = super().step(action)
        self._sum += float(reward)
        if terminated or truncated:
            self._returns.append(self._sum)
        return obs, REWARD * float(reward), terminated, truncated, info


class Stopwatch:
    """Adds up the seconds that a function took."""

    def __init__(self, function: Callable) -> None:
        self._function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function."""
        start = time.perf_counter()
        try:
            return self._function(*arguments, **options)
        finally:
            self.seconds += time.perf_counter() - start


def vector(returns: list[float], seed: int) -> gymnasium.vector.SyncVectorEnv:
    """Return the environments behind Gymnasium's vector interface."""
    mode = gymnasium.vector.AutoresetMode.SAME_STEP
    env = gymnasium.vector.SyncVectorEnv([lambda: Counted(returns)] * ENVS, autoreset_mode=mode)
    env.reset(seed=seed)
    return env


def level(returns: list[float]) -> float:
    """Return what is reported of a training."""
    return float(np.mean(returns[-EPISODES:]))
