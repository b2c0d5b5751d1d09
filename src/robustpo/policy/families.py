"""What acting needs of networks and action distributions, in NumPy alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from robustpo.base.registry import Kind, load_attribute
from robustpo.errors import ConfigError

Array = np.ndarray


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, np.float32(0))


@dataclass(frozen=True)
class DistributionFamily:
    """An action distribution: what acting needs of it, where the rest is, and what it can do.

    Attributes:
        distribution: its class, `module:name` of an `ActionDistribution` (or the class itself).
        act: takes outputs, log scale and a source of samples, or None for the mode; returns actions
            that are only clipped to the bounds if `clipped`, in the environment's units or in those
            that the file scales to them, else in (0, 1) of the way between the bounds.
        outputs_per_action: numbers the actor puts out per dimension of the action.
        has_scale: whether there is a log scale per dimension.
        clipped: see `act`.
        shifts: whether it has a location that noise can shift.
        diverges: whether `kl` is defined, for DrAC and the adaptive learning rate.
        gaussian: whether it is a `Gaussian` or a `TanhGaussian`, which closed forms are of.
        width: distance of the bounds in the units that its entropies are of; None for the action's.
        log_prob: takes outputs, log scale and what `act` returned; returns the log-density of each
            dimension. None where acting is all that it can do without JAX.
    """

    distribution: str | type
    act: Callable[[Array, Array, np.random.Generator | None], Array]
    outputs_per_action: int = 1
    has_scale: bool = True
    clipped: bool = True
    shifts: bool = True
    diverges: bool = True
    gaussian: bool = False
    width: float | None = None
    log_prob: Callable[[Array, Array, Array], Array] | None = None

    def load(self) -> Any:
        """Return its class; imports JAX."""
        place = self.distribution
        return load_attribute(place) if isinstance(place, str) else place


@dataclass(frozen=True)
class Network:
    """A network of one's own for actor and critic, each of which gets one.

    Attributes:
        init: `(inputs, outputs, *, rng) -> parameters`: arrays of NumPy by name, drawn from a
            `numpy.random.Generator`.
        apply: `(parameters, obs) -> outputs`: observations `[..., inputs]` to `[..., outputs]`, a
            pure function of JAX.
        act: the same in NumPy, by which a policy acts where there is no JAX; None lets it act by
            `apply`.
    """

    init: Callable[..., dict[str, Array]]
    apply: Callable[[Any, Any], Any]
    act: Callable[[dict[str, Array], Array], Array] | None = None

    def __post_init__(self) -> None:
        for name, function in (("init", self.init), ("apply", self.apply)):
            if not callable(function):
                raise ConfigError(f"Network: {name}={function!r} is not a function")

    def outputs(self, parameters: dict[str, Array], obs: Array) -> Array:
        """Return what the network puts out, on the host.

        Raises:
            ConfigError: if it has no twin in NumPy and JAX is not installed.
        """
        if self.act is not None:
            return np.asarray(self.act(parameters, obs), np.float32)
        try:
            import jax  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                "the policy's network has no twin in NumPy (robustpo.Network(act=...)), and JAX, "
                "which it then acts by, is not installed"
            ) from error
        return np.asarray(self.apply(parameters, obs), np.float32)


def _gaussian(outputs: Array, log_scale: Array, rng: np.random.Generator | None) -> Array:
    if rng is None:
        return outputs
    return outputs + np.exp(log_scale) * rng.standard_normal(outputs.shape, np.float32)


def _laplace(outputs: Array, log_scale: Array, rng: np.random.Generator | None) -> Array:
    return outputs if rng is None else outputs + np.exp(log_scale) * rng.laplace(size=outputs.shape)


def _gumbel(outputs: Array, log_scale: Array, rng: np.random.Generator | None) -> Array:
    return outputs if rng is None else outputs + np.exp(log_scale) * rng.gumbel(size=outputs.shape)


def _tanh_gaussian(outputs: Array, log_scale: Array, rng: np.random.Generator | None) -> Array:
    return 0.5 * (1.0 + np.tanh(_gaussian(outputs, log_scale, rng)))


def _beta(outputs: Array, log_scale: Array, rng: np.random.Generator | None) -> Array:
    del log_scale
    a, b = np.split(_softplus(outputs) + np.float32(BETA_MARGIN), 2, axis=-1)
    return a / (a + b) if rng is None else rng.beta(1 + a, 1 + b)


def _gaussian_log_prob(outputs: Array, log_scale: Array, action: Array) -> Array:
    z = (action - outputs) / np.exp(log_scale)
    return -0.5 * (z * z + np.log(2 * np.pi)) - log_scale


def _laplace_log_prob(outputs: Array, log_scale: Array, action: Array) -> Array:
    return -np.abs(action - outputs) / np.exp(log_scale) - log_scale - np.log(2.0)


def _gumbel_log_prob(outputs: Array, log_scale: Array, action: Array) -> Array:
    z = (action - outputs) / np.exp(log_scale)
    return -(z + np.exp(-z)) - log_scale


def _tanh_gaussian_log_prob(outputs: Array, log_scale: Array, action: Array) -> Array:
    # On the bounds themselves it has no density; the next number inside has.
    share = np.clip(action, EDGE, 1 - EDGE)
    # The inverse of the way there, y = tanh(x) / 2 + 1/2, whose derivative is 2y (1 − y).
    inner = 0.5 * (np.log(share) - np.log1p(-share))
    change = np.log(2 * share * (1 - share))
    return _gaussian_log_prob(outputs, log_scale, inner) - change


def _beta_log_prob(outputs: Array, log_scale: Array, action: Array) -> Array:
    from scipy.special import betaln

    del log_scale
    a, b = np.split(_softplus(outputs) + np.float32(BETA_MARGIN), 2, axis=-1)
    share = np.clip(action, EDGE, 1 - EDGE)
    return a * np.log(share) + b * np.log1p(-share) - betaln(1 + a, 1 + b)


_HERE = "robustpo.algorithm.distributions"
FAMILIES: Kind[DistributionFamily] = Kind(
    "distribution",
    {
        "gaussian": DistributionFamily(
            f"{_HERE}:Gaussian", _gaussian, gaussian=True, log_prob=_gaussian_log_prob
        ),
        "laplace": DistributionFamily(f"{_HERE}:Laplace", _laplace, log_prob=_laplace_log_prob),
        "gumbel": DistributionFamily(f"{_HERE}:Gumbel", _gumbel, log_prob=_gumbel_log_prob),
        # Its entropies are of (−1, 1), those of a Beta of (0, 1).
        "tanh-gaussian": DistributionFamily(
            f"{_HERE}:TanhGaussian",
            _tanh_gaussian,
            clipped=False,
            gaussian=True,
            width=2.0,
            log_prob=_tanh_gaussian_log_prob,
        ),
        "beta": DistributionFamily(
            f"{_HERE}:Beta",
            _beta,
            2,
            has_scale=False,
            clipped=False,
            shifts=False,
            width=1.0,
            log_prob=_beta_log_prob,
        ),
    },
    of="robustpo.policy.families:DistributionFamily",
)
BETA_MARGIN = 1e-6
# What is left of the way between the bounds where a density is asked for on one of them.
EDGE = 1e-7

ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "swish": lambda x: x * _sigmoid(x),
}

# Layers of affine maps and activations.
MLP = "mlp"
NETWORKS: Kind[Network] = Kind("network", {MLP: ""}, of="robustpo.policy.families:Network")
# What is added to the variance of a layer's outputs before they are divided by its root.
LAYER_NORM_EPSILON = 1e-5
