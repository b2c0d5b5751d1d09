"""Means over the rows of a batch that count."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def masked_means(
    rows: dict[str, Float[Array, " B"]], valid: Bool[Array, " B"]
) -> dict[str, Float[Array, ""]]:
    """Mean of each quantity over the valid rows, all in one product; 0 where there are none."""
    stacked = jnp.stack(list(rows.values()))
    weights = valid.astype(stacked.dtype) / _count(valid, stacked)
    means = jnp.where(valid[None], stacked, 0.0) @ weights
    return dict(zip(rows, means, strict=True))


def masked_mean(x: Float[Array, " B"], valid: Bool[Array, " B"]) -> Float[Array, ""]:
    """Mean over the valid rows; 0 where there are none."""
    return jnp.where(valid, x, 0.0).sum() / _count(valid, x)


def _count(valid: Bool[Array, " B"], like: Array) -> Float[Array, ""]:
    return jnp.maximum(valid.sum(), 1).astype(like.dtype)
