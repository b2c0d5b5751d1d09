"""Means over the rows of a batch that count."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32


def masked_means(
    rows: dict[str, Float32[Array, " B"]], valid: Bool[Array, " B"]
) -> dict[str, Float32[Array, ""]]:
    """Mean of each quantity over the valid rows, all in one product; 0 where there are none."""
    weights = valid / jnp.maximum(valid.sum(), 1)
    stacked = jnp.where(valid, jnp.stack(list(rows.values())), 0.0)
    means = stacked @ weights.astype(jnp.float32)
    return dict(zip(rows, means, strict=True))


def masked_mean(x: Float32[Array, " B"], valid: Bool[Array, " B"]) -> Float32[Array, ""]:
    """Mean over the valid rows; 0 where there are none."""
    return jnp.where(valid, x, 0.0).sum() / jnp.maximum(valid.sum(), 1)
