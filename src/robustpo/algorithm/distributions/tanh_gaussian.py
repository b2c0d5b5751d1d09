"""The tanh-squashed Gaussian policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from robustpo.algorithm.distributions.base import ActionDistribution, as_row
from robustpo.algorithm.distributions.location_scale import LOG_2, Gaussian

# Of a standard normal variable. For the analytic functions here this converges faster than
# Gauss–Hermite quadrature as the scale grows.
_NODES = np.linspace(-5.0, 5.0, 16, dtype=np.float32)
_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TanhGaussian(ActionDistribution):
    """Normal distribution squashed by tanh and stretched onto the bounds of the action.

    Raw actions are those before the squashing, so nothing is inverted; densities and entropies are
    those of `tanh` of them, in (−1, 1). `shift` moves, and `std` measures, what is squashed. The
    deterministic action is the squashed mean, which is the median of the squashed distribution.

    Attributes:
        base: the distribution before the squashing.
    """

    base: Gaussian

    clipped: ClassVar[bool] = False

    @classmethod
    def build(cls, outputs: Array, log_scale: Array) -> TanhGaussian:
        """Take the outputs as locations before the squashing."""
        return cls(Gaussian(outputs, log_scale))

    @classmethod
    def noise(cls, size: tuple[int, ...], *, key: Array) -> Array:
        """Draw standard normal noise."""
        return jax.random.normal(key, size)

    @classmethod
    def execute(cls, raw: Array, low: ArrayLike, high: ArrayLike) -> Array:
        """Squash and stretch; clip what rounding may leave outside."""
        low, high = as_row(low, raw), as_row(high, raw)
        half = 0.5 * (high - low)
        return jnp.clip(low + half * (1 + jnp.tanh(raw)), low, high)

    def sample(self, noise: Array) -> Float[Array, "*B A"]:
        """Return `μ + σ ε`, not yet squashed."""
        return self.base.sample(noise)

    def mode(self) -> Float[Array, "*B A"]:
        """Return `μ`, not yet squashed."""
        return self.base.location

    def log_prob(self, action: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        """Return `log N(u; μ, σ) − Σ log(1 − tanh² u)` for the action `u` before the squashing."""
        return self.base.log_prob(action) - log_tanh_slope(action).sum(-1)

    def entropy(self) -> Float[Array, "*B"]:
        """Return `H[N] + Σ E log(1 − tanh² u)`, the expectation by the trapezoidal rule.

        Its 16 nodes are off by less than 1e-3 nats per dimension for σ up to 2, 0.01 up to 3.
        """
        location = self.base.location[..., None]
        scale, dtype = jnp.exp(self.base.row_log_scale)[..., None], location.dtype
        nodes = location + scale * as_row(jnp.asarray(_NODES, dtype), location)
        slopes = log_tanh_slope(nodes) @ jnp.asarray(_WEIGHTS, dtype)
        return self.base.entropy() + slopes.sum(-1)

    def std(self) -> Float[Array, "*B A"]:
        """Return `σ`, before the squashing."""
        return self.base.std()

    def shift(self, offset: Float[Array, "*B A"]) -> TanhGaussian:
        """Return the distribution of `tanh N(μ + offset, σ)`."""
        return TanhGaussian(self.base.shift(offset))

    def kl(self, other: TanhGaussian) -> Float[Array, "*B"]:
        """Return the divergence before the squashing, which no invertible map changes."""
        return self.base.kl(other.base)


def log_tanh_slope(u: Array) -> Array:
    """Return `log(1 − tanh² u)` as `2(log 2 − u − softplus(−2u))`, stable at any u."""
    return 2 * (LOG_2 - u - jax.nn.softplus(-2 * u))
