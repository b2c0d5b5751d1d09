"""TorchRL, in the loop of its tutorial on PPO."""

from __future__ import annotations

import torch
from tensordict.nn import (
    AddStateIndependentNormalScale,
    ProbabilisticTensorDictModule,
    ProbabilisticTensorDictSequential,
    TensorDictModule,
)
from torch.distributions import Independent, Normal
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper, SerialEnv
from torchrl.modules import MLP, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from robustpo.integrations.torchrl import ClipRPOLoss
from stacks import task


class Diagonal(Independent):
    """A Gaussian of independent dimensions."""

    def __init__(self, loc: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__(Normal(loc, scale), 1)


class Training:
    """One training, iteration by iteration."""

    differences = "value loss without 1/2; PyTorch's initialisation"

    def __init__(self, alpha: float | None, seed: int) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.returns: list[float] = []
        env = SerialEnv(task.ENVS, lambda: GymWrapper(task.Counted(self.returns)))
        env.set_seed(seed)
        cells, tanh = [task.WIDTH, task.WIDTH], torch.nn.Tanh
        network = torch.nn.Sequential(
            MLP(in_features=3, out_features=1, num_cells=cells, activation_class=tanh),
            AddStateIndependentNormalScale(1),
        )
        actor = ProbabilisticTensorDictSequential(
            TensorDictModule(network, in_keys=["observation"], out_keys=["loc", "scale"]),
            ProbabilisticTensorDictModule(
                in_keys=["loc", "scale"],
                out_keys=["action"],
                distribution_class=Diagonal,
                return_log_prob=True,
                log_prob_key="action_log_prob",
            ),
        )
        value = MLP(in_features=3, out_features=1, num_cells=cells, activation_class=tanh)
        critic = ValueOperator(value, in_keys=["observation"])
        kind, options = (ClipPPOLoss, {}) if alpha is None else (ClipRPOLoss, {"alpha": alpha})
        self._loss = kind(
            actor,
            critic,
            clip_epsilon=task.CLIP,
            entropy_bonus=False,
            critic_coeff=task.VALUE,
            loss_critic_type="l2",
            normalize_advantage=True,
            **options,
        )
        self._advantage = GAE(gamma=task.GAMMA, lmbda=task.LAMBDA, value_network=critic)
        self._optimizer = torch.optim.Adam(self._loss.parameters(), lr=task.RATE, eps=1e-5)
        collector = Collector(env, actor, frames_per_batch=task.ROWS, total_frames=-1)
        self._batches = iter(collector)
        self._watch = task.Stopwatch(self._update)

    def iterate(self) -> float:
        """Collect and update once; return the seconds of the update."""
        before = self._watch.seconds
        self._watch(next(self._batches))
        return self._watch.seconds - before

    def _update(self, data: object) -> None:
        for _ in range(task.EPOCHS):
            with torch.no_grad():
                self._advantage(data)
            flat = data.reshape(-1)
            for rows in torch.randperm(task.ROWS).reshape(task.MINIBATCHES, -1):
                found = self._loss(flat[rows])
                self._optimizer.zero_grad()
                (found["loss_objective"] + found["loss_critic"]).backward()
                torch.nn.utils.clip_grad_norm_(self._loss.parameters(), task.NORM)
                self._optimizer.step()
