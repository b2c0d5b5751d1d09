"""Stable-Baselines3."""

from __future__ import annotations

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from robustpo.integrations.sb3 import RPO
from stacks import task


class Training:
    """One training, iteration by iteration."""

    differences = "value loss without 1/2"

    def __init__(self, alpha: float | None, seed: int) -> None:
        torch.set_num_threads(1)
        self.returns: list[float] = []
        env = DummyVecEnv([lambda: task.Counted(self.returns)] * task.ENVS)
        kind, options = (PPO, {}) if alpha is None else (RPO, {"alpha": alpha})
        sizes = [task.WIDTH, task.WIDTH]
        self._model = kind(
            "MlpPolicy",
            env,
            learning_rate=task.RATE,
            n_steps=task.ROLLOUT,
            batch_size=task.MINIBATCH,
            n_epochs=task.EPOCHS,
            gamma=task.GAMMA,
            gae_lambda=task.LAMBDA,
            clip_range=task.CLIP,
            vf_coef=task.VALUE,
            max_grad_norm=task.NORM,
            policy_kwargs={"net_arch": {"pi": sizes, "vf": sizes}},
            seed=seed,
            device="cpu",
            **options,
        )
        self._watch = task.Stopwatch(self._model.train)
        self._model.train = self._watch

    def iterate(self) -> float:
        """Collect and update once; return the seconds of the update."""
        before = self._watch.seconds
        self._model.learn(task.ROWS, reset_num_timesteps=False)
        return self._watch.seconds - before
