"""What an action distribution is."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Self

from jax.typing import ArrayLike
from jaxtyping import Array, Float32


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
    def build(cls, outputs: Array, log_scale: Array) -> Self:
        """Build from what the actor puts out, `[*B, N·A]`, and the log scale, `[A]` or `[0]`."""

    @classmethod
    @abc.abstractmethod
    def noise(cls, shape: tuple[int, ...], *, key: Array) -> Array:
        """Draw the standard noise that `sample` turns into actions, for a whole rollout at once.

        It may have more axes after those of `shape`.
        """

    @classmethod
    @abc.abstractmethod
    def execute(cls, raw: Array, low: ArrayLike, high: ArrayLike) -> Array:
        """Turn raw actions into actions inside the environment's bounds."""

    @abc.abstractmethod
    def sample(self, noise: Array) -> Float32[Array, "*B A"]:
        """Turn standard noise into a raw action."""

    @abc.abstractmethod
    def mode(self) -> Float32[Array, "*B A"]:
        """Return the deterministic raw action."""

    @abc.abstractmethod
    def log_prob(self, action: Float32[Array, "*B A"]) -> Float32[Array, "*B"]:
        """Return the log-density of a raw action, summed over its dimensions."""

    @abc.abstractmethod
    def entropy(self) -> Float32[Array, "*B"]:
        """Return the differential entropy in nats, summed over the dimensions."""

    @abc.abstractmethod
    def std(self) -> Float32[Array, "*B A"]:
        """Return the standard deviation per dimension of what `shift` moves."""

    @abc.abstractmethod
    def shift(self, offset: Float32[Array, "*B A"]) -> Self:
        """Return the same distribution with its location moved by `offset`."""

    @abc.abstractmethod
    def kl(self, other: Any) -> Float32[Array, "*B"]:
        """Return the divergence `KL(self ‖ other)` in nats, summed; `other` is of its class."""
