"""The penalty that the noise takes from the log-density (paper, eq. 13, 32).

For a Gaussian policy `E_z[−log π(a | μ+z)] + log π(a | μ) = α²/(6σ²)` per dimension, for every
action and without error, although the paper writes ≈: the log-density is a polynomial of second
degree in μ. For other policies it holds on average over the actions to second order in alpha, with
Fisher's information of the location in the place of 1/σ²: 1/b² for Laplace, 1/β² for Gumbel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy import stats

from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.base.registry import NOISES
from robustpo.theory.estimates import Interval, t_interval

ALPHAS = (0.01, 0.03, 0.1, 0.3, 0.5, 1.0, 2.0, 3.0)
SIGMAS = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0)
RATIOS = (0.2, 0.5, 1.0, 2.0, 4.0)
BATCHES, BATCH = 20, 5_000


@dataclass(frozen=True)
class Penalty:
    """The penalty at one alpha and scale.

    Attributes:
        family: of the policy.
        alpha: half-width of the noise.
        scale: σ, b or β of the policy.
        measured: by Monte Carlo over actions and noise.
        second_order: `α²/(6 scale²)`.
        exact: in closed form, averaged over the actions.
    """

    family: str
    alpha: float
    scale: float
    measured: Interval
    second_order: float
    exact: float


@dataclass(frozen=True)
class Coverage:
    """How well the measured penalties of a family agree with a formula.

    Attributes:
        cells: number of them.
        covering: 95% intervals that contain the formula's value; 19 of 20 would by chance alone.
        largest_t: largest distance in standard errors.
        p_value: of that, Bonferroni-adjusted over the cells.
        largest_error: largest relative distance.
    """

    cells: int
    covering: int
    largest_t: float
    p_value: float
    largest_error: float


def exact_penalty(family: str, ratio: float) -> float:
    """Return the average penalty at `h = α/scale`.

    Gaussian `h²/6`; Laplace `(h² − 2h + 2 − 2e⁻ʰ)/(2h)`; Gumbel `sinh(h)/h − 1`.
    """
    h = ratio
    if family == "laplace":
        return (h * h - 2 * h - 2 * math.expm1(-h)) / (2 * h)
    return math.sinh(h) / h - 1 if family == "gumbel" else h * h / 6


@partial(jax.jit, static_argnames=("family",))
def _batch_means(family: str, alpha: Array, scale: Array, *, key: Array) -> Array:
    """Return means of the penalty over batches of random means, actions and pairs (z, −z)."""

    def one_batch(key: Array) -> Array:
        keys = jax.random.split(key, 3)
        policy = DISTRIBUTIONS[family].build(
            jax.random.normal(keys[0], (BATCH, 1)), jnp.log(scale)[None]
        )
        action = policy.sample(policy.noise((BATCH, 1), key=keys[1]))
        z = alpha * NOISES["uniform"].draw((BATCH, 1), key=keys[2])
        pair = 0.5 * (policy.shift(z).log_prob(action) + policy.shift(-z).log_prob(action))
        return (policy.log_prob(action) - pair).mean()

    return jax.lax.map(one_batch, jax.random.split(key, BATCHES))


def measure_penalty(family: str, alpha: float, scale: float, *, key: Array) -> Penalty:
    """Measure the penalty of one cell with actions and antithetic pairs of noise of its own."""
    means = np.asarray(_batch_means(family, jnp.float64(alpha), jnp.float64(scale), key=key))
    return Penalty(
        family=family,
        alpha=alpha,
        scale=scale,
        measured=t_interval(means),
        second_order=alpha**2 / (6 * scale**2),
        exact=exact_penalty(family, alpha / scale),
    )


def measure_penalties(*, key: Array) -> list[Penalty]:
    """Measure Gaussian policies on the grid of alpha and σ, and the others over alpha/scale."""
    cells = [("gaussian", alpha, sigma) for sigma in SIGMAS for alpha in ALPHAS]
    cells += [(family, ratio, 1.0) for family in ("laplace", "gumbel") for ratio in RATIOS]
    keys = jax.random.split(key, len(cells))
    return [measure_penalty(*cell, key=own) for cell, own in zip(cells, keys, strict=True)]


def coverage(penalties: list[Penalty], family: str) -> Coverage:
    """Compare the measured penalties of a family with the closed form."""
    own = [one for one in penalties if one.family == family]
    quantile = float(stats.t.ppf(0.975, BATCHES - 1))
    errors = [(one.measured.high - one.measured.low) / (2 * quantile) for one in own]
    distances = [abs(one.measured.mean - one.exact) for one in own]
    largest = max(d / e for d, e in zip(distances, errors, strict=True))
    return Coverage(
        cells=len(own),
        covering=sum(one.measured.covers(one.exact) for one in own),
        largest_t=largest,
        p_value=min(1.0, len(own) * 2 * float(stats.t.sf(largest, BATCHES - 1))),
        largest_error=max(d / one.exact for d, one in zip(distances, own, strict=True)),
    )
