"""Densities of a Gaussian plus noise, in closed form: what the estimator `marginal` takes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float

from robustpo.algorithm.distributions import Gaussian
from robustpo.algorithm.distributions.base import as_row
from robustpo.algorithm.distributions.location_scale import HALF_LOG_2PI, LOG_2

# Where the closed form would cancel, the mixture is integrated: eight Gauss–Legendre nodes are
# exact to float32 as long as the exponent does not reach further than this.
_MAX_HALF_WIDTH, _MAX_EXPONENT = 2.0, 6.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def smoothed_by_gaussian(
    policy: Gaussian, action: Float[Array, "*B A"], alpha: Array
) -> Float[Array, "*B"]:
    """Return the log-density of `N(μ, σ²)` plus `N(0, α²)`, which is `N(μ, σ² + α²)`."""
    variance = jnp.exp(2 * policy.row_log_scale) + alpha**2
    return Gaussian(policy.location, 0.5 * jnp.log(variance)).log_prob(action)


def smoothed_by_uniform(
    policy: Gaussian, action: Float[Array, "*B A"], alpha: Array
) -> Float[Array, "*B"]:
    """Return the log-density of `N(μ, σ²)` plus `U(−α, α)` (paper, eq. 5)."""
    to_scale = jnp.exp(-policy.row_log_scale)
    x = (action - policy.location) * to_scale
    return (log_smoothed_normal(x, alpha * to_scale) - policy.row_log_scale).sum(-1)


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
    h_near = h_near[..., None]
    reach = h_near * as_row(jnp.asarray(_NODES, x.dtype), h_near)
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
