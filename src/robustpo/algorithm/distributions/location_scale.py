"""Gaussian, Laplace and Gumbel policies: a location from the actor, a learned scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from robustpo.algorithm.distributions.base import ActionDistribution, as_row

LOG_2 = math.log(2.0)
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
EULER_GAMMA = float(np.euler_gamma)
# exp of more than this would come close to the end of float32's range.
MAX_EXPONENT = 80.0

SelfT = TypeVar("SelfT", bound="LocationScale")


@dataclass(frozen=True)
class LocationScale(ActionDistribution):
    """What the families of one location and one scale per dimension have in common.

    Raw actions are in the environment's units and clipped to its bounds. The location is the mode.

    Attributes:
        location: `[*B, A]`, in action units.
        log_scale: the log of the scale, `[A]` or `[*B, A]`.
    """

    location: Float[Array, "*B A"]
    log_scale: Float[Array, "*#B A"]

    @property
    def row_log_scale(self) -> Float[Array, "*#B A"]:
        """The log scale with the rank of the location."""
        return as_row(self.log_scale, self.location)

    @classmethod
    def build(cls: type[SelfT], outputs: Array, log_scale: Array) -> SelfT:
        """Take the outputs as locations."""
        return cls(outputs, log_scale)

    @classmethod
    def execute(cls, raw: Array, low: ArrayLike, high: ArrayLike) -> Array:
        """Clip to the bounds."""
        return jnp.clip(raw, as_row(low, raw), as_row(high, raw))

    def sample(self, noise: Array) -> Float[Array, "*B A"]:
        """Return `location + scale · ε`."""
        return self.location + jnp.exp(self.row_log_scale) * noise

    def mode(self) -> Float[Array, "*B A"]:
        """Return the location."""
        return self.location

    def shift(self: SelfT, offset: Float[Array, "*B A"]) -> SelfT:
        """Return the same family at `location + offset` (paper, eq. 7)."""
        return type(self)(as_row(self.location, offset) + offset, self.log_scale)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gaussian(LocationScale):
    """Normal distribution per dimension (paper, eq. 3). Its mode is its mean.

    Attributes:
        location: the mean, `[*B, A]`, in action units.
        log_scale: the log standard deviation, `[A]` or `[*B, A]`.
    """

    @classmethod
    def noise(cls, size: tuple[int, ...], *, key: Array) -> Array:
        """Draw standard normal noise."""
        return jax.random.normal(key, size)

    def log_prob(self, action: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        """Return `Σ −(a−μ)²/(2σ²) − log σ − ½ log 2π` (paper, eq. 18)."""
        standardised = (action - self.location) * jnp.exp(-self.row_log_scale)
        density = -0.5 * standardised**2 - self.row_log_scale - HALF_LOG_2PI
        return density.sum(-1)

    def entropy(self) -> Float[Array, "*B"]:
        """Return `Σ log σ + ½ log 2πe`."""
        per_dimension = self.log_scale + 0.5 * math.log(2 * math.pi * math.e)
        return jnp.broadcast_to(per_dimension, self.location.shape).sum(-1)

    def std(self) -> Float[Array, "*B A"]:
        """Return `σ`."""
        return jnp.broadcast_to(jnp.exp(self.log_scale), self.location.shape)

    def kl(self, other: Gaussian) -> Float[Array, "*B"]:
        """Return `Σ log(σ′/σ) + (σ² + (μ−μ′)²)/(2σ′²) − ½`."""
        ratio = self.row_log_scale - other.row_log_scale
        distance = (self.location - other.location) * jnp.exp(-other.row_log_scale)
        return (-ratio + 0.5 * (jnp.expm1(2 * ratio) + distance**2)).sum(-1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Laplace(LocationScale):
    """Laplace distribution per dimension (paper, section 6.3). Its mode is its mean.

    Attributes:
        location: the mean, `[*B, A]`, in action units.
        log_scale: the log of the scale `b`, `[A]` or `[*B, A]`; the standard deviation is `√2 b`.
    """

    @classmethod
    def noise(cls, size: tuple[int, ...], *, key: Array) -> Array:
        """Draw standard Laplace noise."""
        return jax.random.laplace(key, size)

    def log_prob(self, action: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        """Return `Σ −|a−μ|/b − log 2b`."""
        distance = jnp.abs(action - self.location) * jnp.exp(-self.row_log_scale)
        return (-distance - self.row_log_scale - LOG_2).sum(-1)

    def entropy(self) -> Float[Array, "*B"]:
        """Return `Σ 1 + log 2b`."""
        return jnp.broadcast_to(1 + LOG_2 + self.log_scale, self.location.shape).sum(-1)

    def std(self) -> Float[Array, "*B A"]:
        """Return `√2 b`."""
        return jnp.broadcast_to(math.sqrt(2) * jnp.exp(self.log_scale), self.location.shape)

    def kl(self, other: Laplace) -> Float[Array, "*B"]:
        """Return `Σ log(b′/b) + |μ−μ′|/b′ + (b/b′) exp(−|μ−μ′|/b) − 1`."""
        ratio = self.row_log_scale - other.row_log_scale
        distance = jnp.abs(self.location - other.location)
        near = jnp.exp(ratio - distance * jnp.exp(-self.row_log_scale))
        return (-ratio + distance * jnp.exp(-other.row_log_scale) + near - 1).sum(-1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gumbel(LocationScale):
    """Gumbel distribution (of maxima) per dimension (paper, section 6.3). Its mode is `μ`.

    It is skewed: its mean is `μ + γβ` with Euler's constant γ, so acting by the mode differs from
    acting by the mean.

    Attributes:
        location: the mode, `[*B, A]`, in action units.
        log_scale: the log of the scale `β`, `[A]` or `[*B, A]`; the standard deviation is `πβ/√6`.
    """

    @classmethod
    def noise(cls, size: tuple[int, ...], *, key: Array) -> Array:
        """Draw standard Gumbel noise."""
        return jax.random.gumbel(key, size)

    def log_prob(self, action: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        """Return `Σ −x − exp(−x) − log β` at `x = (a−μ)/β`; far below the mode exp is capped."""
        x = (action - self.location) * jnp.exp(-self.row_log_scale)
        return (-x - jnp.exp(jnp.minimum(-x, MAX_EXPONENT)) - self.row_log_scale).sum(-1)

    def entropy(self) -> Float[Array, "*B"]:
        """Return `Σ log β + γ + 1`."""
        return jnp.broadcast_to(self.log_scale + EULER_GAMMA + 1, self.location.shape).sum(-1)

    def std(self) -> Float[Array, "*B A"]:
        """Return `πβ/√6`."""
        return jnp.broadcast_to(
            math.pi / math.sqrt(6) * jnp.exp(self.log_scale), self.location.shape
        )

    def kl(self, other: Gumbel) -> Float[Array, "*B"]:
        """Return `Σ log(β′/β) + γ(β/β′ − 1) + d + exp(−d) Γ(1 + β/β′) − 1`, `d = (μ−μ′)/β′`."""
        log_ratio = self.row_log_scale - other.row_log_scale
        ratio = jnp.exp(log_ratio)
        distance = (self.location - other.location) * jnp.exp(-other.row_log_scale)
        tail = jnp.exp(jnp.minimum(gammaln(1 + ratio) - distance, MAX_EXPONENT))
        return (-log_ratio + EULER_GAMMA * (ratio - 1) + distance + tail - 1).sum(-1)
