"""The smoothed loss against its second-order formula (paper, eq. 34, 40), over all parameters.

`L̃(θ) = E_z L(θ+z)` with `z ~ U(−α, α)` for every parameter, against `L + α²/6 Tr H`. In practice
only the policy's location is perturbed (paper, appendix C.7), whose block is in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64

from robustpo.algorithm.distributions import Gaussian
from robustpo.algorithm.networks import AgentParams, action_distribution
from robustpo.base.registry import NOISES
from robustpo.config.shape import Shape
from robustpo.theory.curvature import hessian_diagonal, hessian_product, hutchinson
from robustpo.theory.estimates import Interval, t_interval
from robustpo.theory.losses import (
    Loss,
    Rows,
    actor_mask,
    as_function_of_vector,
    surrogate_loss,
)

ALPHAS = tuple(float(f"{a:.2g}") for a in np.geomspace(1e-4, 0.3, 15))
TOLERANCE = 0.1


@dataclass(frozen=True)
class SmoothingPoint:
    """The smoothed loss at one alpha.

    Attributes:
        alpha: half-width of the noise on every parameter.
        change: `E_z L(θ+z) − L(θ)`, by antithetic pairs.
        second_order: `α²/6 Tr H`.
        departure: `change − second_order` relative to `second_order`, far more precise than the
            difference of the two: the second-order term of each pair is taken off it.
    """

    alpha: float
    change: Interval
    second_order: float
    departure: Interval


@dataclass(frozen=True)
class Smoothing:
    """The check of one policy's surrogate.

    Attributes:
        policy: whose.
        parameters: how many there are.
        exact: whether the traces are exact, not Hutchinson's means.
        trace: of the Hessian.
        trace_actor: its part from the actor.
        trace_log_std: its part from the log scale.
        estimate: the same by Hutchinson's estimator.
        points: by alpha.
        holds_to: largest alpha up to which the departure's interval stays within 10%; None if none.
        fails_from: least alpha from which on the departure's interval is beyond 10%; None if none.
        location: the block of the location.
    """

    policy: str
    parameters: int
    exact: bool
    trace: float
    trace_actor: float
    trace_log_std: float
    estimate: Interval
    points: tuple[SmoothingPoint, ...]
    holds_to: float | None
    fails_from: float | None
    location: LocationTrace


@dataclass(frozen=True)
class LocationTrace:
    """Traces of Hessians with respect to a row's location, means over the rows.

    Attributes:
        likelihood: of `−log π`, by differentiation.
        likelihood_formula: `Σ 1/σ²`, whatever the row.
        surrogate: of `−Â π/π_old`, by differentiation.
        surrogate_formula: `Σ ∂L/∂(log σ)/σ²`; smoothing the surrogate over the location is a step
            of the heat equation, that is, of σ² by α²/3.
    """

    likelihood: float
    likelihood_formula: float
    surrogate: float
    surrogate_formula: float


@partial(jax.jit, static_argnames=("loss", "shape", "count"))
def smoothed_pairs(
    params: AgentParams,
    rows: Rows,
    loss: Loss,
    shape: Shape,
    alphas: Float64[Array, " N"],
    *,
    key: Array,
    count: int,
) -> tuple[Float64[Array, "K N"], Float64[Array, " K"]]:
    """Return `(L(θ+αε) + L(θ−αε))/2 − L(θ)` and `εᵀHε/2` for K draws `ε ~ U(−1, 1)`.

    The draws are shared by all alphas.
    """
    function, point = as_function_of_vector(loss, params, rows, shape)
    centre = function(point)

    def one_draw(key: Array) -> tuple[Array, Array]:
        noise = NOISES["uniform"].draw(point.shape, key=key)

        def pair(alpha: Array) -> Array:
            up, down = function(point + alpha * noise), function(point - alpha * noise)
            return 0.5 * (up + down) - centre

        curvature = 0.5 * noise @ hessian_product(function, point, noise)
        return jax.lax.map(pair, alphas), curvature

    return jax.lax.map(one_draw, jax.random.split(key, count))


@partial(jax.jit, static_argnames=("loss", "shape"))
def exact_diagonal(
    params: AgentParams, rows: Rows, loss: Loss, shape: Shape
) -> Float64[Array, " W"]:
    """Return the diagonal of a loss's Hessian, one product per parameter."""
    return hessian_diagonal(*as_function_of_vector(loss, params, rows, shape))


