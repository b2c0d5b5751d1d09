"""Estimators of the perturbed policy's log-density: which part of the method does the work?

To add one, write an `Estimator` and name it in `robustpo.base.registry`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from robustpo.algorithm.distributions import ActionDistribution, Gaussian, TanhGaussian
from robustpo.algorithm.experience import Coefficients
from robustpo.algorithm.perturbation import noise_scale, perturb
from robustpo.base.registry import NOISES
from robustpo.config.shape import Shape


@dataclass(frozen=True)
class Estimator:
    """A way to estimate the perturbed policy's log-density.

    Attributes:
        log_prob: `(policy, action, coefficients, shape, *, key) -> [K, B]`: log-densities whose
            clipped losses are averaged over `K`.
        needs: attributes that the noise on the location needs, such as `smoothed`, for a closed
            form; what needs any is for Gaussian policies alone.
    """

    log_prob: Callable[..., Array]
    needs: tuple[str, ...] = ()


def sampled(
    policy: ActionDistribution,
    action: Float[Array, "B A"],
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
) -> Float[Array, "1 B"]:
    """Return the log-density under one draw, `log π(a | μ + z)` (paper, Algorithm 1, line 15)."""
    perturbed = perturb(policy, coefficients, key=key, noise=shape.update_noise)
    return perturbed.log_prob(action)[None]


def sampled_k(
    policy: ActionDistribution,
    action: Float[Array, "B A"],
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
) -> Float[Array, "K B"]:
    """Return the log-densities under `num_draws` independent draws."""
    draws = (shape.num_draws,)
    perturbed = perturb(policy, coefficients, key=key, noise=shape.update_noise, draws=draws)
    log_prob = perturbed.log_prob(jnp.broadcast_to(action, jnp.shape(perturbed.mode())))
    return jnp.broadcast_to(log_prob, (*draws, *action.shape[:-1]))


def marginal(
    policy: ActionDistribution,
    action: Float[Array, "B A"],
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
) -> Float[Array, "1 B"]:
    """Return the log-density of the mixture `E_z π(a | μ + z)` (paper, eq. 5), nothing drawn."""
    del key
    base = _gaussian(policy)
    unit = noise_scale(policy, coefficients)
    alpha = coefficients.alpha * unit
    centre = base.shift(coefficients.noise_location * unit)
    density = NOISES[shape.update_noise].smoothed(centre, action, alpha)
    return (density + _log_jacobian(policy, action))[None]


def expected(
    policy: ActionDistribution,
    action: Float[Array, "B A"],
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
) -> Float[Array, "1 B"]:
    """Return `E_z log π(a | μ + z)`, for uniform noise `log π − Σ α²/(6σ²)` (paper, eq. 13).

    For any noise of mean m and variance v it is `log π(a | μ + m) − Σ v/(2σ²)`.
    """
    del key
    family, base = NOISES[shape.update_noise], _gaussian(policy)
    unit = noise_scale(policy, coefficients)
    alpha = coefficients.alpha * unit
    centre = base.shift(coefficients.noise_location * unit + alpha * family.mean)
    penalty = 0.5 * family.variance * (alpha * jnp.exp(-base.row_log_scale)) ** 2
    as_row = jnp.broadcast_to(penalty, action.shape).sum(-1)
    return (centre.log_prob(action) - as_row + _log_jacobian(policy, action))[None]


SAMPLED = Estimator(sampled)
SAMPLED_K = Estimator(sampled_k)
MARGINAL = Estimator(marginal, needs=("smoothed",))
EXPECTED = Estimator(expected, needs=("mean", "variance"))


def _gaussian(policy: ActionDistribution) -> Gaussian:
    base = policy.base if isinstance(policy, TanhGaussian) else policy
    assert isinstance(base, Gaussian), "the shape refuses closed forms of other distributions"
    return base


def _log_jacobian(policy: ActionDistribution, action: Array) -> Array | float:
    if not isinstance(policy, TanhGaussian):
        return 0.0
    return policy.log_prob(action) - policy.base.log_prob(action)
