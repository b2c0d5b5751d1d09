"""Action distributions of a policy: sample, log-density, entropy, mode, and a shifted location.

A distribution is a pytree built from what the networks put out. To add one, write a class with
these six members and enter it in `DISTRIBUTIONS`.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32


class ActionDistribution(abc.ABC):
    """Independent distributions over the `A` dimensions of an action."""

    @abc.abstractmethod
    def __init__(self, location: Array, log_scale: Array) -> None:
        """Build from what the networks put out."""

    @classmethod
    @abc.abstractmethod
    def noise(cls, shape: tuple[int, ...], *, key: Array) -> Array:
        """Draw the standard noise that `sample` turns into actions, for a whole rollout at once."""

    @abc.abstractmethod
    def sample(self, noise: Array) -> Float32[Array, "*B A"]:
        """Turn standard noise into an action."""

    @abc.abstractmethod
    def mode(self) -> Float32[Array, "*B A"]:
        """Return the deterministic action."""

    @abc.abstractmethod
    def log_prob(self, action: Float32[Array, "*B A"]) -> Float32[Array, "*B"]:
        """Return the log-density of an action, summed over its dimensions."""

    @abc.abstractmethod
    def entropy(self) -> Float32[Array, "*B"]:
        """Return the differential entropy in nats, summed over the dimensions."""

    @abc.abstractmethod
    def std(self) -> Float32[Array, "*B A"]:
        """Return the standard deviation per dimension, in action units."""

    @abc.abstractmethod
    def shift(self, offset: Float32[Array, "*B A"]) -> Self:
        """Return the same distribution with its location moved by `offset`."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gaussian(ActionDistribution):
    """Normal distribution per dimension (paper, eq. 3).

    Attributes:
        location: the mean, `[*B, A]`, in action units.
        log_scale: the log standard deviation, `[A]` or `[*B, A]`.
    """

    location: Float32[Array, "*B A"]
    log_scale: Float32[Array, "*#B A"]

    @classmethod
    def noise(cls, shape: tuple[int, ...], *, key: Array) -> Array:
        """Draw standard normal noise."""
        return jax.random.normal(key, shape)

    def sample(self, noise: Array) -> Float32[Array, "*B A"]:
        """Return `μ + σ ε`."""
        return self.location + jnp.exp(self.log_scale) * noise

    def mode(self) -> Float32[Array, "*B A"]:
        """Return the mean."""
        return self.location

    def log_prob(self, action: Float32[Array, "*B A"]) -> Float32[Array, "*B"]:
        """Return `Σ −(a−μ)²/(2σ²) − log σ − ½ log 2π` (paper, eq. 18)."""
        standardised = (action - self.location) * jnp.exp(-self.log_scale)
        density = -0.5 * standardised**2 - self.log_scale - 0.5 * math.log(2 * math.pi)
        return density.sum(-1)

    def entropy(self) -> Float32[Array, "*B"]:
        """Return `Σ log σ + ½ log 2πe`."""
        per_dimension = self.log_scale + 0.5 * math.log(2 * math.pi * math.e)
        return jnp.broadcast_to(per_dimension, self.location.shape).sum(-1)

    def std(self) -> Float32[Array, "*B A"]:
        """Return `σ`."""
        return jnp.broadcast_to(jnp.exp(self.log_scale), self.location.shape)

    def shift(self, offset: Float32[Array, "*B A"]) -> Gaussian:
        """Return `N(μ + offset, σ)` (paper, eq. 7)."""
        return Gaussian(self.location + offset, self.log_scale)


DISTRIBUTIONS: dict[str, type[ActionDistribution]] = {"gaussian": Gaussian}
