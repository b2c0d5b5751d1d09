"""What one minibatch minimises: the clipped surrogate under perturbation, value loss, entropy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32

from robustpo.algorithm.augmentation import drac_loss
from robustpo.algorithm.distributions import ActionDistribution
from robustpo.algorithm.estimators import ESTIMATORS
from robustpo.algorithm.experience import Batch, Coefficients
from robustpo.algorithm.masking import masked_mean, masked_means
from robustpo.algorithm.networks import AgentParams, action_distribution, evaluate
from robustpo.algorithm.perturbation import perturb_parameters
from robustpo.shape import Shape

# What draws of a minibatch besides the perturbation take from its key.
DRAC_STREAM = 1


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

    With noise on all parameters it is the average of the plain loss over `shape.draws` perturbed
    copies of them (paper, eq. 33); the gradient is taken at the copies' common centre, whose policy
    is the one that entropy and movement are reported of.
    """
    if shape.parameter_noise == "none":
        return minibatch_loss(params, batch, coefficients, shape, key=key)

    def one_draw(key: Array) -> tuple[Array, dict[str, Array]]:
        moved = perturb_parameters(params, coefficients, key=key, noise=shape.parameter_noise)
        return minibatch_loss(moved, batch, coefficients, shape, key=key)

    drawn = jax.vmap(one_draw)(jax.random.split(key, shape.draws))
    loss, means = jax.tree.map(lambda x: x.mean(0), drawn)
    plain = action_distribution(params, batch.obs, shape)
    kl = approximate_kl(plain_log_ratio(plain, batch)).mean(0)
    rows = {"entropy": plain.entropy(), "approx_kl": kl}
    if batch.policy is not None:
        rows["policy_kl"] = batch.policy.kl(plain)
    return loss, means | masked_means(rows, batch.valid)


def approximate_kl(log_ratio: Float32[Array, "*B"]) -> Float32[Array, "*B"]:
    """Return `r − 1 − log r` per row, whose mean over actions of the old policy is its KL."""
    return jnp.expm1(log_ratio) - log_ratio


def plain_log_ratio(policy: ActionDistribution, batch: Batch) -> Float32[Array, "1 B"]:
    """Return the log-ratio of the policy as it is, not perturbed, to the one that collected.

    Whatever a KL steers goes by this. A perturbed policy lies `Σ α²/(6σ²)` nats away before the
    first step, and no step brings it back.
    """
    return (policy.log_prob(batch.action) - batch.log_prob)[None]


def minibatch_loss(
    params: AgentParams, batch: Batch, coefficients: Coefficients, shape: Shape, *, key: Array
) -> tuple[Float32[Array, ""], dict[str, Float32[Array, ""]]]:
    """Return the loss of one minibatch at given parameters, and what is reported of it.

    The policy's location is shifted by fresh noise before the log-density of the stored actions is
    taken (paper, Algorithm 1, lines 12 to 15); the log-density in the ratio's denominator is the
    plain policy's, as collected. Other estimators of the perturbed density stand in the same place.
    """
    policy, value = evaluate(params, batch.obs, shape)
    log_prob = ESTIMATORS[shape.estimator](policy, batch.action, coefficients, shape, key=key)
    log_ratio = log_prob - batch.log_prob
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
    if shape.augmentation == "drac":
        drac_key = jax.random.fold_in(key, DRAC_STREAM)
        rows["drac_loss"] = drac_loss(
            params, policy, value, batch, coefficients, shape, key=drac_key
        )
    means = masked_means(rows, batch.valid)
    total = (
        means["policy_loss"]
        - coefficients.entropy_coef * means["entropy"]
        + coefficients.value_coef * means["value_loss"]
    )
    if shape.augmentation == "drac":
        total = total + coefficients.drac_coef * means["drac_loss"]
    return total, means
