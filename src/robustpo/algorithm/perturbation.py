"""The heart of the method: the noise that shifts the policy's location in the update.

Evaluation, and unless a control asks for it collection, use the plain policy. To add a family,
write a function that draws its standard noise and enter it, with its moments, in `NOISES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float32

from robustpo.algorithm.distributions import ActionDistribution
from robustpo.algorithm.distributions.location_scale import EULER_GAMMA
from robustpo.algorithm.experience import Coefficients
from robustpo.algorithm.networks import AgentParams

PolicyT = TypeVar("PolicyT", bound=ActionDistribution)


@dataclass(frozen=True)
class NoiseFamily:
    """A family of noise `z = noise_location + α ε` (paper, Table 1).

    Attributes:
        draw: draws the standard noise `ε` of a shape.
        mean: of the standard noise.
        variance: of the standard noise.
    """

    draw: Callable[..., Array]
    mean: float
    variance: float


def uniform(shape: tuple[int, ...], *, key: Array) -> Float32[Array, "..."]:
    """Draw `ε ~ U(−1, 1)`, so that `z ~ U(−α, α)` (paper, eq. 4)."""
    return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)


def laplace(shape: tuple[int, ...], *, key: Array) -> Float32[Array, "..."]:
    """Draw `ε ~ Laplace(0, 1)`, so that `z ~ Laplace(0, b)` with `b = α`."""
    return jax.random.laplace(key, shape)


def gumbel(shape: tuple[int, ...], *, key: Array) -> Float32[Array, "..."]:
    """Draw `ε ~ Gumbel(0, 1)`, so that `z ~ Gumbel(μ, β)`, `β = α`, `μ = noise_location`."""
    return jax.random.gumbel(key, shape)


def gumbel_centered(shape: tuple[int, ...], *, key: Array) -> Float32[Array, "..."]:
    """Draw `ε ~ Gumbel(−γ, 1)`: skewed, but of mean zero."""
    return jax.random.gumbel(key, shape) - EULER_GAMMA


def gaussian(shape: tuple[int, ...], *, key: Array) -> Float32[Array, "..."]:
    """Draw `ε ~ N(0, 1)`, so that `z ~ N(0, α²)`."""
    return jax.random.normal(key, shape)


NOISES: dict[str, NoiseFamily] = {
    "uniform": NoiseFamily(uniform, 0.0, 1 / 3),
    "laplace": NoiseFamily(laplace, 0.0, 2.0),
    "gumbel": NoiseFamily(gumbel, EULER_GAMMA, math.pi**2 / 6),
    "gumbel-centered": NoiseFamily(gumbel_centered, 0.0, math.pi**2 / 6),
    "gaussian": NoiseFamily(gaussian, 0.0, 1.0),
}


def noise_scale(policy: ActionDistribution, coefficients: Coefficients) -> Array:
    """Return what one unit of alpha is, `[*B, A]` or `[]`, in units of the policy's location.

    It is 1, or with `alpha_schedule="std"` the policy's own standard deviation, through which no
    gradient flows: the noise is given, not learned.
    """
    own = jax.lax.stop_gradient(policy.std())
    return jnp.where(coefficients.alpha_relative, own, 1.0)


def perturb(
    policy: PolicyT,
    coefficients: Coefficients,
    *,
    key: Array,
    noise: str,
    draws: tuple[int, ...] = (),
) -> PolicyT:
    """Shift the location of a minibatch's policy by fresh noise (paper, Algorithm 1, line 14).

    Args:
        policy: the plain policy of the minibatch, location `[*B, A]`.
        coefficients: magnitude and location of the noise.
        key: a key used for this minibatch only.
        noise: name of the family; `none` returns the policy untouched.
        draws: leading axes of independent draws; the policy returned has `[*draws, *B, A]`.
    """
    if noise == "none":
        return policy
    size = (*draws, *jnp.shape(policy.mode()))
    return shift_by(policy, NOISES[noise].draw(size, key=key), coefficients)


def shift_by(
    policy: PolicyT, standard: Float32[Array, "*K *B A"], coefficients: Coefficients
) -> PolicyT:
    """Shift the location by `z = noise_location + α ε`, given the standard noise ε."""
    z = coefficients.noise_location + coefficients.alpha * standard
    return policy.shift(z * noise_scale(policy, coefficients))


def perturb_parameters(
    params: AgentParams, coefficients: Coefficients, *, key: Array, noise: str
) -> AgentParams:
    """Move every parameter by noise of its own, `θ + z` (paper, eq. 33)."""
    vector, unravel = ravel_pytree(params)
    standard = NOISES[noise].draw(vector.shape, key=key)
    return unravel(vector + coefficients.noise_location + coefficients.alpha * standard)
