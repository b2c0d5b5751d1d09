"""The penalty against quadrature, the smoothed loss against polynomials."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import integrate

from robustpo.algorithm.networks import action_distribution
from robustpo.theory.estimates import Interval
from robustpo.theory.losses import as_function_of_vector, at_common_sigma, surrogate_loss
from robustpo.theory.penalty import exact_penalty, measure_penalty
from robustpo.theory.smoothing import (
    SmoothingPoint,
    location_trace,
    measure_smoothing,
    reach,
    smoothed_pairs,
)
from theory.policies import SHAPE, key, small_policy, small_rows

pytestmark = pytest.mark.usefixtures("float64")


def quadratic_loss(params, rows, shape):
    """A loss of second degree, `Σ (i+1) θ_i²/2 + 3 θ_0 θ_1`, of trace `W(W+1)/2`."""
    x = ravel_pytree(params)[0]
    return 0.5 * (jnp.arange(1, x.size + 1) * x**2).sum() + 3 * x[0] * x[1]


def quartic_loss(params, rows, shape):
    """`Σ θ_i⁴`: smoothing adds `Σ 6 θ_i² α²/3 + α⁴/5`."""
    return (ravel_pytree(params)[0] ** 4).sum()


def test_the_second_order_of_a_quadratic_loss_is_exact():
    params = small_policy()
    rows = small_rows(params)
    alphas = jnp.array([1e-3, 0.1, 2.0])
    pairs, curvature = smoothed_pairs(
        params, rows, quadratic_loss, SHAPE, alphas, key=key(0), count=2000
    )
    np.testing.assert_allclose(
        pairs, np.outer(curvature, np.asarray(alphas) ** 2), rtol=1e-6, atol=1e-9
    )
    size = sum(x.size for x in jax.tree.leaves(params))
    trace = size * (size + 1) / 2
    mean, error = float(pairs[:, 2].mean()), float(pairs[:, 2].std()) / np.sqrt(2000)
    assert abs(mean - 2.0**2 / 6 * trace) < 4 * error < 0.02 * mean


def test_the_departure_from_the_second_order_of_a_quartic_loss():
    params = small_policy()
    alpha = 0.7
    pairs, curvature = smoothed_pairs(
        params, small_rows(params), quartic_loss, SHAPE, jnp.array([alpha]), key=key(1), count=500
    )
    departure = np.asarray(pairs[:, 0] - alpha**2 * curvature)
    size = sum(x.size for x in jax.tree.leaves(params))
    # E z⁴ = α⁴/5 for every parameter.
    assert abs(departure.mean() - size * alpha**4 / 5) < 4 * departure.std() / np.sqrt(500)


def test_a_small_policys_smoothing():
    params = small_policy()
    rows = small_rows(params)
    size = sum(x.size for x in jax.tree.leaves(params))
    drawn = {"key": key(2), "count": 50, "probes": 400}
    found = measure_smoothing("small", params, rows, SHAPE, max_exact=size, **drawn)
    function, point = as_function_of_vector(surrogate_loss, params, rows, SHAPE)
    hessian = np.asarray(jax.jit(jax.hessian(function))(point))
    assert found.trace == pytest.approx(np.trace(hessian), rel=1e-9)
    assert found.trace_log_std == pytest.approx(np.trace(hessian[-2:, -2:]), rel=1e-9)
    half = found.estimate.high - found.estimate.mean
    assert abs(found.estimate.mean - np.trace(hessian)) < 2 * half
    estimated = measure_smoothing("small", params, rows, SHAPE, max_exact=size - 1, **drawn)
    assert found.exact and not estimated.exact
    assert estimated.trace == pytest.approx(found.estimate.mean, rel=1e-12)
    assert abs(found.points[0].departure.mean) < 1e-3 and found.holds_to is not None


def test_how_far_the_second_order_reaches():
    ends = [(-0.01, 0.01), (-0.05, 0.09), (0.05, 0.15), (0.2, 0.4), (-1.5, -1.0)]
    points = tuple(
        SmoothingPoint(float(i), Interval(0, 0, 0), 1.0, Interval((a + b) / 2, a, b))
        for i, (a, b) in enumerate(ends)
    )
    assert reach(points) == (1.0, 3.0)
    assert reach(points[2:3]) == (None, None)


def test_the_location_block_is_the_precision():
    params = small_policy()
    rows = small_rows(params)
    found = location_trace(params, rows, SHAPE)
    # σ = 1 and exp(−1/2): 1 + e.
    assert found.likelihood == pytest.approx(1 + np.e, rel=1e-6)
    assert found.likelihood_formula == pytest.approx(1 + np.e, rel=1e-6)
    # By hand: ∂²(−Â r)/∂μ² = −Â (ε² − 1)/σ².
    policy = action_distribution(params, rows.obs, SHAPE)
    noise = np.asarray((rows.action - policy.mode()) * np.exp(-np.asarray(params.log_std)))
    per_row = ((noise**2 - 1) * np.array([1, np.e])).sum(1)
    expected = -float((np.asarray(rows.weight * rows.advantage) * per_row).sum())
    assert found.surrogate == pytest.approx(expected, rel=1e-6)
    assert found.surrogate_formula == pytest.approx(expected, rel=1e-6)


def test_a_common_sigma_keeps_mean_and_noise():
    params = small_policy()
    rows = small_rows(params)
    common, common_rows = at_common_sigma(params, rows, SHAPE)
    before, after = (
        action_distribution(p, r.obs, SHAPE) for p, r in ((params, rows), (common, common_rows))
    )
    np.testing.assert_array_equal(before.mode(), after.mode())
    np.testing.assert_array_equal(common.log_std, np.zeros(2))
    scale = np.exp(np.asarray(params.log_std))
    np.testing.assert_allclose(
        (rows.action - before.mode()) / scale, common_rows.action - after.mode(), atol=1e-12
    )


def penalty_by_quadrature(family, ratio):
    """Average over actions and noise, in units of the scale."""
    log_density, density = {
        "gaussian": (lambda x: -(x**2) / 2, lambda x: np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)),
        "laplace": (lambda x: -abs(x), lambda x: np.exp(-abs(x)) / 2),
        "gumbel": (lambda x: -x - np.exp(-x), lambda x: np.exp(-x - np.exp(-x))),
    }[family]

    def at(x):
        shifted = integrate.quad(
            lambda z: -log_density(x - z), -ratio, ratio, points=[x] if abs(x) < ratio else None
        )[0] / (2 * ratio)
        return (shifted + log_density(x)) * density(x)

    low = -4 if family == "gumbel" else -40
    return integrate.quad(at, low, 40, limit=400, points=[-ratio, 0, ratio])[0]


@pytest.mark.parametrize("family", ["gaussian", "laplace", "gumbel"])
@pytest.mark.parametrize("ratio", [0.3, 1.5])
def test_penalties(family, ratio):
    expected = penalty_by_quadrature(family, ratio)
    assert exact_penalty(family, ratio) == pytest.approx(expected, rel=1e-6)
    found = measure_penalty(family, 2 * ratio, 2.0, key=key(3))
    half = found.measured.high - found.measured.mean
    assert abs(found.measured.mean - expected) < 2 * half < 0.08 * expected
    assert found.second_order == pytest.approx(ratio**2 / 6)
