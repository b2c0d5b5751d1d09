"""The action distributions a second time: SciPy in float64, and how rounding grows in them."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.stats
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from algorithm.reference import HALF_LOG_2PI

# A few roundings of float32, each of them half of 1.2e-7.
ROUNDING = 1e-6
LOCATION_SCALE = {
    "gaussian": scipy.stats.norm,
    "laplace": scipy.stats.laplace,
    "gumbel": scipy.stats.gumbel_r,
}
# The magnitudes of the terms of log p(x), and how far a relative error of x moves each.
SENSITIVITY = {
    "gaussian": lambda x: 1.5 * x**2,
    "laplace": lambda x: 2 * np.abs(x),
    "gumbel": lambda x: 2 * np.abs(x) + np.exp(-x) * (1 + np.abs(x)),
}


def floats(low, high, shape):
    elements = st.floats(low, high, width=32, allow_subnormal=False)
    return hnp.arrays(np.float32, shape, elements=elements)


def float64(x) -> np.ndarray:
    return np.asarray(x, np.float64)


def float32(x) -> np.ndarray:
    return np.asarray(x, np.float32)


def single(*values) -> Any:
    """Return values in float32 for the program."""
    return tuple(jnp.asarray(value, jnp.float32) for value in values)


def double(*values):
    """Return the same values in float64 for SciPy."""
    return tuple(float64(float32(value)) for value in values)


def log_tanh_slope(u):
    """Return log(1 − tanh² u) = −2 log cosh u."""
    return -2 * (np.logaddexp(u, -u) - np.log(2))


def log_gamma_terms(x):
    """Return the magnitude of what Stirling's series adds up and subtracts."""
    return 2 * (x + 5) * np.log(x + 5) + 10 * np.log(x + 5)


def beta_terms(a, b):
    """Return the magnitude of what log B(1 + a, 1 + b) is made of."""
    return log_gamma_terms(1 + a) + log_gamma_terms(1 + b) + log_gamma_terms(2 + a + b)


def log_normal(x):
    return -0.5 * x**2 - HALF_LOG_2PI


def integrated(x, h):
    """Return log ∫ φ(x − z) dU(z), z in (−h, h), by adaptive quadrature in float64."""
    if h == 0:
        return log_normal(x)
    # The largest exponent is taken out; what is more than 40 deviations off it is nothing.
    nearest = min(x, h)
    peak = log_normal(x - nearest)
    low, high = max(-h, nearest - 40), min(h, x + 40)
    kinks = [z for z in (x, nearest - 1, nearest - 6) if low < z < high]

    def integrand(z):
        return np.exp(log_normal(x - z) - peak)

    area = scipy.integrate.quad(integrand, low, high, points=kinks, epsabs=0, epsrel=1e-11)[0]
    return peak + np.log(area) - np.log(2 * h)
