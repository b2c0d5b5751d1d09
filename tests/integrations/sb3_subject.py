"""Stable-Baselines3's PPO and its RPO, looked at from outside, for the conformance suite."""

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy

from integrations.bandit import Bandit, Rows
from robustpo.conformance import Minibatch, Rollout, Trace
from robustpo.integrations.sb3 import RPO

STEPS, BATCH, EPOCHS = 768, 192, 3


class Watched(ActorCriticPolicy):
    """Takes down what an update evaluates."""

    watcher = None

    def evaluate_actions(self, obs, actions):
        kept = []
        # Before the hook of whatever perturbs: what is kept is the plain mean.
        hook = self.action_net.register_forward_hook(
            lambda module, inputs, mean: kept.append(mean), prepend=True
        )
        try:
            values, log_prob, entropy = super().evaluate_actions(obs, actions)
        finally:
            hook.remove()
        scale = self.action_dist.distribution.scale
        gradients = torch.autograd.grad(log_prob.sum(), [kept[0], scale], retain_graph=True)
        self.watcher.take(obs, actions, log_prob, kept[0], scale, gradients)
        return values, log_prob, entropy

    def plain(self, observations):
        with torch.no_grad():
            features = self.extract_features(torch.as_tensor(observations))
            latent = self.mlp_extractor.forward_actor(features)
            # Past every hook.
            mean = torch.nn.functional.linear(latent, self.action_net.weight, self.action_net.bias)
        return mean.numpy(), np.broadcast_to(self.log_std.detach().exp().numpy(), mean.shape)


class WatchedUpdate:
    """Stands between an algorithm and whatever perturbs its update."""

    def train(self):
        self.policy.watcher = self
        data = self.rollout_buffer
        flat = (data.swap_and_flatten(getattr(data, name)) for name in ("observations", "actions"))
        observations, actions = (x.copy() for x in flat)
        log_prob = data.swap_and_flatten(data.log_probs).ravel().copy()
        mean, std = self.policy.plain(observations)
        self.rows, self.iteration = Rows(observations, actions), len(self.rollouts)
        self.rollouts.append(Rollout(observations, actions, log_prob, mean, std, self.iteration))
        self.taken, before = [], self.steps
        super().train()
        planned = EPOCHS * STEPS // BATCH
        for number, batch in enumerate(self.taken):
            epoch = number // (STEPS // BATCH)
            batch |= {"epoch": epoch, "control": (self.steps - before) / planned}
            batch["old_log_prob"] = log_prob[batch["rows"]]
            self.minibatches.append(Minibatch(**batch))

    def take(self, obs, actions, log_prob, mean, scale, gradients):
        arrays = [x.detach().numpy().copy() for x in (log_prob, mean, scale, *gradients)]
        log_prob, mean, scale, by_mean, by_scale = arrays
        self.taken.append(
            {
                "rows": self.rows(obs.numpy(), actions.numpy()),
                "log_prob": log_prob,
                "mean": mean,
                "std": scale,
                "mean_gradient": by_mean,
                "log_std_gradient": by_scale * scale,
                "iteration": self.iteration,
            }
        )


class WatchedPPO(WatchedUpdate, PPO):
    """PPO that shows what it does."""


class WatchedRPO(RPO, WatchedUpdate, PPO):
    """RPO that shows what it does: the perturbation is around what watches."""


class Sb3:
    """The subject."""

    unsupported = ("learners",)

    def train(self, alpha, seed, action_size, iterations, *, target_kl=None, learners=1):
        kind, options = (WatchedPPO, {}) if alpha is None else (WatchedRPO, {"alpha": alpha})
        model = kind(
            Watched,
            Bandit(action_size),
            n_steps=STEPS,
            batch_size=BATCH,
            n_epochs=EPOCHS,
            seed=seed,
            target_kl=target_kl,
            device="cpu",
            **options,
        )
        model.rollouts, model.minibatches, model.steps = [], [], 0
        step = model.policy.optimizer.step

        def counted(*arguments, **more):
            model.steps += 1
            return step(*arguments, **more)

        model.policy.optimizer.step = counted
        model.learn(iterations * STEPS)
        parameters = {name: x.numpy() for name, x in model.policy.state_dict().items()}
        return Trace(
            model.rollouts,
            model.minibatches,
            parameters,
            lambda observations, deterministic: model.predict(
                observations, deterministic=deterministic
            )[0],
            model.policy.plain,
        )
