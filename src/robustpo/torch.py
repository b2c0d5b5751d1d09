"""RPO for a PPO of one's own in PyTorch: the log-density under a freshly perturbed policy.

Importing it imports PyTorch and neither JAX nor anything else of training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import distributions as td

from robustpo.base.validation import plain, require_number
from robustpo.errors import ConfigError

# Families whose density depends on action − location alone.
_LOCATION = (td.Normal, td.Laplace, td.Gumbel, td.Cauchy, td.StudentT, td.MultivariateNormal)


def perturbed_log_prob(
    distribution: td.Distribution,
    action: torch.Tensor,
    alpha: float | torch.Tensor,
    *,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Return the log-density of actions under the policy, its location shifted by fresh noise.

    `z ~ U(−alpha, alpha)`, one draw for each row and dimension (arXiv 2212.07536, eq. 4 and
    Algorithm 1, line 14). For the numerator of the ratio in the update and nothing else: what was
    stored while collecting, entropy, KL divergences and acting take the plain policy.

    Args:
        distribution: the plain policy at the minibatch's observations: normal, Laplace or another
            location family, `Independent` of one, or transformed, as by tanh, where the noise
            shifts what is transformed.
        action: `[*B, A]`, the shape of what the distribution samples.
        alpha: half the width of the noise, at least 0; 0 draws nothing.
        generator: where the noise comes from; None is PyTorch's own. What `torch.compile` compiles
            takes none, and draws anew at every call all the same.

    Returns:
        What `distribution.log_prob(action)` has the shape of.

    Raises:
        ConfigError: if alpha is no such number, the action has another shape (it would be spread
            over rows), or the distribution has no location that could be shifted, or one that a
            transformation makes.

    Example:
        >>> policy = td.Normal(torch.zeros(64, 3), torch.ones(64, 3))
        >>> perturbed_log_prob(policy, policy.sample(), alpha=0.5).sum(-1).shape
        torch.Size([64])
    """
    if not isinstance(alpha, torch.Tensor):
        alpha = plain(alpha)
        require_number("alpha", alpha, 0.0)
    family, inner = _untransformed(distribution, action)
    shape = distribution.batch_shape + distribution.event_shape
    if action.shape != shape:
        raise ConfigError(
            f"action has shape {tuple(action.shape)}, and the policy acts in {tuple(shape)}; give "
            "one action for each row of the minibatch"
        )
    if not isinstance(alpha, torch.Tensor) and alpha == 0:
        return distribution.log_prob(action)
    shifted = inner - uniform_noise(inner, alpha, generator=generator)
    if inner is action:
        # log p(a − z; μ) = log p(a; μ + z).
        return distribution.log_prob(shifted)
    difference = family.log_prob(shifted) - family.log_prob(inner)
    density = distribution.log_prob(action)
    # What is one event above may be several below.
    while difference.dim() > density.dim():
        difference = difference.sum(-1)
    return density + difference


def uniform_noise(
    like: torch.Tensor, alpha: float | torch.Tensor, *, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Draw `z ~ U(−alpha, alpha)` for every element of a tensor, on its device and of its type."""
    # In float32 and then rounded: bfloat16 itself has few values.
    precise = torch.promote_types(like.dtype, torch.float32)
    unit = torch.rand(like.shape, generator=generator, device=like.device, dtype=precise)
    return ((2.0 * unit - 1.0) * alpha).to(like.dtype)


def _untransformed(
    distribution: td.Distribution, action: torch.Tensor
) -> tuple[td.Distribution, torch.Tensor]:
    """Return the location family below transformations, and the action as that has it."""
    found: td.Distribution = distribution
    inner: Any = action
    while not isinstance(found, _LOCATION):
        if isinstance(found, td.Independent):
            found = found.base_dist
        elif isinstance(found, td.TransformedDistribution):
            transforms, found = found.transforms, found.base_dist
            for transform in reversed(transforms):
                inner = transform.inv(inner)
            if isinstance(found, (*_LOCATION, td.Independent)):
                _require_location(distribution, transforms)
        else:
            raise ConfigError(
                f"distribution={type(distribution).__name__} has no location that noise could "
                f"shift{'' if found is distribution else f', nor has its {type(found).__name__}'};"
                " RPO takes normal, Laplace and other location families, also transformed ones"
            )
    return found, inner


def _require_location(distribution: td.Distribution, transforms: list[td.Transform]) -> None:
    """Refuse what stretches and moves a normal: noise below it would be stretched alike."""
    first = next(iter(transforms), None)
    while isinstance(first, (td.ComposeTransform, td.IndependentTransform)):
        first = first.parts[0] if isinstance(first, td.ComposeTransform) else first.base_transform
    if isinstance(first, td.AffineTransform):
        raise ConfigError(
            f"distribution={type(distribution).__name__} gets its location from "
            f"{type(first).__name__}, which would stretch the noise as well; give mean and "
            "deviation to the normal itself, and stretch actions outside the policy"
        )
