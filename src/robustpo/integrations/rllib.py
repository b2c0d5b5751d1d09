"""RPO in Ray RLlib's PPO (new API stack, PyTorch)."""

from __future__ import annotations

from typing import Any, cast

import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchDiagGaussian
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.rllib.utils.schedules.scheduler import Scheduler

from robustpo.errors import ConfigError
from robustpo.integrations.alpha import noise_seed, require_alpha, require_continuous
from robustpo.torch import uniform_noise

ALPHA = "rpo_alpha"


class RPOTorchLearner(PPOTorchLearner):
    """`PPOTorchLearner` with RPO's update (arXiv 2212.07536): `learner_class` of a `PPOConfig`.

    `learner_config_dict={"rpo_alpha": …}` is half the width of the noise, 0.5 if it is not given,
    or a schedule `[[0, 0.5], [timestep, value], …]` as RLlib's are. The penalty on the KL
    divergence and what changes its coefficient take the plain policy's. The noise depends on the
    seed, the learner and the number of its updates alone: learners draw independently, and nothing
    has to be saved for a training that goes on.

    Raises:
        ConfigError: if alpha is no number of at least 0 and no schedule of such, or a policy is
            discrete or squashed.
    """

    def build(self) -> None:
        """Set up, as PPO does."""
        super().build()
        settings = self.config.learner_config_dict
        if wrong := [name for name in settings if "alpha" in name and name != ALPHA]:
            raise ConfigError(f"learner_config_dict has {wrong[0]!r}; did you mean {ALPHA!r}?")
        given: Any = settings.get(ALPHA, 0.5)
        scheduled = isinstance(given, (list, tuple))
        if scheduled:
            try:
                Scheduler.validate(
                    fixed_value_or_schedule=cast(Any, given),
                    setting_name=ALPHA,
                    description="alpha",
                )
            except (IndexError, TypeError, ValueError) as error:
                raise ConfigError(f"{ALPHA}={given!r} is not valid: {error}") from None
        for alpha in [value for _, value in given] if scheduled else [given]:
            require_alpha(alpha)
        for module_id, wrapped in self.module.items():
            module = wrapped.unwrapped()
            require_continuous(module.action_space)
            kind = module.get_train_action_dist_cls()
            if not issubclass(kind, TorchDiagGaussian):
                raise ConfigError(
                    f"distribution {kind.__name__} of module {module_id!r} has no location that "
                    "noise could shift; give a module with TorchDiagGaussian, or use PPO"
                )
        self._alpha = Scheduler(fixed_value_or_schedule=given, framework=self.framework)
        self._noise = torch.Generator(self._device or "cpu")

    @property
    def alpha(self) -> float:
        """Half the width of the noise in this update."""
        return float(self._alpha.get_current_value())

    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Prepare an update, as PPO does."""
        super().before_gradient_based_update(timesteps=timesteps)
        self._alpha.update(timesteps.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0))
        seed = torch.initial_seed() if self.config.seed is None else self.config.seed
        seed = noise_seed(seed, self._learner_index, self._weights_seq_no)
        self._noise.manual_seed(seed)

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Any:
        """Return PPO's loss under the perturbed policy.

        log N(a − z; μ) = log N(a; μ + z): the policy, its entropy and its divergence stay plain.
        """
        alpha = self.alpha
        if alpha > 0:
            actions = batch[Columns.ACTIONS]
            shifted = actions - uniform_noise(actions, alpha, generator=self._noise)
            batch = {**batch, Columns.ACTIONS: shifted}
        self.metrics.log_value((module_id, "rpo_alpha"), alpha, window=1)
        return super().compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )
