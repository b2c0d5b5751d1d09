"""Actor and critic: two separate multi-layer perceptrons and a state-independent scale.

`action_distribution` and `state_value` are what the rest of the package knows of them.
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

from robustpo.algorithm.distributions import DISTRIBUTIONS, ActionDistribution
from robustpo.settings import Shape

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
    """All that is learned: the layers of actor and critic and the log scale.

    The log scale is `[A]`, or `[0]` for distributions that have none.
    """

    actor: tuple[Dense, ...]
    log_std: Float32[Array, " A"]
    critic: tuple[Dense, ...]


def init_params(
    observation_size: int,
    action_size: int,
    hidden_sizes: tuple[int, ...],
    *,
    rng: np.random.Generator,
    distribution: str = "gaussian",
) -> AgentParams:
    """Initialise orthogonally: gain √2 in hidden layers, 0.01 at the policy head, 1 at the value.

    Biases and the log standard deviation start at zero. All leaves are NumPy arrays: compiling a
    program for what runs once would take longer than training's first seconds.
    """
    sizes = (observation_size, *hidden_sizes)
    family = DISTRIBUTIONS[distribution]
    return AgentParams(
        actor=_init_mlp((*sizes, family.outputs_per_action * action_size), 0.01, rng),
        log_std=_array(np.zeros(action_size if family.has_scale else 0)),
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


def action_distribution(
    params: AgentParams, obs: Float32[Array, "*B O"], shape: Shape
) -> ActionDistribution:
    """Return the plain policy at normalised observations."""
    outputs = mlp(params.actor, obs, shape.activation)
    return DISTRIBUTIONS[shape.distribution].build(outputs, params.log_std)


def state_value(
    params: AgentParams, obs: Float32[Array, "*B O"], shape: Shape
) -> Float32[Array, "*B"]:
    """Return the value estimate at normalised observations."""
    return mlp(params.critic, obs, shape.activation)[..., 0]
