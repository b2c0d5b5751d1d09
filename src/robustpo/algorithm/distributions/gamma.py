"""Gamma functions and gamma variates for arguments of at least 1, quick to differentiate."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from robustpo.algorithm.distributions.location_scale import HALF_LOG_2PI

# Stirling's series is exact to float32 from here on.
_STIRLING_FROM = 6


def log_gamma(x: Array) -> Array:
    """Return `log Γ(x)` for x ≥ 1: Stirling's series at x + 5, stepped back.

    Differentiating it costs a few products; the general functions of JAX made the update with a
    Beta policy five times dearer.
    """
    shift = _STIRLING_FROM - 1
    steps = x
    for i in range(1, shift):
        steps = steps * (x + i)
    z = x + shift
    inverse = 1 / z
    series = inverse * (1 / 12 - inverse**2 * (1 / 360 - inverse**2 / 1260))
    return (z - 0.5) * jnp.log(z) - z + HALF_LOG_2PI + series - jnp.log(steps)


def digamma(x: Array) -> Array:
    """Return `ψ(x) = d log Γ(x)/dx` for x ≥ 1, like `log_gamma`."""
    shift = _STIRLING_FROM - 1
    stepped = sum(1 / (x + i) for i in range(shift))
    z = x + shift
    inverse = 1 / z
    square = inverse**2
    return (
        jnp.log(z) - 0.5 * inverse - square * (1 / 12 - square * (1 / 120 - square / 252)) - stepped
    )


def betaln(a: Array, b: Array) -> Array:
    """Return `log B(a, b)` for a, b ≥ 1."""
    return log_gamma(a) + log_gamma(b) - log_gamma(a + b)


def gamma_variate(concentration: Array, proposals: Array) -> Array:
    """Return gamma variates of concentration at least 1, scale 1 (Marsaglia and Tsang 2000).

    Args:
        concentration: `[*B]`, at least 1.
        proposals: standard normals and log-uniforms, `[*B, 2, K]`; the first accepted one counts.
    """
    normal, log_uniform = proposals[..., 0, :], proposals[..., 1, :]
    d = (concentration - 1 / 3)[..., None]
    v = (1 + normal / jnp.sqrt(9 * d)) ** 3
    # A cube that is not positive is refused; its logarithm is never looked at.
    safe = jnp.where(v > 0, v, 1.0)
    bound = 0.5 * normal**2 + d * (1 - safe + jnp.log(safe))
    accepted = (v > 0) & (log_uniform < bound)
    first = jnp.argmax(accepted, axis=-1, keepdims=True)
    chosen = jnp.take_along_axis(safe, first, axis=-1)
    return (d * jnp.where(accepted.any(-1, keepdims=True), chosen, 1.0))[..., 0]
