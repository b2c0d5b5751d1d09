"""Actor and critic: two separate multi-layer perceptrons and a state-independent scale.

Layers are written for one observation; batching is the caller's `vmap`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
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
    observation_size: int, action_size: int, hidden_sizes: tuple[int, ...], *, key: Array
) -> AgentParams:
    """Initialise orthogonally: gain √2 in hidden layers, 0.01 at the policy head, 1 at the value.

    Biases and the log standard deviation start at zero.
    """
    actor_key, critic_key = jax.random.split(key)
    sizes = (observation_size, *hidden_sizes)
    return AgentParams(
        actor=_init_mlp((*sizes, action_size), 0.01, key=actor_key),
        log_std=jnp.zeros(action_size),
        critic=_init_mlp((*sizes, 1), 1.0, key=critic_key),
    )


def _init_mlp(sizes: tuple[int, ...], head_gain: float, *, key: Array) -> tuple[Dense, ...]:
    keys = jax.random.split(key, len(sizes) - 1)
    gains = [math.sqrt(2)] * (len(sizes) - 2) + [head_gain]
    return tuple(
        Dense(jax.nn.initializers.orthogonal(gain)(k, (n_in, n_out)), jnp.zeros(n_out))
        for k, gain, n_in, n_out in zip(keys, gains, sizes[:-1], sizes[1:], strict=True)
    )


def mlp(
    layers: tuple[Dense, ...], x: Float32[Array, "*B I"], activation: str
) -> Float32[Array, "*B J"]:
    """Apply the layers; every layer but the last is followed by the activation."""
    for layer in layers[:-1]:
        x = ACTIVATIONS[activation](x @ layer.weight + layer.bias)
    return x @ layers[-1].weight + layers[-1].bias
