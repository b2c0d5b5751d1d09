"""Stable-Baselines3's PPO with the settings of `rpo`, on the very simulator that robustpo steps."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.vec_env import (  # pyright: ignore[reportMissingImports]
    DummyVecEnv,
    VecNormalize,
)

from robustpo.environments.envpool import HostEnvPool

GAMMA = 0.99


class EnvPoolTask(gymnasium.Env):
    """One environment of an EnvPool task behind Gymnasium's interface.

    EnvPool resets itself on the step after an episode's end; `reset` takes that step.
    """

    def __init__(self, task: str, seed: int) -> None:
        self._pool = HostEnvPool(task, [seed])
        spec = self._pool.spec
        low = np.asarray(spec.action_low, np.float32)
        high = np.asarray(spec.action_high, np.float32)
        self.action_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.observation_space = gymnasium.spaces.Box(
            -np.inf, np.inf, (spec.observation_size,), np.float32
        )
        self._idle = np.zeros((1, spec.action_size), np.float32)
        self._begun = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the first observation of the next episode; the seed was given when made."""
        obs = self._pool.step(self._idle).obs if self._begun else self._pool.reset()
        self._begun = True
        return obs[0], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Step with one action `[A]`."""
        step = self._pool.step(action[None])
        return step.obs[0], step.reward[0], bool(step.terminated[0]), bool(step.truncated[0]), {}


def make_model(task: str) -> PPO:
    """Return the peer, ready to `learn`; settings as in the paper's Table 2."""
    torch.set_num_threads(1)
    venv = VecNormalize(
        DummyVecEnv([lambda: EnvPoolTask(task, 1)]), clip_obs=10.0, clip_reward=10.0, gamma=GAMMA
    )
    return PPO(
        "MlpPolicy",
        venv,
        learning_rate=3e-4,
        n_steps=2048,
        batch_size=64,
        n_epochs=10,
        gamma=GAMMA,
        gae_lambda=0.95,
        clip_range=0.2,
        clip_range_vf=0.2,
        ent_coef=0.0,
        vf_coef=0.5,
        max_grad_norm=0.5,
        policy_kwargs={
            "net_arch": {"pi": [64, 64], "vf": [64, 64]},
            "activation_fn": torch.nn.Tanh,
            "ortho_init": True,
        },
        seed=0,
        device="cpu",
    )
