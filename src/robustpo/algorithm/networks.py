"""Actor and critic: multi-layer perceptrons, separate or sharing their hidden layers, and a scale.

`action_distribution`, `state_value` and `evaluate`, which is both at once, are what the rest of the
package knows of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from robustpo.algorithm.distributions import DISTRIBUTIONS, ActionDistribution
from robustpo.base.files import one_line
from robustpo.config.shape import Shape
from robustpo.errors import ConfigError
from robustpo.policy.families import LAYER_NORM_EPSILON, MLP, NETWORKS, Network


def _elu(x: Array) -> Array:
    # exp(x) − 1 instead of expm1, which makes a forward pass of small layers 1.7 times as long on
    # the CPU; what it loses near zero is below the last bit of 1.
    return jnp.where(x > 0, x, jnp.exp(jnp.minimum(x, 0.0)) - 1.0)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "elu": _elu,
    "swish": jax.nn.swish,
}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dense:
    """An affine map: `weight` `[I, J]`, `bias` `[J]`.

    With `scale` and `shift` `[J]` its outputs are then normalised to mean 0 and variance 1 over
    themselves, multiplied and added to (layer normalisation, arXiv 1607.06450, eq. 4).
    """

    weight: Float[Array, "I J"]
    bias: Float[Array, " J"]
    scale: Float[Array, " J"] | None = None
    shift: Float[Array, " J"] | None = None


# The layers of a network, or a dictionary of the parameters of one of somebody's own.
Parameters = tuple[Dense, ...] | Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AgentParams:
    """All that is learned: the layers of actor and critic and the state-independent log scale.

    The log scale is `[A]`, or `[0]` for distributions that have none. A critic that shares the
    actor's hidden layers has its last layer alone.
    """

    actor: Parameters
    log_std: Float[Array, " A"]
    critic: Parameters


def init_params(
    observation_size: int,
    action_size: int,
    hidden_sizes: tuple[int, ...],
    *,
    rng: np.random.Generator,
    distribution: str = "gaussian",
    shared: bool = False,
    critic_sizes: tuple[int, ...] | None = None,
    layer_norm: bool = False,
    network: str = MLP,
) -> AgentParams:
    """Initialise orthogonally: gain √2 in hidden layers, 0.01 at the policy head, 1 at the value.

    Biases and the log standard deviation start at zero. Drawn in NumPy: compiling a program for
    what runs once would take longer than training's first seconds.
    """
    if network != MLP:
        return _init_own(observation_size, action_size, network, distribution, rng)
    sizes = (observation_size, *hidden_sizes)
    own = (observation_size, *(hidden_sizes if critic_sizes is None else critic_sizes), 1)
    family = DISTRIBUTIONS[distribution]
    return AgentParams(
        actor=_init_mlp((*sizes, family.outputs_per_action * action_size), 0.01, rng, layer_norm),
        log_std=_array(np.zeros(action_size if family.has_scale else 0)),
        critic=_init_mlp((sizes[-1], 1) if shared else own, 1.0, rng, layer_norm),
    )


def _init_own(
    observation_size: int,
    action_size: int,
    network: str,
    distribution: str,
    rng: np.random.Generator,
) -> AgentParams:
    """Initialise networks of somebody's own; refuse what is none."""
    family, own = DISTRIBUTIONS[distribution], NETWORKS[network]

    def init(outputs: int) -> dict[str, Array]:
        drawn = _called(network, "init", partial(own.init, observation_size, outputs, rng=rng))
        if not isinstance(drawn, dict) or not drawn or not all(map(_is_name, drawn)):
            raise ConfigError(
                f"network {network!r}: init returned {type(drawn).__name__}, expected arrays by "
                "names of letters, digits and _"
            )
        names = sorted(drawn)
        host = _called(
            network, "init", lambda: {n: np.asarray(drawn[n], np.float32) for n in names}
        )
        if bad := [name for name in names if not np.isfinite(host[name]).all()]:
            raise ConfigError(f"network {network!r}: init drew {bad[0]} that is not finite")
        _require_twin(own, network, host, observation_size, outputs)
        return {name: _array(host[name]) for name in names}

    return AgentParams(
        actor=init(family.outputs_per_action * action_size),
        log_std=_array(np.zeros(action_size if family.has_scale else 0)),
        critic=init(1),
    )


def _called(network: str, name: str, function: Callable[[], Any]) -> Any:
    """Call what is somebody's; what it raises becomes one line that names it."""
    try:
        return function()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"network {network!r}: {name} raised {type(error).__name__}: {one_line(error)}"
        ) from error


