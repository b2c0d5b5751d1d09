"""What one minibatch minimises: the clipped surrogate under perturbation, value loss, entropy."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from robustpo.algorithm.distributions import ActionDistribution
from robustpo.algorithm.experience import Batch, Coefficients
from robustpo.algorithm.losses import loss_rows, minibatch_keys
from robustpo.algorithm.masking import masked_mean, masked_means
from robustpo.algorithm.networks import AgentParams, action_distribution, evaluate
from robustpo.algorithm.perturbation import perturb_parameters
from robustpo.base.registry import ESTIMATORS
from robustpo.config.shape import Shape


def with_normalized_advantage(batch: Batch) -> Batch:
    """Return a minibatch with its advantages normalised within it."""
    return replace(batch, advantage=normalize_advantage(batch.advantage, batch.valid))


def normalize_advantage(
    advantage: Float[Array, " B"], valid: Bool[Array, " B"]
) -> Float[Array, " B"]:
    """Return `(Â − mean)/(std + 1e-8)` over the valid rows, with the sample deviation (ddof 1)."""
    mean = masked_mean(advantage, valid)
    squares = jnp.where(valid, (advantage - mean) ** 2, 0.0).sum()
    std = jnp.sqrt(squares / jnp.maximum(valid.sum() - 1, 1).astype(squares.dtype))
    return (advantage - mean) / (std + 1e-8)


def policy_loss(
    log_ratio: Float[Array, "*K B"], advantage: Float[Array, " B"], clip_coef: Float[Array, ""]
) -> Float[Array, "*K B"]:
    """Clipped surrogate per row, `max(−Â r, −Â clip(r, 1±ε))` (arXiv 1707.06347, eq. 7)."""
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1 - clip_coef, 1 + clip_coef)
    gain = jax.lax.broadcast_to_rank(advantage, ratio.ndim)
    return jnp.maximum(-gain * ratio, -gain * clipped)


def value_loss(
    value: Float[Array, " B"],
    old_value: Float[Array, " B"],
    target: Float[Array, " B"],
    clip_coef: Float[Array, ""],
    *,
    clipped: bool,
) -> Float[Array, " B"]:
    """Half the squared error per row; clipped: the larger of it and that of `v_old + clip(Δv)`."""
    error = (value - target) ** 2
    if clipped:
        near = old_value + jnp.clip(value - old_value, -clip_coef, clip_coef)
        error = jnp.maximum(error, (near - target) ** 2)
    return 0.5 * error


def objective(
    params: AgentParams, batch: Batch, coefficients: Coefficients, shape: Shape, *, key: Array
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Return the loss of one minibatch, its advantages normalised, and what is reported of it.

    With noise on all parameters it is the average of the plain loss over `shape.draws` perturbed
    copies of them (paper, eq. 33); the gradient is taken at the copies' common centre, whose policy
    is the one that entropy and movement are reported of.
    """
    if shape.parameter_noise == "none":
        return minibatch_loss(params, batch, coefficients, shape, key=key)

    def one_draw(key: Array) -> tuple[Array, dict[str, Array]]:
        noise_key, _ = minibatch_keys(shape, key=key)
        moved = perturb_parameters(params, coefficients, key=noise_key, noise=shape.parameter_noise)
        # With noise here there is none on the location, and nothing else draws from its key.
        return minibatch_loss(moved, batch, coefficients, shape, key=key)

    drawn = jax.vmap(one_draw)(jax.random.split(key, shape.draws))
    loss, means = jax.tree.map(lambda x: x.mean(0), drawn)
    plain = action_distribution(params, batch.obs, shape)
    kl = approximate_kl(plain_log_ratio(plain, batch)).mean(0)
    rows = {"entropy": plain.entropy(), "approx_kl": kl}
    if batch.policy is not None:
        rows["policy_kl"] = batch.policy.kl(plain)
    return loss, means | masked_means(rows, batch.valid)


def approximate_kl(log_ratio: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Return `r − 1 − log r` per row, whose mean over actions of the old policy is its KL."""
    return jnp.expm1(log_ratio) - log_ratio


def plain_log_ratio(policy: ActionDistribution, batch: Batch) -> Float[Array, "1 B"]:
    """Return the log-ratio of the policy as it is, not perturbed, to the one that collected.

    Whatever a KL steers goes by this. A perturbed policy lies `Σ α²/(6σ²)` nats away before the
    first step, and no step brings it back.
    """
    return (policy.log_prob(batch.action) - batch.log_prob)[None]


def minibatch_loss(
    params: AgentParams, batch: Batch, coefficients: Coefficients, shape: Shape, *, key: Array
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Return the loss of one minibatch at given parameters, and what is reported of it.

    The policy's location is shifted by fresh noise before the log-density of the stored actions is
    taken (paper, Algorithm 1, lines 12 to 15); the log-density in the ratio's denominator is the
    plain policy's, as collected. Other estimators of the perturbed density stand in the same place.
    """
    policy, value = evaluate(params, batch.obs, shape)
    noise_key, term_keys = minibatch_keys(shape, key=key)
    log_prob = ESTIMATORS[shape.estimator].log_prob(
        policy, batch.action, coefficients, shape, key=noise_key
    )
    log_ratio = log_prob - batch.log_prob[None]
    surrogate = policy_loss(log_ratio, batch.advantage, coefficients.clip_coef).mean(0)
    squared = value_loss(
        value,
        batch.value,
        batch.value_target,
        coefficients.clip_coef,
        clipped=shape.clip_value_loss,
    )
    clipped = (jnp.abs(jnp.expm1(log_ratio)) > coefficients.clip_coef).astype(jnp.float32)
    rows = {
        "policy_loss": surrogate,
        "value_loss": squared,
        "entropy": policy.entropy(),
        "perturbed_kl" if shape.perturbs_update else "approx_kl": approximate_kl(log_ratio).mean(0),
        "clip_fraction": clipped.mean(0),
    }
    if batch.policy is not None:
        rows["policy_kl"] = batch.policy.kl(policy)
    if shape.perturbs_update:
        # Last and without a gradient, so that the rest is compiled, and rounded, as without it.
        plain = jax.lax.stop_gradient(policy)
        rows["approx_kl"] = approximate_kl(plain_log_ratio(plain, batch)).mean(0)
    extra, weights = loss_rows(coefficients, shape, term_keys, params, policy, value, batch)
    means = masked_means(rows | extra, batch.valid)
    total = (
        means["policy_loss"]
        - coefficients.entropy_coef * means["entropy"]
        + coefficients.value_coef * means["value_loss"]
    )
    for name, weight in weights.items():
        total = total + weight * means[name]
    return total, means
