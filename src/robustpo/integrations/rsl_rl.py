"""RPO in rsl_rl, and so in Isaac Lab and mjlab: `robustpo.integrations.rsl_rl:RPO`."""

from __future__ import annotations

from typing import Any

import torch
from rsl_rl.algorithms import PPO
from rsl_rl.modules.distribution import GaussianDistribution

from robustpo.base.validation import plain, require_number
from robustpo.errors import ConfigError
from robustpo.integrations.alpha import alpha_after, noise_seed, require_schedule
from robustpo.torch import uniform_noise


class RPO(PPO):
    """`rsl_rl.algorithms.PPO` with RPO's update (arXiv 2212.07536).

    The KL divergence that steers the learning rate is the plain policy's, as are entropy and what
    was stored while collecting.

    Args:
        *arguments, **options: as PPO takes them.
        rpo_alpha: half the width of the noise.
        rpo_alpha_schedule: `constant`, `linear` or `cosine`.
        rpo_alpha_updates: over how many updates a schedule runs; later ones have its last value.

    Raises:
        ConfigError: if alpha is no number of at least 0, the schedule is unknown, or the policy is
            not Gaussian.
    """

    def __init__(
        self,
        *arguments: Any,
        rpo_alpha: float = 0.5,
        rpo_alpha_schedule: str = "constant",
        rpo_alpha_updates: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        require_number("rpo_alpha", plain(rpo_alpha), 0.0)
        require_schedule("rpo_alpha_schedule", rpo_alpha_schedule)
        if rpo_alpha_schedule != "constant":
            require_number("rpo_alpha_updates", rpo_alpha_updates, 1.0)
        family = self._raw_actor.distribution
        if not isinstance(family, GaussianDistribution):
            raise ConfigError(
                f"distribution={type(family).__name__} has no location that noise could shift; "
                "choose GaussianDistribution, or PPO"
            )
        self.rpo_updates = 0
        self._schedule = (rpo_alpha, rpo_alpha_schedule)
        self._schedule_updates = rpo_alpha_updates

    @property
    def rpo_alpha(self) -> float:
        """Alpha in the next update."""
        return alpha_after(*self._schedule, self.rpo_updates, self._schedule_updates)

    def update(self) -> dict[str, float]:
        """Update the policy; return the mean losses, as PPO does."""
        # log N(a − z; μ) = log N(a; μ + z): the policy itself, and its KL divergence, stay plain.
        alpha = self.rpo_alpha
        actor: Any = self._raw_actor
        generator = torch.Generator(self.device)
        seed = noise_seed(torch.initial_seed(), self.gpu_global_rank, self.rpo_updates)
        generator.manual_seed(seed)
        log_prob = actor.get_output_log_prob

        def perturbed(actions: torch.Tensor) -> torch.Tensor:
            return log_prob(actions - uniform_noise(actions, alpha, generator=generator))

        if alpha > 0:
            actor.get_output_log_prob = perturbed
        try:
            return super().update()
        finally:
            vars(actor).pop("get_output_log_prob", None)
            self.rpo_updates += 1

    def save(self) -> dict[str, Any]:
        """Return what is saved: PPO's, and how far alpha's schedule is."""
        return super().save() | {"rpo_updates": self.rpo_updates}

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict | None, strict: bool) -> bool:
        """Load what was saved, by RPO or by PPO."""
        goes_on = super().load(loaded_dict, load_cfg, strict)
        if goes_on:
            self.rpo_updates = loaded_dict.get("rpo_updates", self.rpo_updates)
        return goes_on
