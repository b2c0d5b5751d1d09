"""The loss along random directions, filter-normalised (Li et al. 2018, arXiv 1712.09913)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64

from robustpo.algorithm.networks import AgentParams, Dense
from robustpo.config.shape import Shape
from robustpo.errors import ConfigError
from robustpo.theory.agents import Snapshot
from robustpo.theory.losses import (
    Rows,
    at_common_sigma,
    likelihood_loss,
    prepare,
    surrogate_loss,
)

DISTANCES = tuple(float(x) for x in np.linspace(-1, 1, 41))
PROFILES = ("surrogate", "likelihood", "common_likelihood")


@dataclass(frozen=True)
class Profile:
    """Losses of one policy along random directions, less their value at the centre.

    Attributes:
        method: `ppo` or `rpo`.
        seed: of the agent.
        distances: in lengths of each filter's own weights.
        surrogate: mean over the directions.
        likelihood: of `−mean log π`, mean over the directions.
        common_likelihood: the same with σ = 1.
    """

    method: str
    seed: int
    distances: tuple[float, ...]
    surrogate: tuple[float, ...]
    likelihood: tuple[float, ...]
    common_likelihood: tuple[float, ...]


def filter_normalised(params: AgentParams, *, key: Array) -> AgentParams:
    """Draw a Gaussian direction, every filter of it as long as the policy's own.

    A filter is all that enters one unit: a column of a layer's weights with its bias,
    `d_ij ← d_ij ‖θ_ij‖/‖d_ij‖`. The log scale is left out, and so are scale and shift of normalised
    layers: their entries are 0.
    """
    if isinstance(params.actor, dict):
        raise ConfigError("directions are of layers; a network of somebody's own has none")

    def layer(own: Dense, key: Array) -> Dense:
        whole = jnp.concatenate([own.weight, own.bias[None]])
        drawn = jax.random.normal(key, whole.shape, whole.dtype)
        length = jnp.linalg.norm(whole, axis=0) / jnp.linalg.norm(drawn, axis=0)
        still = jax.tree.map(jnp.zeros_like, own)
        return replace(still, weight=length * drawn[:-1], bias=length * drawn[-1])

    keys = jax.random.split(key, len(params.actor))
    actor = tuple(layer(own, k) for own, k in zip(params.actor, keys, strict=True))
    return replace(params, actor=actor, log_std=jnp.zeros_like(params.log_std))


@partial(jax.jit, static_argnames=("shape", "count"))
def losses_along(
    params: AgentParams, rows: Rows, shape: Shape, *, key: Array, count: int
) -> Float64[Array, "3 N"]:
    """Return the `PROFILES` over the `DISTANCES`, means over random directions."""
    common, common_rows = at_common_sigma(params, rows, shape)

    def losses(direction: AgentParams, distance: Array) -> Array:
        moved = jax.tree.map(lambda x, d: x + distance * d, params, direction)
        broad = replace(moved, log_std=common.log_std)
        return jnp.stack(
            [
                surrogate_loss(moved, rows, shape),
                likelihood_loss(moved, rows, shape),
                likelihood_loss(broad, common_rows, shape),
            ]
        )

    def one_direction(key: Array) -> Array:
        direction = filter_normalised(params, key=key)
        centre = losses(direction, jnp.float64(0.0))
        along = jax.lax.map(lambda distance: losses(direction, distance), jnp.array(DISTANCES))
        return (along - centre).T

    return jax.lax.map(one_direction, jax.random.split(key, count)).mean(0)


def measure_profile(snapshot: Snapshot, shape: Shape, *, key: Array, count: int) -> Profile:
    """Measure one policy's losses along `count` directions of its own."""
    params, rows = prepare(snapshot, shape)
    found = np.asarray(losses_along(params, rows, shape, key=key, count=count))
    curves = {name: tuple(curve.tolist()) for name, curve in zip(PROFILES, found, strict=True)}
    return Profile(snapshot.method, snapshot.seed, DISTANCES, **curves)
