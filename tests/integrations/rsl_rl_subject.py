"""rsl_rl's PPO and its RPO, looked at from outside, for the conformance suite."""

import numpy as np
import torch
from rsl_rl.algorithms import PPO
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

from integrations.bandit import EPISODE, OBSERVATIONS, Rows, reward_of
from robustpo.conformance import Minibatch, Rollout, Trace
from robustpo.integrations.rsl_rl import RPO

ENVS, STEPS, EPOCHS, MINIBATCHES = 48, 16, 3, 4


class Contexts(VecEnv):
    """The bandit as rsl_rl steps environments."""

    def __init__(self, action_size, seed):
        self.num_envs, self.num_actions, self.max_episode_length = ENVS, action_size, EPISODE
        self.episode_length_buf = torch.zeros(ENVS, dtype=torch.long)
        self.device, self.cfg = "cpu", {}
        self._random = np.random.default_rng([seed, 7])
        self._draw()

    def _draw(self):
        self.context = self._random.normal(size=(ENVS, OBSERVATIONS)).astype(np.float32)

    def get_observations(self):
        return TensorDict({"policy": torch.from_numpy(self.context)}, batch_size=[ENVS])

    def reset(self):
        return self.get_observations(), {}

    def step(self, actions):
        reward = torch.from_numpy(reward_of(self.context, actions.numpy()).astype(np.float32))
        self._draw()
        self.episode_length_buf += 1
        done = self.episode_length_buf >= EPISODE
        self.episode_length_buf[done] = 0
        return self.get_observations(), reward, done.long(), {}


class WatchedPPO(PPO):
    """PPO that shows what it does, whatever is around its update."""

    rollouts, minibatches = None, None

    def update(self):
        if self.rollouts is None:
            self.rollouts, self.minibatches = [], []
        data, iteration = self.storage, len(self.rollouts)
        actions = data.actions.flatten(0, 1).numpy().copy()
        observations = data.observations["policy"].flatten(0, 1).numpy().copy()
        log_prob = data.actions_log_prob.flatten().numpy().copy()
        mean, std = (x.flatten(0, 1).numpy().copy() for x in data.distribution_params)
        self.rollouts.append(Rollout(observations, actions, log_prob, mean, std, iteration))
        rows, actor = Rows(observations, actions), self._raw_actor
        given = actor.get_output_log_prob
        batches = []
        generator = data.mini_batch_generator

        def watched_batches(*arguments):
            for batch in generator(*arguments):
                batches.append(batch)
                yield batch

        def watched(outputs):
            found = given(outputs)
            mean, std = actor.output_distribution_params
            by_mean, by_std = torch.autograd.grad(found.sum(), [mean, std], retain_graph=True)
            arrays = [x.detach().numpy().copy() for x in (found, mean, std, by_mean, by_std)]
            epoch = (len(batches) - 1) // MINIBATCHES
            self.minibatches.append(
                Minibatch(
                    rows=rows(batches[-1].observations["policy"].numpy(), outputs.numpy()),
                    log_prob=arrays[0],
                    old_log_prob=batches[-1].old_actions_log_prob.flatten().numpy().copy(),
                    mean=arrays[1],
                    std=arrays[2],
                    iteration=iteration,
                    epoch=epoch,
                    control=self.learning_rate,
                    mean_gradient=arrays[3],
                    log_std_gradient=arrays[4] * arrays[2],
                )
            )
            return found

        had = "get_output_log_prob" in vars(actor)
        actor.get_output_log_prob, data.mini_batch_generator = watched, watched_batches
        try:
            return super().update()
        finally:
            del data.mini_batch_generator
            if had:
                actor.get_output_log_prob = given
            else:
                del actor.get_output_log_prob


class WatchedRPO(RPO, WatchedPPO):
    """RPO that shows what it does: the perturbation is around what watches."""


def config(kind, target_kl=None, **options):
    model = {"class_name": "MLPModel", "hidden_dims": [16], "activation": "tanh"}
    gaussian = {"class_name": "GaussianDistribution", "init_std": 1.0, "std_type": "log"}
    return {
        "num_steps_per_env": STEPS,
        "save_interval": 1000,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": model | {"distribution_cfg": gaussian},
        "critic": dict(model),
        "algorithm": {
            "class_name": kind,
            "num_learning_epochs": EPOCHS,
            "num_mini_batches": MINIBATCHES,
            "schedule": "fixed" if target_kl is None else "adaptive",
            "desired_kl": target_kl or 0.01,
            "entropy_coef": 0.0,
            "learning_rate": 1e-3,
            **options,
        },
    }


class RslRl:
    """The subject."""

    unsupported = ("learners",)

    def train(self, alpha, seed, action_size, iterations, *, target_kl=None, learners=1):
        torch.manual_seed(seed)
        kind, options = (WatchedPPO, {}) if alpha is None else (WatchedRPO, {"rpo_alpha": alpha})
        settings = config(kind, target_kl, **options)
        runner = OnPolicyRunner(Contexts(action_size, seed), settings, log_dir=None, device="cpu")
        runner.learn(iterations)
        actor = runner.alg.get_policy()

        def plain(observations):
            given = TensorDict({"policy": torch.as_tensor(observations)}, [len(observations)])
            with torch.no_grad():
                actor(given, stochastic_output=True)
                return tuple(x.numpy().copy() for x in actor.output_distribution_params)

        def act(observations, deterministic):
            given = TensorDict({"policy": torch.as_tensor(observations)}, [len(observations)])
            with torch.no_grad():
                return actor(given, stochastic_output=not deterministic).numpy()

        parameters = {name: x.numpy().copy() for name, x in actor.state_dict().items()}
        return Trace(runner.alg.rollouts, runner.alg.minibatches, parameters, act, plain)
