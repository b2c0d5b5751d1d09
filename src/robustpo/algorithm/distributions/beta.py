"""The Beta policy, a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from robustpo.algorithm.distributions.base import ActionDistribution, as_row
from robustpo.algorithm.distributions.gamma import betaln, digamma, gamma_variate

# Keeps the concentrations above 1 where softplus underflows.
BETA_MARGIN = 1e-6
BETA_EDGE = 1e-6
# At the least concentration, 1, a proposal is refused with probability 0.05: all eight at 4e-11.
PROPOSALS = 8


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Beta(ActionDistribution):
    """Beta distribution per dimension on the action's bounds (Chou et al. 2017); a baseline.

    It has no location that could be shifted, so it is not perturbed. Both concentrations come from
    the actor and are above 1, so the density has one peak, its mode.

    Attributes:
        a: concentration towards the upper bound less 1, `[*B, A]`.
        b: concentration towards the lower bound less 1, `[*B, A]`.
    """

    a: Float[Array, "*B A"]
    b: Float[Array, "*B A"]

    outputs_per_action: ClassVar[int] = 2
    has_scale: ClassVar[bool] = False
    clipped: ClassVar[bool] = False

    @classmethod
    def build(cls, outputs: Array, log_scale: Array) -> Beta:
        """Take the softplus of the outputs, first for the upper bounds, then for the lower."""
        del log_scale
        a, b = jnp.split(jax.nn.softplus(outputs), 2, axis=-1)
        return cls(a + BETA_MARGIN, b + BETA_MARGIN)

    @classmethod
    def noise(cls, size: tuple[int, ...], *, key: Array) -> Array:
        """Draw proposals of two gamma variates per dimension: `[*size, 2, 2, K]`."""
        normal_key, uniform_key = jax.random.split(key)
        proposals = (*size, 2, PROPOSALS)
        normal = jax.random.normal(normal_key, proposals)
        tiny = float(jnp.finfo(jnp.float32).tiny)
        uniform = jax.random.uniform(uniform_key, proposals, minval=tiny)
        return jnp.stack([normal, jnp.log(uniform)], axis=-2)

    @classmethod
    def execute(cls, raw: Array, low: ArrayLike, high: ArrayLike) -> Array:
        """Stretch (0, 1) onto the bounds; clip what rounding may leave outside."""
        low, high = as_row(low, raw), as_row(high, raw)
        return jnp.clip(low + (high - low) * raw, low, high)

    def sample(self, noise: Array) -> Float[Array, "*B A"]:
        """Return `X/(X + Y)` of two gamma variates."""
        x = gamma_variate(1 + self.a, noise[..., 0, :, :])
        y = gamma_variate(1 + self.b, noise[..., 1, :, :])
        # Both ends have density 0 here, and its logarithm is not finite.
        return jnp.clip(x / (x + y), BETA_EDGE, 1 - BETA_EDGE)

    def mode(self) -> Float[Array, "*B A"]:
        """Return `(α−1)/(α+β−2)`."""
        return self.a / (self.a + self.b)

    def log_prob(self, action: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        """Return `Σ (α−1) log x + (β−1) log(1−x) − log B(α, β)`."""
        inside = jnp.clip(action, BETA_EDGE, 1 - BETA_EDGE)
        density = self.a * jnp.log(inside) + self.b * jnp.log1p(-inside)
        return (density - betaln(1 + self.a, 1 + self.b)).sum(-1)

    def entropy(self) -> Float[Array, "*B"]:
        """Return `Σ log B(α, β) − (α−1)ψ(α) − (β−1)ψ(β) + (α+β−2)ψ(α+β)`, of x in (0, 1)."""
        a, b = self.a, self.b
        means = a * digamma(1 + a) + b * digamma(1 + b) - (a + b) * digamma(2 + a + b)
        return (betaln(1 + a, 1 + b) - means).sum(-1)

    def std(self) -> Float[Array, "*B A"]:
        """Return `√(αβ/(α+β+1))/(α+β)`, of x in (0, 1)."""
        alpha, beta = 1 + self.a, 1 + self.b
        return jnp.sqrt(alpha * beta / (alpha + beta + 1)) / (alpha + beta)

    def shift(self, offset: Float[Array, "*B A"]) -> Beta:
        """Raise `TypeError`: there is no location."""
        raise TypeError("a Beta distribution has no location to shift; compile with noise='none'")

    def kl(self, other: Beta) -> Float[Array, "*B"]:
        """Return `Σ log B(α′,β′)/B(α,β) + (α−α′)ψ(α) + (β−β′)ψ(β) + (α′+β′−α−β)ψ(α+β)`."""
        a, b = self.a, self.b
        by_a, by_b = a - other.a, b - other.b
        ends = by_a * digamma(1 + a) + by_b * digamma(1 + b)
        both = (by_a + by_b) * digamma(2 + a + b)
        return (betaln(1 + other.a, 1 + other.b) - betaln(1 + a, 1 + b) + ends - both).sum(-1)
