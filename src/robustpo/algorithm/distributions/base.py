"""What an action distribution is."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

SelfT = TypeVar("SelfT", bound="ActionDistribution")


class ActionDistribution(abc.ABC):
    """Independent distributions over the `A` dimensions of an action.

    Attributes:
        outputs_per_action: numbers the actor puts out per dimension of the action.
        has_scale: whether a state-independent log scale `[A]` is learned beside the actor.
        clipped: whether raw actions are in units of the action (`action_scale`) and only clipped to
            its bounds; otherwise they are mapped onto the bounds, which must be finite.
    """

    outputs_per_action: ClassVar[int] = 1
    has_scale: ClassVar[bool] = True
    clipped: ClassVar[bool] = True

    @classmethod
    @abc.abstractmethod
    def build(cls: type[SelfT], outputs: Array, log_scale: Array) -> SelfT:
        """Build from what the actor puts out, `[*B, N·A]`, and the log scale, `[A]` or `[0]`."""

    @classmethod
    @abc.abstractmethod
    def noise(cls, size: tuple[int, ...], *, key: Array) -> Array:
        """Draw the standard noise that `sample` turns into actions, for a whole rollout at once.

        It may have more axes after those of `size`.
        """

    @classmethod
    @abc.abstractmethod
    def execute(cls, raw: Array, low: ArrayLike, high: ArrayLike) -> Array:
        """Turn raw actions into actions inside the environment's bounds."""

    @abc.abstractmethod
    def sample(self, noise: Array) -> Float[Array, "*B A"]:
        """Turn standard noise into a raw action."""

    @abc.abstractmethod
    def mode(self) -> Float[Array, "*B A"]:
        """Return the deterministic raw action."""

    @abc.abstractmethod
    def log_prob(self, action: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        """Return the log-density of a raw action, summed over its dimensions."""

    @abc.abstractmethod
    def entropy(self) -> Float[Array, "*B"]:
        """Return the differential entropy in nats, summed over the dimensions."""

    @abc.abstractmethod
    def std(self) -> Float[Array, "*B A"]:
        """Return the standard deviation per dimension of what `shift` moves."""

    @abc.abstractmethod
    def shift(self: SelfT, offset: Float[Array, "*B A"]) -> SelfT:
        """Return the same distribution with its location moved by `offset`."""

    @abc.abstractmethod
    def kl(self, other: Any) -> Float[Array, "*B"]:
        """Return the divergence `KL(self ‖ other)` in nats, summed; `other` is of its class."""


def as_row(x: ArrayLike, rows: Array) -> Array:
    """Give what is the same in every row, `[A]`, the rank of the rows `[*B, A]`."""
    return jax.lax.broadcast_to_rank(jnp.asarray(x), rows.ndim)
