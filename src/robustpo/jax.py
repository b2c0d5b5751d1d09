"""RPO for a PPO of one's own in JAX: the log-density under a freshly perturbed policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from robustpo.base.validation import plain, require_number
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
    "LogStddevNormal",
    "MultivariateNormalDiag",
    "MultivariateNormalDiagPlusLowRank",
    "MultivariateNormalTri",
    "MultivariateNormalTriL",
    "MultivariateNormalFullCovariance",
)
_TRANSFORMED = ("Transformed", "TransformedDistribution")
# How the names begin of bijectors that stretch and move.
_AFFINE = ("Affine", "Diag", "Lower", "Scalar", "Scale", "Shift", "Triangular", "Unconstrained")


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
        alpha: half the width of the noise; the number 0 gives `distribution.log_prob(action)`.
        key: used for this minibatch only; the same key gives the same noise.

    Returns:
        What `distribution.log_prob(action)` has the shape of.

    Raises:
        ConfigError: if alpha is a number below 0, the action has another shape than the policy
            acts in (it would be spread over rows), or the distribution has no location that could
            be shifted, or one that a transformation makes.

    Example:
        >>> def log_prob(action):
        ...     return jax.scipy.stats.norm.logpdf(action, mean, std).sum(-1)
        >>> ratio = jnp.exp(perturbed_log_prob(log_prob, action, 0.5, key=key) - old_log_prob)
    """
    if not isinstance(alpha, jax.Array):
        alpha = plain(alpha)
        require_number("alpha", alpha, 0.0)
    if not hasattr(distribution, "log_prob"):
        return _of_function(distribution, action, alpha, key)
    family, inner = _untransformed(distribution, action)
    shape = (*distribution.batch_shape, *distribution.event_shape)
    if jnp.shape(action) != shape:
        raise ConfigError(
            f"action has shape {jnp.shape(action)}, and the policy acts in {shape}; give one "
            "action for each row of the minibatch"
        )
    if inner is action or _is_zero(alpha):
        return _shifted(distribution.log_prob, action, alpha, key)
    difference = _shifted(family.log_prob, inner, alpha, key) - family.log_prob(inner)
    density = distribution.log_prob(action)
    # What is one event above may be several below.
    extra = tuple(range(jnp.ndim(density), jnp.ndim(difference)))
    return density + difference.sum(axis=extra)


def _of_function(log_prob: Any, action: Array, alpha: float | Array, key: Array) -> Array:
    if not callable(log_prob):
        raise ConfigError(
            f"distribution={log_prob!r} is not valid; give one of Distrax or TensorFlow "
            "Probability, or a function from actions to their log-densities"
        )
    density: Any = log_prob
    found = _shifted(density, action, alpha, key)
    if jnp.shape(found) != jnp.shape(action)[: jnp.ndim(found)]:
        raise ConfigError(
            f"actions of shape {jnp.shape(action)} have log-densities of shape "
            f"{jnp.shape(found)}; give one action for each row of the minibatch"
        )
    return found


def _untransformed(distribution: Any, action: Array) -> tuple[Any, Array]:
    """Return the location family below transformations, and the action as that has it."""
    found, inner = distribution, action
    while _name(found) not in _LOCATION:
        if _name(found) == "Independent":
            found = found.distribution
        elif hasattr(found, "bijector") and not _has_own_density(found):
            bijector, found = found.bijector, found.distribution
            inner = bijector.inverse(inner)
            if _name(found) in _LOCATION or _name(found) == "Independent":
                _require_location(distribution, bijector)
        else:
            raise ConfigError(
                f"distribution={_name(distribution)} has no location that noise could shift"
                f"{'' if found is distribution else f', nor has its {_name(found)}'}; RPO takes "
                "normal, Laplace and other location families, also transformed ones"
            )
    return found, inner


def _is_zero(alpha: float | Array) -> bool:
    return not isinstance(alpha, jax.Array) and alpha == 0


def _name(thing: Any) -> str:
    # TensorFlow Probability makes objects of classes of its own behind those it names.
    return type(thing).__name__.lstrip("_")


def _has_own_density(distribution: Any) -> bool:
    """Return whether a class has another density than that of what it transforms."""
    for kind in type(distribution).__mro__:
        if kind.__name__.lstrip("_") in _TRANSFORMED:
            return False
        if {"log_prob", "_log_prob"} & vars(kind).keys():
            return True
    return True


def _require_location(distribution: Any, bijector: Any) -> None:
    """Refuse what stretches and moves a normal: noise below it would be stretched alike."""
    while True:
        if _name(bijector) == "Chain":
            bijector = bijector.bijectors[-1]
        elif _name(bijector) == "Block":
            bijector = bijector.bijector
        else:
            break
    if _name(bijector).startswith(_AFFINE):
        raise ConfigError(
            f"distribution={_name(distribution)} gets its location from {_name(bijector)}, which "
            "would stretch the noise as well; give mean and deviation to the normal itself, and "
            "stretch actions outside the policy"
        )


def _shifted(
    log_prob: Callable[[Array], Array], action: Array, alpha: float | Array, key: Array
) -> Array:
    """Return log p(a − z; μ) = log p(a; μ + z)."""
    if _is_zero(alpha):
        return log_prob(action)
    action = jnp.asarray(action)
    # In float32 and then rounded: bfloat16 itself has few values.
    precise = jnp.promote_types(action.dtype, jnp.float32)
    unit = jax.random.uniform(key, action.shape, precise, minval=-1.0, maxval=1.0)
    return log_prob(action - (alpha * unit).astype(action.dtype))
