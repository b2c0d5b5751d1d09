"""Data augmentation of the paper's baselines: random amplitude scaling, and DrAC's regularisation.

RAD (arXiv 2004.14990) scales what enters the agent, once, in collection; the update sees the same
rows. DrAC (arXiv 2006.12862) leaves collection alone and draws policy and value at scaled
observations towards themselves at the plain ones.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from robustpo.algorithm.distributions import ActionDistribution
from robustpo.algorithm.experience import Batch, Coefficients
from robustpo.algorithm.losses import LossTerm
from robustpo.algorithm.networks import AgentParams, action_distribution, state_value
from robustpo.algorithm.normalization import CLIP
from robustpo.config.shape import Shape


def draw_uniform(size: tuple[int, ...], shape: Shape, *, key: Array) -> Float[Array, "..."]:
    """Draw what becomes factors: in [0, 1), `[*B, 1]` per state or `[*B, O]` per dimension."""
    per_state = shape.augmentation_per == "state"
    return jax.random.uniform(key, (*size[:-1], 1) if per_state else size)


def scale_amplitude(
    obs: Float[Array, "*B O"],
    drawn: Float[Array, "*B #O"],
    low: Array,
    high: Array,
    offset: Float[Array, "*#B O"] | None,
) -> Float[Array, "*B O"]:
    """Multiply observations by factors c in [low, high) (RAD's random amplitude scaling).

    Args:
        obs: normalised observations, `n = (o − m)/s`.
        drawn: uniform numbers in [0, 1).
        low: smallest factor.
        high: largest factor.
        offset: None scales the normalised observation, `c n`. To scale the one before
            normalisation give `m/s`: `(c o − m)/s = c n + (c − 1) m/s`.
    """
    factor = low + (high - low) * drawn
    if offset is None:
        return factor * obs
    offset = jax.lax.broadcast_to_rank(offset, obs.ndim)
    return jnp.clip(factor * obs + (factor - 1) * offset, -CLIP, CLIP)


def drac_loss(
    params: AgentParams,
    policy: ActionDistribution,
    value: Float[Array, " B"],
    batch: Batch,
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
) -> Float[Array, " B"]:
    """Return `KL(π(s) ‖ π(f(s))) + ½ (V(s) − V(f(s)))²` per row (arXiv 2006.12862, section 3).

    No gradient flows into the outputs at the plain observation. The source's program estimates the
    divergence by the log-density of one sampled action; here it is exact.
    """
    drawn = draw_uniform(batch.obs.shape, shape, key=key)
    offset = batch.obs_offset if shape.augmentation_of == "raw" else None
    scaled = scale_amplitude(
        batch.obs, drawn, coefficients.scale_low, coefficients.scale_high, offset
    )
    target = jax.lax.stop_gradient(policy)
    divergence = target.kl(action_distribution(params, scaled, shape))
    change = jax.lax.stop_gradient(value) - state_value(params, scaled, shape)
    return divergence + 0.5 * change**2


DRAC = LossTerm(drac_loss, metric="drac_loss", weight="drac_coef", diverges=True)
