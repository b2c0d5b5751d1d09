"""RLlib."""

from __future__ import annotations

from typing import Any

import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from robustpo.integrations.rllib import RPOTorchLearner
from stacks import task


class Training:
    """One training, iteration by iteration."""

    differences = "advantages normalised once a rollout; a row more an episode; Adam's eps 1e-8"

    def __init__(self, alpha: float | None, seed: int) -> None:
        torch.set_num_threads(1)
        if not ray.is_initialized():
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        self.returns: list[float] = []
        returns = self.returns

        class Environment(task.Counted):
            def __init__(self, config: Any) -> None:
                super().__init__(returns)

        learner = {} if alpha is None else {"learner_class": RPOTorchLearner}
        settings = {} if alpha is None else {"learner_config_dict": {"rpo_alpha": alpha}}
        config = (
            PPOConfig()
            .environment(Environment, normalize_actions=False, clip_actions=True)
            .env_runners(num_env_runners=0, num_envs_per_env_runner=task.ENVS)
            .rl_module(
                model_config=DefaultModelConfig(
                    fcnet_hiddens=[task.WIDTH, task.WIDTH],
                    fcnet_activation="tanh",
                    vf_share_layers=False,
                    free_log_std=True,
                )
            )
            .training(
                train_batch_size_per_learner=task.ROWS,
                minibatch_size=task.MINIBATCH,
                num_epochs=task.EPOCHS,
                lr=task.RATE,
                gamma=task.GAMMA,
                lambda_=task.LAMBDA,
                clip_param=task.CLIP,
                vf_loss_coeff=task.VALUE,
                vf_clip_param=float("inf"),
                grad_clip=task.NORM,
                grad_clip_by="global_norm",
                use_kl_loss=False,
            )
            .learners(num_learners=0, **learner, **settings)
            .debugging(seed=seed)
        )
        self._algorithm = config.build_algo()
        group = self._algorithm.learner_group
        self._watch = task.Stopwatch(group.update)
        group.update = self._watch

    def iterate(self) -> float:
        """Collect and update once; return the seconds of the update."""
        before = self._watch.seconds
        self._algorithm.train()
        return self._watch.seconds - before
