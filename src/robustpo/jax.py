"""RPO for a PPO of one's own in JAX: the log-density under a freshly perturbed policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from robustpo.errors import ConfigError

# Classes of Distrax and TensorFlow Probability whose density depends on action − location alone, by
# name, so that neither has to be there.
_LOCATION = (
    "Normal",
    "Laplace",
    "Gumbel",
    "Logistic",
    "Cauchy",
    "StudentT",
    "MultivariateNormalDiag",
    "MultivariateNormalTri",
    "MultivariateNormalTriL",
    "MultivariateNormalFullCovariance",
)


def perturbed_log_prob(
    distribution: Any, action: Array, alpha: float | Array, *, key: Array
) -> Array:
    """Return the log-density of actions under the policy, its location shifted by fresh noise.

    `z ~ U(−alpha, alpha)`, one draw for each row and dimension (arXiv 2212.07536, eq. 4 and
    Algorithm 1, line 14). For the numerator of the ratio in the update and nothing else: what was
    stored while collecting, entropy, KL divergences and acting take the plain policy.

    Args:
        distribution: the plain policy at the minibatch's observations: a distribution of Distrax or
            TensorFlow Probability of a location family, `Independent` of one or transformed, as by
            tanh, where the noise shifts what is transformed. Or a function from actions to their
            log-densities, which depends on action − location alone.
        action: `[*B, A]`.
        alpha: half the width of the noise.
        key: used for this minibatch only; the same key gives the same noise.

    Returns:
        What `distribution.log_prob(action)` has the shape of.

    Raises:
        ConfigError: if the action has another shape than the policy acts in, or the distribution
            has no location that could be shifted.

    Example:
        >>> def log_prob(action):
        ...     return jax.scipy.stats.norm.logpdf(action, mean, std).sum(-1)
        >>> ratio = jnp.exp(perturbed_log_prob(log_prob, action, 0.5, key=key) - old_log_prob)
    """
    if not hasattr(distribution, "log_prob"):
        return _shifted(distribution, action, alpha, key)
    shape = (*distribution.batch_shape, *distribution.event_shape)
    if jnp.shape(action) != shape:
        raise ConfigError(
            f"action has shape {jnp.shape(action)}, and the policy acts in {shape}; give one "
            "action for each row of the minibatch"
        )
    base, inner = distribution, action
    if hasattr(base, "bijector"):
        base, inner = base.distribution, base.bijector.inverse(action)
    family = base
    while type(family).__name__ == "Independent":
        family = family.distribution
    if type(family).__name__ not in _LOCATION:
        raise ConfigError(
            f"distribution={type(distribution).__name__} has no location that noise could shift; "
            "RPO takes normal, Laplace and other location families, also transformed ones"
        )
    if base is distribution:
        return _shifted(base.log_prob, action, alpha, key)
    difference = _shifted(base.log_prob, inner, alpha, key) - base.log_prob(inner)
    plain = distribution.log_prob(action)
    # What a transformation takes for one event its base may have as several.
    extra = tuple(range(jnp.ndim(plain), jnp.ndim(difference)))
    return plain + difference.sum(axis=extra)


def _shifted(
    log_prob: Callable[[Array], Array], action: Array, alpha: float | Array, key: Array
) -> Array:
    """Return log p(a − z; μ) = log p(a; μ + z)."""
    action = jnp.asarray(action)
    # In float32 and then rounded: bfloat16 itself has few values.
    precise = jnp.promote_types(action.dtype, jnp.float32)
    unit = jax.random.uniform(key, action.shape, precise, minval=-1.0, maxval=1.0)
    return log_prob(action - (alpha * unit).astype(action.dtype))