@partial(jax.jit, static_argnames=("loss", "shape", "probes"))
def trace_samples(
    params: AgentParams, rows: Rows, loss: Loss, shape: Shape, *, key: Array, probes: int
) -> Float64[Array, "K 2"]:
    """Return Hutchinson's estimates for the actor's block and the log scale's, one per probe."""
    function, point = as_function_of_vector(loss, params, rows, shape)
    mask = actor_mask(params)
    return hutchinson(function, point, jnp.stack([mask, 1 - mask]), key=key, probes=probes)


def measure_smoothing(
    policy: str,
    params: AgentParams,
    rows: Rows,
    shape: Shape,
    *,
    key: Array,
    count: int,
    probes: int,
    max_exact: int,
) -> Smoothing:
    """Check the second-order formula of one policy's surrogate.

    Args:
        policy: its name.
        params: its parameters, without the critic.
        rows: the rows of its rollout.
        shape: of the agent.
        key: a key used for this only.
        count: antithetic pairs of noise.
        probes: of Hutchinson's estimator.
        max_exact: most parameters of which the trace is computed exactly.
    """
    pair_key, probe_key = jax.random.split(key)
    size = sum(x.size for x in jax.tree.leaves(params))
    samples = np.asarray(
        trace_samples(params, rows, surrogate_loss, shape, key=probe_key, probes=probes)
    )
    actor, log_std = samples.mean(0)
    if size <= max_exact:
        diagonal = np.asarray(exact_diagonal(params, rows, surrogate_loss, shape))
        first = size - params.log_std.shape[0]
        actor, log_std = diagonal[:first].sum(), diagonal[first:].sum()
    pairs, curvature = (
        np.asarray(x)
        for x in smoothed_pairs(
            params, rows, surrogate_loss, shape, jnp.array(ALPHAS), key=pair_key, count=count
        )
    )
    trace = float(actor + log_std)
    points = tuple(_point(alpha, pairs[:, i], curvature, trace) for i, alpha in enumerate(ALPHAS))
    holds_to, fails_from = reach(points)
    return Smoothing(
        policy=policy,
        parameters=size,
        exact=size <= max_exact,
        trace=trace,
        trace_actor=float(actor),
        trace_log_std=float(log_std),
        estimate=t_interval(samples.sum(1)),
        points=points,
        holds_to=holds_to,
        fails_from=fails_from,
        location=location_trace(params, rows, shape),
    )


def _point(alpha: float, pairs: np.ndarray, curvature: np.ndarray, trace: float) -> SmoothingPoint:
    second_order = alpha**2 / 6 * trace
    departure = t_interval(pairs - alpha**2 * curvature).scaled(1 / second_order)
    return SmoothingPoint(alpha, t_interval(pairs), second_order, departure)


def reach(points: tuple[SmoothingPoint, ...]) -> tuple[float | None, float | None]:
    """Return up to which alpha the formula is shown to hold within 10%, and from which it fails."""
    holds_to = fails_from = None
    for point in points:
        if max(abs(point.departure.low), abs(point.departure.high)) > TOLERANCE:
            break
        holds_to = point.alpha
    for point in reversed(points):
        if point.departure.low <= TOLERANCE and point.departure.high >= -TOLERANCE:
            break
        fails_from = point.alpha
    return holds_to, fails_from


def location_trace(params: AgentParams, rows: Rows, shape: Shape) -> LocationTrace:
    """Return the block of the Hessian that belongs to the location (paper, appendix C.7)."""
    return LocationTrace(*(float(x) for x in _location_traces(params, rows, shape)))


@partial(jax.jit, static_argnames=("shape",))
def _location_traces(params: AgentParams, rows: Rows, shape: Shape) -> Float64[Array, " 4"]:
    """Return the fields of `LocationTrace`, in their order."""
    policy = action_distribution(params, rows.obs, shape)
    assert isinstance(policy, Gaussian), "only Gaussian policies are analysed"

    def trace(surrogate: bool) -> Array:
        def row(location: Array, action: Array, log_prob: Array, advantage: Array) -> Array:
            def loss(x: Array) -> Array:
                moved = Gaussian(x, params.log_std).log_prob(action)
                return -advantage * jnp.exp(moved - log_prob) if surrogate else -moved

            return jnp.trace(jax.hessian(loss)(location))

        traces = jax.vmap(row)(policy.location, rows.action, rows.log_prob, rows.advantage)
        return (rows.weight * traces).sum()

    gradient = jax.grad(surrogate_loss)(params, rows, shape).log_std
    precision = jnp.exp(-2 * params.log_std)
    return jnp.stack([trace(False), precision.sum(), trace(True), (gradient * precision).sum()])