def _require_twin(
    own: Network, network: str, host: dict[str, np.ndarray], inputs: int, outputs: int
) -> None:
    """Raise `ConfigError` unless a network has the sizes asked for, and its twin does the same."""
    parameters = {name: _array(values) for name, values in host.items()}
    batch = np.random.default_rng(0).normal(size=(2, inputs)).astype(np.float32)
    for obs in (batch, batch[0]):
        wanted = (*obs.shape[:-1], outputs)
        found = _called(network, "apply", lambda x=obs: own.apply(parameters, jnp.asarray(x)))
        if np.shape(found) != wanted:
            raise ConfigError(
                f"network {network!r}: apply turns observations {obs.shape} into "
                f"{np.shape(found)}, expected {wanted}"
            )
        if own.act is None:
            continue
        twin = np.asarray(_called(network, "act", lambda x=obs: own.outputs(host, x)))
        if twin.shape != wanted or not np.allclose(twin, found, rtol=1e-3, atol=1e-4):
            raise ConfigError(
                f"network {network!r}: act does not do what apply does; of observations "
                f"{obs.shape} it makes {one_line(twin, 60)} instead of "
                f"{one_line(np.asarray(found), 60)}"
            )


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier()


def _init_mlp(
    sizes: tuple[int, ...], head_gain: float, rng: np.random.Generator, layer_norm: bool
) -> tuple[Dense, ...]:
    gains = [math.sqrt(2)] * (len(sizes) - 2) + [head_gain]
    layers = [
        Dense(_array(gain * _orthogonal(n_in, n_out, rng)), _array(np.zeros(n_out)))
        for gain, (n_in, n_out) in zip(gains, itertools.pairwise(sizes), strict=True)
    ]
    if layer_norm:
        layers[:-1] = [
            replace(one, scale=jnp.ones_like(one.bias), shift=jnp.zeros_like(one.bias))
            for one in layers[:-1]
        ]
    return tuple(layers)


def _orthogonal(n_in: int, n_out: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `[I, J]` uniformly among the matrices whose shorter side is orthonormal."""
    tall = rng.standard_normal((max(n_in, n_out), min(n_in, n_out)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))
    return q if n_in >= n_out else q.T


def _array(values: np.ndarray) -> Array:
    return jnp.asarray(values, jnp.float32)


def mlp(
    layers: tuple[Dense, ...], x: Float[Array, "*B I"], activation: str
) -> Float[Array, "*B J"]:
    """Apply the layers; every layer but the last is followed by the activation."""
    return _affine(layers[-1], _hidden(layers[:-1], x, activation))


def _hidden(
    layers: tuple[Dense, ...], x: Float[Array, "*B I"], activation: str
) -> Float[Array, "*B J"]:
    for layer in layers:
        x = ACTIVATIONS[activation](_normalize(layer, _affine(layer, x)))
    return x


def _normalize(layer: Dense, outputs: Float[Array, "*B J"]) -> Float[Array, "*B J"]:
    if layer.scale is None or layer.shift is None:
        return outputs
    centred = outputs - outputs.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    scale, shift = (jax.lax.broadcast_to_rank(x, outputs.ndim) for x in (layer.scale, layer.shift))
    return centred * jax.lax.rsqrt(variance + LAYER_NORM_EPSILON) * scale + shift


def _affine(layer: Dense, x: Float[Array, "*B I"]) -> Float[Array, "*B J"]:
    outputs = x @ layer.weight
    return outputs + jax.lax.broadcast_to_rank(layer.bias, outputs.ndim)


def evaluate(
    params: AgentParams, obs: Float[Array, "*B O"], shape: Shape
) -> tuple[ActionDistribution, Float[Array, "*B"]]:
    """Return the plain policy and the value estimate at normalised observations."""
    if not shape.shared_network:
        return action_distribution(params, obs, shape), state_value(params, obs, shape)
    features = _hidden(params.actor[:-1], obs, shape.activation)
    outputs = _affine(params.actor[-1], features)
    policy = DISTRIBUTIONS[shape.distribution].build(outputs, params.log_std)
    return policy, _affine(params.critic[-1], features)[..., 0]


def _forward(
    parameters: Parameters, obs: Float[Array, "*B O"], shape: Shape
) -> Float[Array, "*B J"]:
    if isinstance(parameters, dict):
        return NETWORKS[shape.network].apply(parameters, obs)
    return mlp(parameters, obs, shape.activation)


def action_distribution(
    params: AgentParams, obs: Float[Array, "*B O"], shape: Shape
) -> ActionDistribution:
    """Return the plain policy at normalised observations."""
    outputs = _forward(params.actor, obs, shape)
    return DISTRIBUTIONS[shape.distribution].build(outputs, params.log_std)


def state_value(params: AgentParams, obs: Float[Array, "*B O"], shape: Shape) -> Float[Array, "*B"]:
    """Return the value estimate at normalised observations."""
    parameters = params.critic
    if shape.shared_network:
        parameters = params.actor[:-1] + params.critic
    return _forward(parameters, obs, shape)[..., 0]
