"""What the perturbation alone does to an update, measured before its first gradient step."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from robustpo.algorithm.experience import Batch, Coefficients
from robustpo.algorithm.masking import masked_mean
from robustpo.algorithm.networks import AgentParams, action_distribution
from robustpo.algorithm.perturbation import noise_scale, perturb, perturb_parameters
from robustpo.base.registry import ESTIMATORS
from robustpo.config.shape import Shape
from robustpo.policy.families import FAMILIES


def perturbation_diagnostics(
    params: AgentParams, batch: Batch, coefficients: Coefficients, shape: Shape, *, key: Array
) -> dict[str, Float[Array, ""]]:
    """Return what the noise does to the ratios of a rollout under the policy that collected it.

    Args:
        params: the parameters that collected; their plain ratios are 1.
        batch: the whole rollout.
        coefficients: the agent's numbers.
        shape: what is perturbed, and how.
        key: a key used for this only.

    Returns:
        `noise_clip_fraction`, the share of ratios outside 1 ± ε by the noise alone; `noise_kl`,
        the mean `KL(π ‖ π shifted by z)`, for Gaussian policies and uniform noise
        `A α²/(6σ²)` in expectation; `sigma_alpha`, standard deviation over alpha (∞ at alpha 0).
        All NaN where the update has no noise.
    """
    plain = action_distribution(params, batch.obs, shape)
    if shape.parameter_noise != "none":
        moved = perturb_parameters(params, coefficients, key=key, noise=shape.parameter_noise)
        perturbed = action_distribution(moved, batch.obs, shape)
        log_prob = perturbed.log_prob(batch.action)[None]
        alpha = coefficients.alpha
    elif shape.update_noise != "none":
        perturbed = perturb(plain, coefficients, key=key, noise=shape.update_noise)
        log_prob = ESTIMATORS[shape.estimator].log_prob(
            plain, batch.action, coefficients, shape, key=key
        )
        alpha = coefficients.alpha * noise_scale(plain, coefficients)
    else:
        names = ("noise_clip_fraction", "noise_kl", "sigma_alpha")
        return dict.fromkeys(names, jnp.float32(jnp.nan))
    change = jnp.abs(jnp.expm1(log_prob - batch.log_prob[None]))
    clipped = (change > coefficients.clip_coef).astype(jnp.float32).mean(0)
    diverges = FAMILIES[shape.distribution].diverges
    movement = plain.kl(perturbed) if diverges else jnp.full(batch.valid.shape, jnp.nan)
    return {
        "noise_clip_fraction": masked_mean(clipped, batch.valid),
        "noise_kl": masked_mean(movement, batch.valid),
        "sigma_alpha": masked_mean((plain.std() / alpha).mean(-1), batch.valid),
    }
