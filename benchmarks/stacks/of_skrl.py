"""skrl."""

from __future__ import annotations

from typing import Any

import torch
from skrl import logger
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.utils import set_seed

from robustpo.integrations.skrl import RPO
from stacks import task


def network(size: int) -> torch.nn.Sequential:
    """Return a network of one output."""
    layers: list[torch.nn.Module] = []
    for width in (size, task.WIDTH):
        layers += [torch.nn.Linear(width, task.WIDTH), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(task.WIDTH, 1))


def prepare(model: Any, spaces: tuple) -> None:
    """Set up what policy and value function have in common."""
    names = ("observation_space", "state_space", "action_space", "device")
    Model.__init__(model, **dict(zip(names, spaces, strict=True)))
    model.net = network(model.num_observations)


class Policy(GaussianMixin, Model):
    """The policy."""

    def __init__(self, *spaces: Any) -> None:
        prepare(self, spaces)
        GaussianMixin.__init__(self, clip_actions=False)
        self.log_std = torch.nn.Parameter(torch.zeros(1))

    def compute(self, inputs: dict, role: str) -> Any:
        """Return the mean."""
        return self.net(inputs["observations"]), {"log_std": self.log_std}


class Value(DeterministicMixin, Model):
    """The value function."""

    def __init__(self, *spaces: Any) -> None:
        prepare(self, spaces)
        DeterministicMixin.__init__(self, clip_actions=False)

    def compute(self, inputs: dict, role: str) -> Any:
        """Return the value."""
        return self.net(inputs["observations"]), {}


class Training:
    """One training, iteration by iteration."""

    differences = (
        "advantages normalised once a rollout; time limits bootstrap from the last observation "
        "but one; Adam's eps 1e-8; PyTorch's initialisation"
    )

    def __init__(self, alpha: float | None, seed: int) -> None:
        torch.set_num_threads(1)
        logger.setLevel("ERROR")
        set_seed(seed)
        self.returns: list[float] = []
        env = wrap_env(task.vector(self.returns, seed))
        cfg = PPO_CFG(
            rollouts=task.ROLLOUT,
            learning_epochs=task.EPOCHS,
            mini_batches=task.MINIBATCHES,
            learning_rate=task.RATE,
            discount_factor=task.GAMMA,
            gae_lambda=task.LAMBDA,
            ratio_clip=task.CLIP,
            value_clip=0.0,
            value_loss_scale=task.VALUE,
            grad_norm_clip=task.NORM,
            time_limit_bootstrap=True,
        )
        cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
        spaces = (env.observation_space, env.state_space, env.action_space, env.device)
        kind, options = (PPO, {}) if alpha is None else (RPO, {"alpha": alpha})
        self._env, self._step = env, 0
        self._agent = kind(
            models={"policy": Policy(*spaces), "value": Value(*spaces)},
            memory=RandomMemory(memory_size=task.ROLLOUT, num_envs=task.ENVS, device=env.device),
            cfg=cfg,
            observation_space=env.observation_space,
            state_space=env.state_space,
            action_space=env.action_space,
            device=env.device,
            **options,
        )
        self._agent.init()
        self._agent.enable_training_mode(True)
        self._watch = task.Stopwatch(self._agent.update)
        self._agent.update = self._watch
        self._obs, _ = env.reset()

    def iterate(self) -> float:
        """Collect and update once, as skrl's trainer does; return the seconds of the update."""
        before, agent, env = self._watch.seconds, self._agent, self._env
        for _ in range(task.ROLLOUT):
            agent.pre_interaction(timestep=self._step, timesteps=10**6)
            states = env.state()
            with torch.no_grad():
                actions, _ = agent.act(self._obs, states, timestep=self._step, timesteps=10**6)
                following, reward, ended, cut, infos = env.step(actions)
                agent.record_transition(
                    observations=self._obs,
                    states=states,
                    actions=actions,
                    rewards=reward,
                    next_observations=following,
                    next_states=env.state(),
                    terminated=ended,
                    truncated=cut,
                    infos=infos,
                    timestep=self._step,
                    timesteps=10**6,
                )
            agent.post_interaction(timestep=self._step, timesteps=10**6)
            self._obs, self._step = following, self._step + 1
        return self._watch.seconds - before
