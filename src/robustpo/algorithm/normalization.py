"""Running moments of observations and returns, updated step by step.

Increments to a mean over millions of samples are smaller than the last bit of a float32, so both
moments carry the part that rounding would lose (Kahan summation).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32

PRIOR_COUNT = 1e-4
EPSILON = 1e-8
CLIP = 10.0
# Counts stop here: the last float32, in which policy files keep them, that an int32 can hold. The
# weight of a sample is 5e-10 by then and hardly shrinks any further.
MAX_SAMPLES = 2**31 - 128


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RunningMoments:
    """Mean and variance of all samples so far, with a prior N(m, 1) of weight `PRIOR_COUNT`.

    For observations the prior's mean m is that of the first samples: with 0 it would add
    `PRIOR_COUNT m²/n` to their variance, which drowns what lies far from zero. For returns it is 0,
    as in the published experiments, and small beside a variance that grows with m² as well.

    Attributes:
        mean: `[O]`, or a scalar for returns; 0 before the first sample.
        variance: population variance (ddof 0), same shape.
        mean_lost: what rounding has taken from `mean` so far.
        variance_lost: what rounding has taken from `variance` so far.
        count: number of samples, at most `MAX_SAMPLES`.
    """

    mean: Float32[Array, "*O"]
    variance: Float32[Array, "*O"]
    mean_lost: Float32[Array, "*O"]
    variance_lost: Float32[Array, "*O"]
    count: Int32[Array, ""]

    @classmethod
    def create(cls, size: tuple[int, ...] = ()) -> RunningMoments:
        """Return what there is before any sample: mean 0, variance 1."""
        zero, one = np.zeros(size, np.float32), np.ones(size, np.float32)
        arrays: Any = (zero, one, zero, zero, np.zeros((), np.int32))
        return cls(*map(jnp.asarray, arrays))

    def update(self, x: Float32[Array, "E *O"]) -> RunningMoments:
        """Take in the samples of one step; the first ones are where the mean starts."""
        mean = x.mean(0)
        started = replace(self, mean=jnp.where(self.count == 0, mean, self.mean))
        return started._merge(mean, ((x - mean[None]) ** 2).mean(0), jnp.int32(len(x)))

    def update_valid(self, x: Float32[Array, "E *O"], valid: Bool[Array, " E"]) -> RunningMoments:
        """Take in the samples of one step, leaving out those that are not valid."""
        mask = valid.reshape(valid.shape + (1,) * (x.ndim - 1))
        added = valid.sum(dtype=jnp.int32)
        divisor = jnp.maximum(added, 1).astype(jnp.float32)
        mean = jnp.where(mask, x, 0.0).sum(0) / divisor
        variance = jnp.where(mask, (x - mean[None]) ** 2, 0.0).sum(0) / divisor
        return self._merge(mean, variance, added)

    def _merge(self, mean: Array, variance: Array, added: Array) -> RunningMoments:
        """Merge the moments of `added` samples (Chan, Golub & LeVeque 1983, as increments)."""
        before = self.count.astype(jnp.float32) + PRIOR_COUNT
        full = self.count > MAX_SAMPLES - added
        count = jnp.where(full, MAX_SAMPLES, self.count + added)
        after = count.astype(jnp.float32) + PRIOR_COUNT
        weight = added.astype(jnp.float32) / after
        delta = mean - self.mean
        grown = variance - self.variance + delta**2 * (before / after)
        new_mean, mean_lost = _add(self.mean, delta * weight, self.mean_lost)
        new_variance, variance_lost = _add(self.variance, grown * weight, self.variance_lost)
        return RunningMoments(new_mean, new_variance, mean_lost, variance_lost, count)


def _add(total: Array, increment: Array, lost: Array) -> tuple[Array, Array]:
    """Add with Kahan's compensation; return the sum and what was lost to rounding."""
    wanted = increment - lost
    result = total + wanted
    return result, (result - total) - wanted


def normalize_observation(
    obs: Float32[Array, "*B O"], moments: RunningMoments
) -> Float32[Array, "*B O"]:
    """Return `(o − mean)/√(variance + ε)`, clipped to ±10."""
    mean = jax.lax.broadcast_to_rank(moments.mean, obs.ndim)
    factor = jax.lax.rsqrt(moments.variance + EPSILON)
    scaled = (obs - mean) * jax.lax.broadcast_to_rank(factor, obs.ndim)
    return jnp.clip(scaled, -CLIP, CLIP)


def observation_offset(moments: RunningMoments) -> Float32[Array, "*O"]:
    """Return mean over standard deviation, by which normalised observations lie off zero."""
    return moments.mean * jax.lax.rsqrt(moments.variance + EPSILON)


def normalize_reward(
    reward: Float32[Array, "*B"], return_moments: RunningMoments
) -> Float32[Array, "*B"]:
    """Return `r/√(variance of the discounted return + ε)`, clipped to ±10; the mean is kept."""
    scaled = reward * jax.lax.rsqrt(return_moments.variance + EPSILON)
    return jnp.clip(scaled, -CLIP, CLIP)
