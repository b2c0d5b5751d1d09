"""What one minibatch minimises: the clipped surrogate under perturbation, value loss, entropy."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32

from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.algorithm.experience import Batch, Coefficients
from robustpo.algorithm.networks import AgentParams, mlp
from robustpo.algorithm.perturbation import perturb
from robustpo.config import Shape


def masked_means(
    rows: dict[str, Float32[Array, " B"]], valid: Bool[Array, " B"]
) -> dict[str, Float32[Array, ""]]:
    """Mean of each quantity over the valid rows, all in one product; 0 where there are none."""
    weights = valid / jnp.maximum(valid.sum(), 1)
    stacked = jnp.where(valid, jnp.stack(list(rows.values())), 0.0)
    means = stacked @ weights.astype(jnp.float32)
    return dict(zip(rows, means, strict=True))


def masked_mean(x: Float32[Array, " B"], valid: Bool[Array, " B"]) -> Float32[Array, ""]:
    """Mean over the valid rows; 0 where there are none."""
    return jnp.where(valid, x, 0.0).sum() / jnp.maximum(valid.sum(), 1)


def normalize_advantage(
    advantage: Float32[Array, " B"], valid: Bool[Array, " B"]
) -> Float32[Array, " B"]:
    """Return `(Â − mean)/(std + 1e-8)` over the valid rows, with the sample deviation (ddof 1)."""
    mean = masked_mean(advantage, valid)
    squares = jnp.where(valid, (advantage - mean) ** 2, 0.0).sum()
    std = jnp.sqrt(squares / jnp.maximum(valid.sum() - 1, 1))
    return (advantage - mean) / (std + 1e-8)


def policy_loss(
    log_ratio: Float32[Array, " B"], advantage: Float32[Array, " B"], clip_coef: Array
) -> Float32[Array, " B"]:
    """Clipped surrogate per row, `max(−Â r, −Â clip(r, 1±ε))` (arXiv 1707.06347, eq. 7)."""
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1 - clip_coef, 1 + clip_coef)
    return jnp.maximum(-advantage * ratio, -advantage * clipped)


def value_loss(
    value: Float32[Array, " B"],
    old_value: Float32[Array, " B"],
    target: Float32[Array, " B"],
    clip_coef: Array,
    *,
    clipped: bool,
) -> Float32[Array, " B"]:
    """Half the squared error per row; clipped: the larger of it and that of `v_old + clip(Δv)`."""
    error = (value - target) ** 2
    if clipped:
        near = old_value + jnp.clip(value - old_value, -clip_coef, clip_coef)
        error = jnp.maximum(error, (near - target) ** 2)
    return 0.5 * error


def objective(
    params: AgentParams, batch: Batch, coefficients: Coefficients, shape: Shape, *, key: Array
) -> tuple[Float32[Array, ""], dict[str, Float32[Array, ""]]]:
    """Return the loss of one minibatch, its advantages normalised, and what is reported of it.

    The policy's location is shifted by fresh noise before the log-density of the stored actions is
    taken (paper, Algorithm 1, lines 12 to 15); the log-density in the ratio's denominator is the
    plain policy's, as collected.
    """
    location = mlp(params.actor, batch.obs, shape.activation)
    policy = DISTRIBUTIONS[shape.distribution](location, params.log_std)
    perturbed = perturb(policy, coefficients.alpha, key=key, noise=shape.noise)
    log_ratio = perturbed.log_prob(batch.action) - batch.log_prob
    surrogate = policy_loss(log_ratio, batch.advantage, coefficients.clip_coef)
    value = mlp(params.critic, batch.obs, shape.activation)[..., 0]
    squared = value_loss(
        value,
        batch.value,
        batch.value_target,
        coefficients.clip_coef,
        clipped=shape.clip_value_loss,
    )
    ratio_change = jnp.expm1(log_ratio)
    means = masked_means(
        {
            "policy_loss": surrogate,
            "value_loss": squared,
            "entropy": policy.entropy(),
            "approx_kl": ratio_change - log_ratio,
            "clip_fraction": (jnp.abs(ratio_change) > coefficients.clip_coef).astype(jnp.float32),
        },
        batch.valid,
    )
    total = (
        means["policy_loss"]
        - coefficients.entropy_coef * means["entropy"]
        + coefficients.value_coef * means["value_loss"]
    )
    return total, means
