"""TorchRL's PPO loss and its RPO, in a loop as its tutorials have it, for conformance."""

import numpy as np
import torch
from tensordict import TensorDict
from tensordict.nn import (
    InteractionType,
    ProbabilisticTensorDictModule,
    ProbabilisticTensorDictSequential,
    TensorDictModule,
    set_interaction_type,
)
from tensordict.nn.distributions import NormalParamExtractor
from torch.distributions import Independent, Normal
from torchrl.modules import ValueOperator
from torchrl.objectives import ClipPPOLoss

from integrations.bandit import OBSERVATIONS, reward_of
from robustpo.conformance import Minibatch, Rollout, Trace
from robustpo.integrations.torchrl import ClipRPOLoss

ROWS, EPOCHS, MINIBATCHES = 768, 3, 4


class Diagonal(Independent):
    """A Gaussian of independent dimensions, as the actor makes it."""

    kept = None

    def __init__(self, loc, scale):
        super().__init__(Normal(loc, scale), 1)
        type(self).kept = (loc, scale)


def make_actor(action_size):
    network = torch.nn.Sequential(
        torch.nn.Linear(OBSERVATIONS, 16),
        torch.nn.Tanh(),
        torch.nn.Linear(16, 2 * action_size),
        NormalParamExtractor(),
    )
    return ProbabilisticTensorDictSequential(
        TensorDictModule(network, in_keys=["observation"], out_keys=["loc", "scale"]),
        ProbabilisticTensorDictModule(
            in_keys=["loc", "scale"],
            out_keys=["action"],
            distribution_class=Diagonal,
            return_log_prob=True,
            log_prob_key="action_log_prob",
        ),
    )


class TorchRl:
    """The subject; what a loop stops by is the loss's `kl_approx`."""

    unsupported = ("learners",)

    def train(self, alpha, seed, action_size, iterations, *, target_kl=None, learners=1):
        torch.manual_seed(seed)
        world = np.random.default_rng([seed, 3])
        actor = make_actor(action_size)
        critic = ValueOperator(torch.nn.Linear(OBSERVATIONS, 1), in_keys=["observation"])
        kind, options = (ClipPPOLoss, {}) if alpha is None else (ClipRPOLoss, {"alpha": alpha})
        loss = kind(actor, critic, entropy_coeff=0.0, **options)
        optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)

        def plain(observations):
            with torch.no_grad():
                found = actor[0](TensorDict({"observation": torch.as_tensor(observations)}, []))
            return found["loc"].numpy().copy(), found["scale"].numpy().copy()

        def act(observations, deterministic):
            kind = InteractionType.DETERMINISTIC if deterministic else InteractionType.RANDOM
            given = TensorDict({"observation": torch.as_tensor(observations)}, [len(observations)])
            with torch.no_grad(), set_interaction_type(kind):
                return actor(given)["action"].numpy()

        rollouts, minibatches = [], []
        for iteration in range(iterations):
            observations = world.normal(size=(ROWS, OBSERVATIONS)).astype(np.float32)
            given = TensorDict({"observation": torch.from_numpy(observations)}, [ROWS])
            with torch.no_grad(), set_interaction_type(InteractionType.RANDOM):
                data = actor(given)
            mean, std = plain(observations)
            reward = reward_of(observations, data["action"].numpy()).astype(np.float32)
            advantage = torch.from_numpy((reward - reward.mean()) / reward.std())[:, None]
            data["advantage"], data["value_target"] = advantage, torch.from_numpy(reward)[:, None]
            arrays = (data["action"].numpy(), data["action_log_prob"].numpy())
            rollouts.append(Rollout(observations, *arrays, mean, std, iteration))
            stopped = False
            for epoch in range(EPOCHS):
                order = torch.randperm(ROWS)
                for rows in order.reshape(MINIBATCHES, -1):
                    batch = data[rows].select(
                        "observation", "action", "action_log_prob", "advantage", "value_target"
                    )
                    shown, found = _evaluate(loss, batch)
                    stopped = stopped or (
                        target_kl is not None and float(found["kl_approx"]) > 1.5 * target_kl
                    )
                    minibatches.append(
                        Minibatch(
                            rows=rows.numpy(),
                            old_log_prob=batch["action_log_prob"].numpy(),
                            iteration=iteration,
                            epoch=epoch,
                            control=float(not stopped),
                            **shown,
                        )
                    )
                    if not stopped:
                        optimizer.zero_grad()
                        (found["loss_objective"] + found["loss_critic"]).backward()
                        optimizer.step()
        parameters = {name: x.detach().numpy().copy() for name, x in actor.named_parameters()}
        return Trace(rollouts, minibatches, parameters, act, plain)


def _evaluate(loss, batch):
    """Return what the loss has used, and the loss."""
    kept, weight = {}, loss._log_weight

    def watched(tensordict, adv_shape):
        found = weight(tensordict, adv_shape)
        log_prob = found[0].squeeze(-1) + tensordict["action_log_prob"]
        mean, scale = Diagonal.kept
        gradients = torch.autograd.grad(log_prob.sum(), [mean, scale], retain_graph=True)
        arrays = [x.detach().numpy().copy() for x in (log_prob, mean, scale, *gradients)]
        names = ("log_prob", "mean", "std", "mean_gradient", "log_std_gradient")
        kept.update(zip(names, arrays, strict=True))
        kept["log_std_gradient"] *= kept["std"]
        return found

    loss._log_weight = watched
    try:
        return kept, loss(batch)
    finally:
        del loss._log_weight
