"""RLlib's PPO and its RPO, looked at from outside, for the conformance suite."""

import os
import sys

import numpy as np
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchDiagGaussian

from integrations.bandit import EPISODE, Bandit, Rows
from robustpo.conformance import Minibatch, Rollout, Trace
from robustpo.integrations.rllib import RPOTorchLearner

STEPS, EPOCHS, POLICY = 768, 3, "default_policy"
# RLlib adds a row, which the loss leaves out, to each episode; four minibatches to an epoch.
ROWS = STEPS + STEPS // EPISODE
BATCH = ROWS // 4


class Contexts(Bandit):
    """The bandit as RLlib makes environments."""

    def __init__(self, config):
        super().__init__(config["action_size"])


class WatchedPPO(PPOTorchLearner):
    """PPO that shows what it does, whatever is around its loss."""

    def build(self):
        super().build()
        self.rollouts, self.minibatches = [], []

    def _make_batch_if_necessary(self, training_data):
        made = super()._make_batch_if_necessary(training_data=training_data)
        batch, self.seen = made.policy_batches[POLICY], 0
        valid = batch[Columns.LOSS_MASK].numpy()
        assert len(valid) == ROWS and valid.sum() == STEPS
        names = (Columns.OBS, Columns.ACTIONS, Columns.ACTION_LOGP, Columns.ACTION_DIST_INPUTS)
        obs, actions, log_prob, inputs = (batch[name].numpy()[valid] for name in names)
        mean, log_std = np.split(inputs, 2, axis=-1)
        self.rows, iteration = Rows(obs), len(self.rollouts)
        parts = (obs, actions, log_prob, mean, np.exp(log_std), iteration, self._learner_index)
        self.rollouts.append(Rollout(*parts))
        return made

    def compute_loss_for_module(self, *, module_id, config, batch, fwd_out):
        module, taken = self.module[module_id].unwrapped(), []

        class Density(TorchDiagGaussian):
            def logp(self, value, **options):
                taken.append(super().logp(value, **options))
                return taken[-1]

        module.get_train_action_dist_cls = lambda: Density
        try:
            loss = super().compute_loss_for_module(
                module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
            )
        finally:
            del module.get_train_action_dist_cls
        (log_prob,) = taken
        inputs, valid = fwd_out[Columns.ACTION_DIST_INPUTS], batch[Columns.LOSS_MASK]
        (gradient,) = torch.autograd.grad(log_prob.sum(), inputs, retain_graph=True)
        arrays = (log_prob, batch[Columns.ACTION_LOGP], inputs, gradient, batch[Columns.OBS])
        arrays = (x[valid].detach().numpy().copy() for x in arrays)
        log_prob, old_log_prob, inputs, gradient, obs = arrays
        mean, log_std = np.split(inputs, 2, axis=-1)
        by_mean, by_log_std = np.split(gradient, 2, axis=-1)
        coefficient = float(self.curr_kl_coeffs_per_module[module_id])
        self.minibatches.append(
            Minibatch(
                rows=self.rows(obs),
                log_prob=log_prob,
                old_log_prob=old_log_prob,
                mean=mean,
                std=np.exp(log_std),
                iteration=len(self.rollouts) - 1,
                epoch=self.seen // ROWS,
                learner=self._learner_index,
                control=1.0 / coefficient if config.use_kl_loss else 1.0,
                mean_gradient=by_mean,
                log_std_gradient=by_log_std,
            )
        )
        self.seen += len(valid)
        return loss


class WatchedRPO(RPOTorchLearner, WatchedPPO):
    """RPO that shows what it does: the perturbation is around what watches."""


class AlikeRPO(WatchedRPO):
    """Its noise comes from the generator that RLlib seeds alike for all learners."""

    def before_gradient_based_update(self, **options):
        super().before_gradient_based_update(**options)
        self._noise.manual_seed(self.config.seed)


def config(action_size, seed, *, alpha=None, target_kl=None, learners=1):
    kind, settings = (WatchedPPO, {}) if alpha is None else (WatchedRPO, {"rpo_alpha": alpha})
    return (
        PPOConfig()
        .environment(Contexts, env_config={"action_size": action_size}, normalize_actions=False)
        .env_runners(num_env_runners=0)
        .training(
            train_batch_size_per_learner=STEPS,
            minibatch_size=BATCH,
            num_epochs=EPOCHS,
            lr=1e-3,
            use_kl_loss=target_kl is not None,
            kl_target=target_kl or 0.01,
        )
        .learners(
            num_learners=0 if learners == 1 else learners,
            learner_class=kind,
            learner_config_dict=settings,
        )
        .debugging(seed=seed)
    )


# Learners import this module from where it lies.
IMPORTING = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class Rllib:
    """The subject."""

    unsupported = ()

    def train(self, alpha, seed, action_size, iterations, *, target_kl=None, learners=1):
        if not ray.is_initialized():
            # More than a machine of two has: learners ask for one each, and wait for it.
            ray.init(num_cpus=4, include_dashboard=False, runtime_env={"env_vars": IMPORTING})
        options = {"alpha": alpha, "target_kl": target_kl, "learners": learners}
        algorithm = config(action_size, seed, **options).build_algo()
        for _ in range(iterations):
            algorithm.train()
        found = algorithm.learner_group.foreach_learner(lambda x: (x.rollouts, x.minibatches))
        parts = [one.get() for one in found]
        module = algorithm.get_module()
        algorithm.stop()

        def plain(observations):
            with torch.no_grad():
                found = module.forward_inference({Columns.OBS: torch.as_tensor(observations)})
            mean, log_std = np.split(found[Columns.ACTION_DIST_INPUTS].numpy(), 2, axis=-1)
            return mean, np.exp(log_std)

        def act(observations, deterministic):
            given = {Columns.OBS: torch.as_tensor(observations)}
            forward = module.forward_inference if deterministic else module.forward_exploration
            with torch.no_grad():
                kind = module.get_exploration_action_dist_cls()
                policy = kind.from_logits(forward(given)[Columns.ACTION_DIST_INPUTS])
            return (policy.to_deterministic() if deterministic else policy).sample().numpy()

        rollouts, minibatches = ([x for part in parts for x in part[k]] for k in (0, 1))
        parameters = {name: x.numpy().copy() for name, x in module.state_dict().items()}
        return Trace(rollouts, minibatches, parameters, act, plain)
