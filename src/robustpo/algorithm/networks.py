"""Actor and critic: two separate multi-layer perceptrons and a state-independent scale.

Layers are written for one observation; batching is the caller's `vmap`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "swish": jax.nn.swish,
}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dense:
    """An affine map: `weight` `[I, J]`, `bias` `[J]`."""

    weight: Float32[Array, "I J"]
    bias: Float32[Array, " J"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AgentParams:
    """All that is learned: the layers of actor and critic and the log scale `[A]`."""

    actor: tuple[Dense, ...]
    log_std: Float32[Array, " A"]
    critic: tuple[Dense, ...]


def init_params(
    observation_size: int,
    action_size: int,
    hidden_sizes: tuple[int, ...],
    *,
    rng: np.random.Generator,
) -> AgentParams:
    """Initialise orthogonally: gain √2 in hidden layers, 0.01 at the policy head, 1 at the value.

    Biases and the log standard deviation start at zero. All leaves are NumPy arrays: compiling a
    program for what runs once would take longer than training's first seconds.
    """
    sizes = (observation_size, *hidden_sizes)
    return AgentParams(
        actor=_init_mlp((*sizes, action_size), 0.01, rng),
        log_std=_array(np.zeros(action_size)),
        critic=_init_mlp((*sizes, 1), 1.0, rng),
    )


def _init_mlp(
    sizes: tuple[int, ...], head_gain: float, rng: np.random.Generator
) -> tuple[Dense, ...]:
    gains = [math.sqrt(2)] * (len(sizes) - 2) + [head_gain]
    return tuple(
        Dense(_array(gain * _orthogonal(n_in, n_out, rng)), _array(np.zeros(n_out)))
        for gain, (n_in, n_out) in zip(gains, itertools.pairwise(sizes), strict=True)
    )


def _orthogonal(n_in: int, n_out: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `[I, J]` uniformly among the matrices whose shorter side is orthonormal."""
    tall = rng.standard_normal((max(n_in, n_out), min(n_in, n_out)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))
    return q if n_in >= n_out else q.T


def _array(values: np.ndarray) -> Any:
    return values.astype(np.float32)


def mlp(
    layers: tuple[Dense, ...], x: Float32[Array, "*B I"], activation: str
) -> Float32[Array, "*B J"]:
    """Apply the layers; every layer but the last is followed by the activation."""
    for layer in layers[:-1]:
        x = ACTIVATIONS[activation](x @ layer.weight + layer.bias)
    return x @ layers[-1].weight + layers[-1].bias
