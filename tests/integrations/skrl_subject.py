"""skrl's PPO and an RPO around it, looked at from outside, for the conformance suite."""

import gymnasium
import numpy as np
import torch
from skrl.agents.torch import rpo as skrl_rpo
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.resources.schedulers.torch import KLAdaptiveLR
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed

from integrations.bandit import Bandit, Rows
from robustpo.conformance import Minibatch, Rollout, Trace
from robustpo.integrations.skrl import RPO

ENVS, STEPS, EPOCHS, MINIBATCHES = 16, 48, 3, 4


class Policy(GaussianMixin, Model):
    """A small Gaussian policy, as skrl's examples write it."""

    def __init__(self, observation_space, state_space, action_space, device):
        Model.__init__(
            self,
            observation_space=observation_space,
            state_space=state_space,
            action_space=action_space,
            device=device,
        )
        GaussianMixin.__init__(self, clip_actions=False, reduction="sum")
        self.net = torch.nn.Sequential(
            torch.nn.Linear(self.num_observations, 16),
            torch.nn.Tanh(),
            torch.nn.Linear(16, self.num_actions),
        )
        self.log_std_parameter = torch.nn.Parameter(torch.zeros(self.num_actions))

    def compute(self, inputs, role):
        self.kept = self.net(inputs["observations"])
        return self.kept, {"log_std": self.log_std_parameter}


class Value(DeterministicMixin, Model):
    """A linear value."""

    def __init__(self, observation_space, state_space, action_space, device):
        Model.__init__(
            self,
            observation_space=observation_space,
            state_space=state_space,
            action_space=action_space,
            device=device,
        )
        DeterministicMixin.__init__(self)
        self.net = torch.nn.Linear(self.num_observations, 1)

    def compute(self, inputs, role):
        return self.net(inputs["observations"]), {}


class Watched:
    """Shows what an update does, whatever is around it."""

    rollouts, minibatches = (), ()

    def update(self, *, timestep, timesteps):
        names = ("observations", "actions", "log_prob")
        view = {name: self.memory.tensors_view[name].numpy().copy() for name in names}
        iteration = len(self.rollouts)
        mean, std = self.plain(view["observations"])
        log_prob = view["log_prob"].ravel()
        self.rollouts = [
            *self.rollouts,
            Rollout(view["observations"], view["actions"], log_prob, mean, std, iteration),
        ]
        rows = Rows(view["observations"], view["actions"])
        given, taken, policy = self.policy.act, [], self.policy
        had = "act" in vars(policy)

        def watched(inputs, *, role=""):
            found = given(inputs, role=role)
            if "taken_actions" not in inputs:
                return found
            scale = policy.distribution(role=role).stddev
            numerator = found[1]["log_prob"]
            gradients = torch.autograd.grad(
                numerator.sum(), [policy.kept, scale], retain_graph=True
            )
            arrays = [x.detach().numpy().copy() for x in (policy.kept, scale, *gradients)]
            where = rows(inputs["observations"].numpy(), inputs["taken_actions"].numpy())
            taken.append(
                Minibatch(
                    rows=where,
                    log_prob=numerator.detach().numpy().ravel().copy(),
                    old_log_prob=log_prob[where],
                    mean=arrays[0],
                    std=arrays[1],
                    mean_gradient=arrays[2],
                    log_std_gradient=arrays[3] * arrays[1],
                    iteration=iteration,
                    epoch=len(taken) // MINIBATCHES,
                    control=self.optimizer.param_groups[0]["lr"],
                )
            )
            return found

        policy.act = watched
        try:
            super().update(timestep=timestep, timesteps=timesteps)
        finally:
            del policy.act
            if had:
                policy.act = given
        self.minibatches = [*self.minibatches, *taken]

    def plain(self, observations):
        with torch.no_grad():
            mean = self.policy.net(torch.as_tensor(observations)).numpy()
            std = self.policy.log_std_parameter.exp().numpy()
        return mean, np.broadcast_to(std, mean.shape).copy()


class WatchedPPO(Watched, PPO):
    """PPO that shows what it does."""


class WatchedRPO(RPO, Watched, PPO):
    """RPO that shows what it does: the perturbation is around what watches."""


class WatchedOwn(Watched, skrl_rpo.RPO):
    """What skrl itself calls RPO."""


class Perturbing(Policy):
    """The policy that skrl documents for its RPO: it shifts its mean whenever it is asked."""

    def compute(self, inputs, role):
        mean, outputs = super().compute(inputs, role)
        alpha = inputs["alpha"]
        return mean + torch.zeros_like(mean).uniform_(-alpha, alpha), outputs


def make(kind, seed=5, action_size=2, policy=Policy, config=PPO_CFG, **options):
    """Return an agent and its environment."""
    set_seed(seed)
    env = gymnasium.vector.SyncVectorEnv([lambda: Bandit(action_size)] * ENVS)
    env = wrap_env(env)
    own = config is not PPO_CFG
    settings = {"alpha": options.pop("alpha")} if "alpha" in options and not own else {}
    cfg = config(
        rollouts=STEPS,
        learning_epochs=EPOCHS,
        mini_batches=MINIBATCHES,
        learning_rate=1e-3,
        **options,
    )
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    spaces = (env.observation_space, env.state_space, env.action_space, env.device)
    agent = kind(
        models={"policy": policy(*spaces), "value": Value(*spaces)},
        memory=RandomMemory(memory_size=STEPS, num_envs=ENVS, device=env.device),
        cfg=cfg,
        observation_space=env.observation_space,
        state_space=env.state_space,
        action_space=env.action_space,
        device=env.device,
        **settings,
    )
    return agent, env


def learn(agent, env, iterations):
    """Train an agent."""
    trainer = SequentialTrainer(
        env=env,
        agents=agent,
        cfg={
            "timesteps": iterations * STEPS,
            "disable_progressbar": True,
            "headless": True,
            "close_environment_at_exit": False,
        },
    )
    trainer.train()


class Skrl:
    """The subject: this package's RPO, or with a policy skrl's own."""

    unsupported = ("learners",)

    def __init__(self, policy=None):
        self._policy = policy

    def train(self, alpha, seed, action_size, iterations, *, target_kl=None, learners=1):
        kind, options = (WatchedPPO, {}) if alpha is None else (WatchedRPO, {"alpha": alpha})
        if self._policy is not None and alpha is not None:
            kind, options["config"] = WatchedOwn, skrl_rpo.RPO_CFG
            options["policy"] = self._policy
        if target_kl is not None:
            options["learning_rate_scheduler"] = KLAdaptiveLR
            options["learning_rate_scheduler_kwargs"] = {"kl_threshold": target_kl}
        agent, env = make(kind, seed, action_size, **options)
        learn(agent, env, iterations)

        def act(observations, deterministic):
            # What skrl's trainer gives the policy when it evaluates.
            inputs = {"observations": torch.as_tensor(observations), "alpha": alpha}
            with torch.no_grad():
                actions, outputs = agent.policy.act(inputs, role="policy")
            return (outputs["mean_actions"] if deterministic else actions).numpy()

        parameters = {name: x.numpy().copy() for name, x in agent.policy.state_dict().items()}
        return Trace(agent.rollouts, agent.minibatches, parameters, act, agent.plain)
