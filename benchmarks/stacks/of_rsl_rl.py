"""rsl_rl."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import torch
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

from stacks import task


class Batch(VecEnv):
    """Gymnasium's environments as rsl_rl steps them."""

    def __init__(self, returns: list[float], seed: int) -> None:
        self.num_envs, self.num_actions, self.max_episode_length = task.ENVS, 1, 200
        self.episode_length_buf = torch.zeros(task.ENVS, dtype=torch.long)
        self.device, self.cfg = "cpu", {}
        self._env = task.vector(returns, seed)
        self._obs = self._env.reset()[0]

    def get_observations(self) -> TensorDict:
        """Return what is observed now."""
        return TensorDict({"policy": torch.from_numpy(self._obs.copy())}, [task.ENVS])

    def reset(self) -> tuple[TensorDict, dict]:
        """Return what is observed now; nothing is reset."""
        return self.get_observations(), {}

    def step(self, actions: torch.Tensor) -> Any:
        """Step; what ends by time limit is said."""
        self._obs, reward, ended, cut, _ = self._env.step(actions.numpy())
        extras = {"time_outs": torch.from_numpy(cut)}
        reward = torch.from_numpy(reward.astype(np.float32))
        return self.get_observations(), reward, torch.from_numpy(ended | cut).long(), extras


class Training:
    """One training, iteration by iteration."""

    differences = "time limits bootstrap from the last observation but one; value loss without 1/2"

    def __init__(self, alpha: float | None, seed: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.returns: list[float] = []
        name, options = "PPO", {}
        if alpha is not None:
            name, options = "robustpo.integrations.rsl_rl:RPO", {"rpo_alpha": alpha}
        model = {
            "class_name": "MLPModel",
            "hidden_dims": [task.WIDTH, task.WIDTH],
            "activation": "tanh",
        }
        gaussian = {"class_name": "GaussianDistribution", "init_std": 1.0, "std_type": "log"}
        settings = {
            "num_steps_per_env": task.ROLLOUT,
            "save_interval": 10**9,
            "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
            "actor": model | {"distribution_cfg": gaussian},
            "critic": dict(model),
            "algorithm": {
                "class_name": name,
                "num_learning_epochs": task.EPOCHS,
                "num_mini_batches": task.MINIBATCHES,
                "schedule": "fixed",
                "learning_rate": task.RATE,
                "gamma": task.GAMMA,
                "lam": task.LAMBDA,
                "clip_param": task.CLIP,
                "entropy_coef": 0.0,
                "value_loss_coef": task.VALUE,
                "use_clipped_value_loss": False,
                "max_grad_norm": task.NORM,
                "normalize_advantage_per_mini_batch": True,
                **options,
            },
        }
        self._runner = OnPolicyRunner(Batch(self.returns, seed), settings, None, "cpu")
        self._watch = task.Stopwatch(self._runner.alg.update)
        self._runner.alg.update = self._watch

    def iterate(self) -> float:
        """Collect and update once; return the seconds of the update."""
        before = self._watch.seconds
        with contextlib.redirect_stdout(io.StringIO()):
            self._runner.learn(1)
        return self._watch.seconds - before
