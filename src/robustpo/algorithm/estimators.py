"""Estimators of the perturbed policy's log-density: which part of the method does the work?

Each is a function `(policy, action, coefficients, shape, *, key) -> [K, B]`: log-densities whose
clipped losses are averaged over `K`. To add one, enter it in `ESTIMATORS`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float32

from robustpo.algorithm.distributions import ActionDistribution, Gaussian, TanhGaussian
from robustpo.algorithm.distributions.location_scale import HALF_LOG_2PI, LOG_2
from robustpo.algorithm.experience import Coefficients
from robustpo.algorithm.perturbation import NOISES, noise_scale, perturb
from robustpo.shape import Shape

# Where the closed form would cancel, the mixture is integrated: eight Gauss–Legendre nodes are
# exact to float32 as long as the exponent does not reach further than this.
_MAX_HALF_WIDTH, _MAX_EXPONENT = 2.0, 6.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def sampled(
    policy: ActionDistribution,
    action: Float32[Array, "B A"],
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
) -> Float32[Array, "1 B"]:
    """Return the log-density under one draw, `log π(a | μ + z)` (paper, Algorithm 1, line 15)."""
    perturbed = perturb(policy, coefficients, key=key, noise=shape.update_noise)
    return perturbed.log_prob(action)[None]


def sampled_k(
    policy: ActionDistribution,
    action: Float32[Array, "B A"],
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
) -> Float32[Array, "K B"]:
    """Return the log-densities under `num_draws` independent draws."""
    draws = (shape.num_draws,)
    perturbed = perturb(policy, coefficients, key=key, noise=shape.update_noise, draws=draws)
    log_prob = perturbed.log_prob(action)
    return jnp.broadcast_to(log_prob, (*draws, *action.shape[:-1]))


def marginal(
    policy: ActionDistribution,
    action: Float32[Array, "B A"],
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
) -> Float32[Array, "1 B"]:
    """Return the log-density of the mixture `E_z π(a | μ + z)` (paper, eq. 5), nothing drawn."""
    del key
    base = _gaussian(policy)
    unit = noise_scale(policy, coefficients)
    alpha = coefficients.alpha * unit
    centre = base.shift(coefficients.noise_location * unit)
    if shape.update_noise == "gaussian":
        variance = jnp.exp(2 * base.log_scale) + alpha**2
        density = Gaussian(centre.location, 0.5 * jnp.log(variance)).log_prob(action)
    else:
        to_scale = jnp.exp(-base.log_scale)
        x = (action - centre.location) * to_scale
        density = (log_smoothed_normal(x, alpha * to_scale) - base.log_scale).sum(-1)
    return (density + _log_jacobian(policy, action))[None]


def expected(
    policy: ActionDistribution,
    action: Float32[Array, "B A"],
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
) -> Float32[Array, "1 B"]:
    """Return `E_z log π(a | μ + z)`, for uniform noise `log π − Σ α²/(6σ²)` (paper, eq. 13).

    For any noise of mean m and variance v it is `log π(a | μ + m) − Σ v/(2σ²)`.
    """
    del key
    family, base = NOISES[shape.update_noise], _gaussian(policy)
    unit = noise_scale(policy, coefficients)
    alpha = coefficients.alpha * unit
    centre = base.shift(coefficients.noise_location * unit + alpha * family.mean)
    penalty = 0.5 * family.variance * (alpha * jnp.exp(-base.log_scale)) ** 2
    per_row = jnp.broadcast_to(penalty, action.shape).sum(-1)
    return (centre.log_prob(action) - per_row + _log_jacobian(policy, action))[None]


ESTIMATORS: dict[str, Callable[..., Array]] = {
    "sampled": sampled,
    "sampled-k": sampled_k,
    "marginal": marginal,
    "expected": expected,
}


def log_smoothed_normal(x: Array, half_width: Array) -> Array:
    """Return the log-density at x of a standard normal plus `U(−h, h)`.

    It is `log[Φ(x+h) − Φ(x−h)] − log 2h`. Where that would cancel, it is
    `log φ(x) + log ½∫₋₁¹ exp(−xht − h²t²/2) dt`, which is also defined at h = 0. Values are good to
    float32 however far x lies in the tails; slopes up to some hundred deviations.
    """
    x, h = jnp.broadcast_arrays(x, half_width)
    near = (h <= _MAX_HALF_WIDTH) & (jnp.abs(x) * h <= _MAX_EXPONENT)
    # Both are computed everywhere; each sees harmless numbers where the other counts, so that no
    # gradient is lost in something infinite.
    x_near, h_near = jnp.where(near, x, 0.0), jnp.where(near, h, 0.0)
    reach = h_near[..., None] * jnp.asarray(_NODES, x.dtype)
    mean = jnp.exp(-x_near[..., None] * reach - 0.5 * reach**2) @ jnp.asarray(
        0.5 * _WEIGHTS, x.dtype
    )
    by_quadrature = jnp.log(mean) - 0.5 * x_near**2 - HALF_LOG_2PI
    y, h_far = jnp.where(near, 0.0, jnp.abs(x)), jnp.where(near, _MAX_HALF_WIDTH, h)
    upper, lower = log_ndtr(h_far - y), log_ndtr(-h_far - y)
    # Never closer than log Φ(−2)/Φ(2) in this branch, whatever rounding makes of it very far out.
    gap = jnp.minimum(lower - upper, -3.5)
    by_tails = upper + jnp.log1p(-jnp.exp(gap)) - jnp.log(h_far) - LOG_2
    return jnp.where(near, by_quadrature, by_tails)


def _gaussian(policy: ActionDistribution) -> Gaussian:
    base = policy.base if isinstance(policy, TanhGaussian) else policy
    assert isinstance(base, Gaussian), "the shape refuses closed forms of other distributions"
    return base


def _log_jacobian(policy: ActionDistribution, action: Array) -> Array | float:
    if not isinstance(policy, TanhGaussian):
        return 0.0
    return policy.log_prob(action) - policy.base.log_prob(action)
