"""RPO in TorchRL: a loss in place of `ClipPPOLoss`."""

from __future__ import annotations

from typing import Any, cast

import torch
from tensordict import TensorDictBase
from torchrl.objectives import ClipPPOLoss

from robustpo.base.validation import plain, require_number
from robustpo.errors import ConfigError
from robustpo.torch import perturbed_log_prob


class ClipRPOLoss(ClipPPOLoss):
    """`torchrl.objectives.ClipPPOLoss` with RPO's update (arXiv 2212.07536).

    Entropy and `kl_approx` are the plain policy's.

    Args:
        *arguments, **options: as `ClipPPOLoss` takes them.
        alpha: half the width of the noise: the buffer `alpha`, which is saved with the loss and
            annealed as `clip_epsilon` is, `loss.alpha.copy_(…)`.

    Raises:
        ConfigError: if alpha is no number of at least 0; at the first loss, if the policy has no
            location that noise could shift.
    """

    def __init__(self, *arguments: Any, alpha: float = 0.5, **options: Any) -> None:
        require_number("alpha", plain(alpha), 0.0)
        super().__init__(*arguments, **options)
        device = next(self.parameters()).device
        self.register_buffer("alpha", torch.tensor(float(alpha), device=device))
        # Of its own, so that the order of minibatches is PPO's.
        self._generator = torch.Generator(device)
        self._generator.manual_seed(torch.initial_seed() % 2**63)

    def _get_cur_log_prob(self, tensordict: TensorDictBase, params: Any = None) -> Any:
        density, policy, is_composite = super()._get_cur_log_prob(tensordict, params)
        if params is not None:
            return density, policy, is_composite
        if is_composite:
            raise ConfigError("a composite policy is not supported; use ClipPPOLoss")
        generator = None if torch.compiler.is_compiling() else self._generator
        action = tensordict.get(self.tensor_keys.action)
        alpha = cast(torch.Tensor, self.alpha)
        perturbed = perturbed_log_prob(policy, action, alpha, generator=generator)
        self._shift = (perturbed - density).detach()
        return perturbed, policy, is_composite

    def _log_weight(self, tensordict: TensorDictBase, adv_shape: torch.Size) -> Any:
        log_weight, policy, kl, correction = super()._log_weight(tensordict, adv_shape)
        return log_weight, policy, kl + self._shift.unsqueeze(-1), correction
