"""RPO in skrl (PyTorch), with policies of its `GaussianMixin`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from skrl import config
from skrl.agents.torch.ppo import PPO
from skrl.models.torch import GaussianMixin
from skrl.resources.schedulers.torch import KLAdaptiveLR

from robustpo.errors import ConfigError
from robustpo.integrations.alpha import Alpha, alpha_at, noise_seed, require_alpha
from robustpo.torch import uniform_noise


class RPO(PPO):
    """`skrl.agents.torch.ppo.PPO` with RPO's update (arXiv 2212.07536), as skrl's own RPO is not.

    What `kl_threshold` and `KLAdaptiveLR` go by is the plain policy's KL divergence.

    Args:
        *arguments, **options: as PPO takes them.
        alpha: half the width of the noise, or a function of the share of training that is left. A
            number is saved and loaded with the agent.

    Raises:
        ConfigError: if alpha is no number of at least 0, or the policy is not Gaussian.
    """

    def __init__(self, *arguments: Any, alpha: Alpha = 0.5, **options: Any) -> None:
        require_alpha(alpha)
        super().__init__(*arguments, **options)
        if not isinstance(self.policy, GaussianMixin):
            raise ConfigError(
                f"policy {type(self.policy).__name__} has no location that noise could shift; give "
                "one of GaussianMixin, or use PPO"
            )
        self.alpha, self.updates = alpha, 0
        self.checkpoint_modules["rpo"] = _Saved(self)

    def update(self, *, timestep: int, timesteps: int) -> None:
        """Update the policy, as PPO does."""
        alpha = alpha_at(self.alpha, 1.0 - timestep / timesteps)
        shift = _Shift(self, alpha)
        threshold, steers = self.cfg.kl_threshold, isinstance(self.scheduler, KLAdaptiveLR)
        policy: Any = self.policy
        memory: Any = self.memory
        cfg: Any = self.cfg
        scheduler: Any = self.scheduler
        policy.act, memory.sample = shift.act, shift.sample
        cfg.kl_threshold = shift if threshold else threshold
        if steers:
            scheduler.step = shift.step
        try:
            super().update(timestep=timestep, timesteps=timesteps)
        finally:
            del policy.act, memory.sample
            cfg.kl_threshold = threshold
            if steers:
                del scheduler.step
            self.updates += 1
        self.track_data("Learning / Alpha", alpha)


class _Saved:
    """What skrl saves and loads of RPO: alpha, and how many updates have drawn their noise."""

    def __init__(self, agent: RPO) -> None:
        self._agent = agent

    def state_dict(self) -> dict[str, Any]:
        """Return it; a function of alpha stays where it was written."""
        alpha = self._agent.alpha
        return {"updates": self._agent.updates} | ({} if callable(alpha) else {"alpha": alpha})

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Put it back; a function that the agent was made with stays."""
        self._agent.updates = saved["updates"]
        if not callable(self._agent.alpha):
            self._agent.alpha = saved.get("alpha", self._agent.alpha)


class _Shift:
    """Shifts the actions whose density an update asks for, and knows the plain divergences.

    log N(a − z; μ) = log N(a; μ + z), so that the policy itself stays plain.
    """

    def __init__(self, agent: Any, alpha: float) -> None:
        self._policy, self._alpha = agent.policy, alpha
        self._act, self._sample = agent.policy.act, agent.memory.sample
        self._step, self._threshold = getattr(agent.scheduler, "step", None), agent.cfg.kl_threshold
        self._log_prob = agent._tensors_names.index("log_prob")
        self._generator = torch.Generator(agent.device)
        seed = noise_seed(torch.initial_seed(), config.torch.rank, agent.updates)
        self._generator.manual_seed(seed)
        self._kls: list[torch.Tensor] = []
        self._stored: torch.Tensor | None = None

    def sample(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Yield the minibatches of an epoch, as the memory does."""
        self._kls = []
        for batch in self._sample(*arguments, **options):
            self._stored = batch[self._log_prob]
            yield batch

    def act(self, inputs: dict[str, Any], *, role: str = "") -> Any:
        """Act as the policy does; shift the actions that are given."""
        actions = inputs.get("taken_actions")
        if actions is None:
            return self._act(inputs, role=role)
        shifted = actions
        if self._alpha > 0:
            shifted = actions - uniform_noise(actions, self._alpha, generator=self._generator)
        found = self._act({**inputs, "taken_actions": shifted}, role=role)
        with torch.no_grad():
            density = self._policy.distribution(role=role).log_prob
            plain = found[1]["log_prob"]
            if self._alpha > 0:
                plain = plain + self._reduced(density(actions)) - self._reduced(density(shifted))
            ratio = plain - self._stored
            self._kls.append(((torch.exp(ratio) - 1) - ratio).mean())
        return found

    def _reduced(self, log_prob: torch.Tensor) -> torch.Tensor:
        reduction = self._policy._g_reduction
        reduced = log_prob if reduction is None else reduction(log_prob, dim=-1)
        return reduced if reduced.dim() == log_prob.dim() else reduced.unsqueeze(-1)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, given: Any, options: Any = None) -> bool:
        """Stand for the threshold: compare it with the plain divergence, whatever is given."""
        (shift,) = (one for one in given if isinstance(one, cls))
        return bool(shift._kls[-1] > shift._threshold)

    def step(self, kl: float) -> None:
        """Step the scheduler by the plain divergences of the epoch."""
        mean = torch.stack(self._kls).mean()
        if config.torch.is_distributed:
            torch.distributed.all_reduce(mean, op=torch.distributed.ReduceOp.SUM)
            mean /= config.torch.world_size
        assert self._step is not None
        self._step(mean.item())
