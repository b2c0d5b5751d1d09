"""The heart of the method: the noise that shifts the policy's location in the update.

Evaluation, and unless a control asks for it collection, use the plain policy. To add a family,
write a `NoiseFamily` and name it in `robustpo.base.registry`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from robustpo.algorithm.distributions import ActionDistribution, Gaussian
from robustpo.algorithm.distributions.base import as_row
from robustpo.algorithm.distributions.location_scale import EULER_GAMMA
from robustpo.algorithm.experience import Coefficients
from robustpo.algorithm.networks import AgentParams
from robustpo.algorithm.smoothed_normal import smoothed_by_gaussian, smoothed_by_uniform
from robustpo.base.registry import NOISES
from robustpo.errors import ConfigError

PolicyT = TypeVar("PolicyT", bound=ActionDistribution)


@dataclass(frozen=True)
class NoiseFamily:
    """A family of noise `z = noise_location + α ε` (paper, Table 1).

    Attributes:
        draw: draws the standard noise: `(size, *, key) -> ε`, independent everywhere.
        mean: of the standard noise; None where it has none that is known.
        variance: of the standard noise; like the mean it is what the estimator `expected` takes.
        smoothed: the log-density that the estimator `marginal` takes, of a Gaussian policy plus
            `α ε`: `(policy, action [*B, A], α [] or [*B, A]) -> [*B]`; None for no closed form.
    """

    draw: Callable[..., Array]
    mean: float | None = None
    variance: float | None = None
    smoothed: Callable[[Gaussian, Array, Array], Array] | None = None


def uniform(size: tuple[int, ...], *, key: Array) -> Float[Array, "..."]:
    """Draw `ε ~ U(−1, 1)`, so that `z ~ U(−α, α)` (paper, eq. 4)."""
    return jax.random.uniform(key, size, minval=-1.0, maxval=1.0)


def laplace(size: tuple[int, ...], *, key: Array) -> Float[Array, "..."]:
    """Draw `ε ~ Laplace(0, 1)`, so that `z ~ Laplace(0, b)` with `b = α`."""
    return jax.random.laplace(key, size)


def gumbel(size: tuple[int, ...], *, key: Array) -> Float[Array, "..."]:
    """Draw `ε ~ Gumbel(0, 1)`, so that `z ~ Gumbel(μ, β)`, `β = α`, `μ = noise_location`."""
    return jax.random.gumbel(key, size)


def gumbel_centered(size: tuple[int, ...], *, key: Array) -> Float[Array, "..."]:
    """Draw `ε ~ Gumbel(−γ, 1)`: skewed, but of mean zero."""
    return jax.random.gumbel(key, size) - EULER_GAMMA


def gaussian(size: tuple[int, ...], *, key: Array) -> Float[Array, "..."]:
    """Draw `ε ~ N(0, 1)`, so that `z ~ N(0, α²)`."""
    return jax.random.normal(key, size)


UNIFORM = NoiseFamily(uniform, 0.0, 1 / 3, smoothed_by_uniform)
LAPLACE = NoiseFamily(laplace, 0.0, 2.0)
GUMBEL = NoiseFamily(gumbel, EULER_GAMMA, math.pi**2 / 6)
GUMBEL_CENTERED = NoiseFamily(gumbel_centered, 0.0, math.pi**2 / 6)
GAUSSIAN = NoiseFamily(gaussian, 0.0, 1.0, smoothed_by_gaussian)


def draw_noise(noise: str, size: tuple[int, ...], *, key: Array) -> Float[Array, "..."]:
    """Draw the standard noise of a family.

    Raises:
        ConfigError: if what a family of one's own draws has another shape: it would be spread over
            rows or dimensions, which are to have noise of their own.
    """
    standard = NOISES[noise].draw(size, key=key)
    if jnp.shape(standard) != size:
        raise ConfigError(
            f"noise {noise!r} drew an array of shape {jnp.shape(standard)} where {size} was asked "
            "for; return one number for each place of size"
        )
    return standard


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
    return shift_by(policy, draw_noise(noise, size, key=key), coefficients)


def shift_by(
    policy: PolicyT, standard: Float[Array, "*K *B A"], coefficients: Coefficients
) -> PolicyT:
    """Shift the location by `z = noise_location + α ε`, given the standard noise ε."""
    z = coefficients.noise_location + coefficients.alpha * standard
    return policy.shift(z * as_row(noise_scale(policy, coefficients), z))


def perturb_parameters(
    params: AgentParams, coefficients: Coefficients, *, key: Array, noise: str
) -> AgentParams:
    """Move every parameter by noise of its own, `θ + z` (paper, eq. 33)."""
    vector, unravel = ravel_pytree(params)
    standard = draw_noise(noise, vector.shape, key=key)
    return unravel(vector + coefficients.noise_location + coefficients.alpha * standard)
