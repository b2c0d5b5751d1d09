"""What acting needs of networks and action distributions, in NumPy alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, np.float32(0))


@dataclass(frozen=True)
class Family:
    """What acting needs of an action distribution; `robustpo.algorithm.distributions` has the rest.

    Attributes:
        outputs_per_action: numbers the actor puts out per dimension of the action.
        has_scale: whether there is a log scale per dimension.
        act: takes outputs, log scale and a source of samples, or None for the mode; returns actions
            that are only clipped to the bounds if `clipped`, in the environment's units or in those
            that the file scales to them, else in (0, 1) of the way between the bounds.
        clipped: see `act`.
    """

    outputs_per_action: int
    has_scale: bool
    act: Callable[[Array, Array, np.random.Generator | None], Array]
    clipped: bool


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


FAMILIES = {
    "gaussian": Family(1, True, _gaussian, True),
    "laplace": Family(1, True, _laplace, True),
    "gumbel": Family(1, True, _gumbel, True),
    "tanh-gaussian": Family(1, True, _tanh_gaussian, False),
    "beta": Family(2, False, _beta, False),
}
BETA_MARGIN = 1e-6

ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "swish": lambda x: x * _sigmoid(x),
}
