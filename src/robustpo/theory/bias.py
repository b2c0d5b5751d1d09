"""Is the gradient of the perturbed policy unbiased (paper, eq. 10, 22)? And what clipping does.

The paper's proof takes the derivative through the mean alone. Uniform noise leaves
`E_z log π(a | μ+z, σ) = log π(a | μ, σ) − Σ α²/(6σ²)` (eq. 13), so the gradient of the mean's
parameters keeps its expectation and that of `log σ` gains `α²/(3σ²)` per dimension. With advantages
of mean zero and a scale that does not depend on the state, that term is multiplied by zero; what
remains in practice comes from the ratio and its clipping.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float64

from robustpo.algorithm.estimators import marginal
from robustpo.algorithm.experience import Coefficients
from robustpo.algorithm.networks import AgentParams, action_distribution
from robustpo.algorithm.objective import policy_loss
from robustpo.algorithm.perturbation import perturb
from robustpo.config.shape import Shape
from robustpo.theory.estimates import (
    Interval,
    ZeroTest,
    cosine_interval,
    t_interval,
    zero_test,
)
from robustpo.theory.losses import Rows

OBJECTIVES = (
    "log-likelihood",
    "log-likelihood × raw advantage",
    "log-likelihood × advantage",
    "ratio × advantage",
    "clipped ratio × advantage",
)
RATIO = OBJECTIVES.index("ratio × advantage")


@dataclass(frozen=True)
class ScaleBias:
    """Bias of the gradient of one dimension's `log σ`.

    Attributes:
        sigma: the standard deviation σ.
        plain: the gradient without noise.
        bias: what the noise adds to it.
        unit: `α²/(3σ²)`, in which biases can be compared.
        predicted: what theory says the bias is; None where it says nothing.
    """

    sigma: float
    plain: float
    bias: Interval
    unit: float
    predicted: float | None


@dataclass(frozen=True)
class Bias:
    """What the noise does to the gradient of one objective, which is to be maximised.

    Attributes:
        policy: whose.
        objective: which.
        gradient_norm: length of the plain gradient of the mean's parameters.
        mean: test of its bias for zero; lengths are relative to `gradient_norm`.
        predicted_norm: relative length that theory says the bias has; None where it says nothing.
        agreement: p-value of the test that the bias is the predicted one, in length and direction.
        cosine: between the expected gradient under noise and the plain one; nan if noise hides it.
        log_std: bias of the log scale per dimension.
        log_std_mean: mean over the dimensions of bias over unit.
    """

    policy: str
    objective: str
    gradient_norm: float
    mean: ZeroTest
    predicted_norm: float | None
    agreement: float | None
    cosine: Interval
    log_std: tuple[ScaleBias, ...]
    log_std_mean: Interval


def objective_values(
    params: AgentParams, rows: Rows, coefficients: Coefficients, shape: Shape, *, key: Array
) -> Float64[Array, " 5"]:
    """Return all `OBJECTIVES` under one draw of the noise, means over the rows."""
    policy = action_distribution(params, rows.obs, shape)
    perturbed = perturb(policy, coefficients, key=key, noise=shape.update_noise)
    log_prob = perturbed.log_prob(rows.action)
    log_ratio = log_prob - rows.log_prob
    per_row = (
        log_prob,
        rows.raw_advantage * log_prob,
        rows.advantage * log_prob,
        rows.advantage * jnp.exp(log_ratio),
        -policy_loss(log_ratio, rows.advantage, coefficients.clip_coef),
    )
    return jnp.stack(per_row) @ rows.weight


@partial(jax.jit, static_argnames=("shape", "count"))
def gradient_replicates(
    params: AgentParams,
    rows: Rows,
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
    count: int,
) -> tuple[Float64[Array, "K N W"], Float64[Array, "N W"]]:
    """Return gradients of all objectives under K independent draws, and those without noise."""
    vector, unravel = ravel_pytree(params)

    def gradients(key: Array, numbers: Coefficients) -> Array:
        return jax.jacrev(lambda x: objective_values(unravel(x), rows, numbers, shape, key=key))(
            vector
        )

    zero = jnp.zeros_like(coefficients.alpha)
    none = replace(coefficients, alpha=zero, noise_location=zero)
    drawn = jax.lax.map(lambda key: gradients(key, coefficients), jax.random.split(key, count))
    return drawn, gradients(key, none)


@partial(jax.jit, static_argnames=("shape",))
def ratio_bias(
    params: AgentParams, rows: Rows, coefficients: Coefficients, shape: Shape, *, key: Array
) -> Float64[Array, " W"]:
    """Return the bias of the unclipped surrogate's gradient, nothing drawn.

    `E_z[π(a|μ+z)/π(a|μ)]` is the ratio of the mixture's density (paper, eq. 5), which has a closed
    form.
    """
    vector, unravel = ravel_pytree(params)

    def gain(x: Array) -> Array:
        policy = action_distribution(unravel(x), rows.obs, shape)
        mixture = marginal(policy, rows.action, coefficients, shape, key=key)[0]
        plain = policy.log_prob(rows.action)
        change = jnp.exp(mixture - rows.log_prob) - jnp.exp(plain - rows.log_prob)
        return (rows.weight * rows.advantage * change).sum()

    return jax.grad(gain)(vector)


def measure_bias(
    policy: str,
    params: AgentParams,
    rows: Rows,
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
    count: int,
) -> list[Bias]:
    """Measure the bias of every objective's gradient for one policy.

    Args:
        policy: its name.
        params: its parameters, without the critic.
        rows: the rows of its rollout.
        coefficients: magnitude of the noise and the clipping range, in float64.
        shape: of the agent.
        key: a key used for this only.
        count: draws of the noise, each of a whole rollout.
    """
    drawn, plain = gradient_replicates(params, rows, coefficients, shape, key=key, count=count)
    exact = np.asarray(ratio_bias(params, rows, coefficients, shape, key=key))
    drawn, plain = np.asarray(drawn), np.asarray(plain)
    sigma, alpha = np.exp(np.asarray(params.log_std)), float(coefficients.alpha)
    unit = alpha**2 / (3 * sigma**2)
    zero = np.zeros(plain.shape[1] - len(sigma))
    raw = float((rows.weight * rows.raw_advantage).sum())
    predicted = {
        0: np.concatenate([zero, unit]),
        1: np.concatenate([zero, raw * unit]),
        2: np.concatenate([zero, 0 * unit]),
        RATIO: exact,
    }
    return [
        _one_bias((policy, name), drawn[:, i], plain[i], predicted.get(i), (sigma, unit))
        for i, name in enumerate(OBJECTIVES)
    ]


def _one_bias(
    names: tuple[str, str],
    drawn: np.ndarray,
    plain: np.ndarray,
    predicted: np.ndarray | None,
    scales: tuple[np.ndarray, np.ndarray],
) -> Bias:
    """Put the statistics of one objective together: `drawn [K, W]`, `plain [W]`."""
    sigma, unit = scales
    # The log scale's entries are the last of a vector of parameters.
    first = len(plain) - len(sigma)
    actor, added = drawn[:, :first], drawn[:, first:] - plain[first:]
    length = float(np.linalg.norm(plain[:first])) or 1.0
    bias = (actor - plain[:first]) / length
    expected = None if predicted is None else predicted[:first] / length
    return Bias(
        *names,
        gradient_norm=length,
        mean=zero_test(bias),
        predicted_norm=None if expected is None else float(np.linalg.norm(expected)),
        agreement=None if expected is None else zero_test(bias - expected).p_value,
        cosine=cosine_interval(actor, plain[:first]),
        log_std=tuple(
            ScaleBias(
                sigma=float(sigma[i]),
                plain=float(plain[first + i]),
                bias=t_interval(added[:, i]),
                unit=float(unit[i]),
                predicted=None if predicted is None else float(predicted[first + i]),
            )
            for i in range(len(sigma))
        ),
        log_std_mean=t_interval((added / unit).mean(1)),
    )
