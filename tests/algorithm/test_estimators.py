"""The perturbed log-density: exact against integrals, drawn against its own expectation."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from algorithm import reference
from algorithm.families import LOCATION_SCALE, float32, float64, log_tanh_slope, single
from algorithm.reference import (
    HALF_LOG_2PI,
    coefficients,
    random_batch,
    random_params,
    to_batch,
    to_leaves,
)
from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.algorithm.estimators import ESTIMATORS, log_smoothed_normal, uniform_penalty
from robustpo.algorithm.objective import normalize_advantage, objective
from robustpo.algorithm.perturbation import NOISES
from robustpo.algorithm.random import make_key
from robustpo.settings import Shape

KEY = make_key(3)
SIZE = (24, 2)
RNG = np.random.default_rng(0)
LOCATION, ACTION = RNG.normal(size=SIZE), 1.5 * RNG.normal(size=SIZE)
LOG_SCALE = np.array([-0.5, 0.3])
WIDTHS = [0.0, 1e-6, 1e-3, 0.05, 0.3, 0.8, 1.5, 1.99, 2.01, 3.0, 5.9, 6.1, 20.0, 100.0, 1e3]
DISTANCES = [0.0, 0.01, 0.5, 1.0, 2.9, 3.1, 5.0, 8.0, 12.0, 20.0, 40.0]


def estimate(
    estimator: Any,
    noise: Any = "uniform",
    distribution: Any = "gaussian",
    *,
    num_draws=4,
    key=KEY,
    **changed: Any,
):
    """Return an estimator's log-densities of the actions, in float64."""
    shape = Shape(distribution=distribution, noise=noise, estimator=estimator, num_draws=num_draws)
    policy = DISTRIBUTIONS[distribution].build(*single(LOCATION, LOG_SCALE))
    found = ESTIMATORS[estimator](policy, *single(ACTION), coefficients(**changed), shape, key=key)
    assert found.dtype == jnp.float32
    return float64(found)


def plain(location=LOCATION):
    return scipy.stats.norm.logpdf(ACTION, location, np.exp(LOG_SCALE)).sum(-1)


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


smoothed = jax.jit(log_smoothed_normal)
slopes = jax.jit(jax.vmap(jax.grad(log_smoothed_normal, argnums=(0, 1))))


def test_smoothed_normal_is_the_integral_at_any_width_and_distance():
    x, h = (grid.ravel() for grid in np.meshgrid(DISTANCES, WIDTHS))
    found = smoothed(*single(x, h))
    assert found.dtype == jnp.float32
    x, h = (float64(float32(grid)) for grid in (x, h))
    expected = np.array([integrated(*pair) for pair in zip(x, h, strict=True)])
    # A relative rounding of x moves a density as steep as x by x².
    steepness = np.where(np.abs(x) < h, 0, np.abs(x) - h) * np.abs(x)
    tolerance = 1e-6 * (2 + np.abs(expected) + steepness)
    assert (np.abs(found - expected) <= tolerance).all()
    np.testing.assert_array_equal(smoothed(*single(-x, h)), found)


def test_smoothed_normal_is_continuous_where_the_quadrature_hands_over():
    with jax.enable_x64(True):
        x, h, aside = jnp.linspace(0, 3, 31), jnp.linspace(0.05, 2, 40), 1e-9
        across_width = smoothed(x, jnp.full(31, 2 + aside)) - smoothed(x, jnp.full(31, 2 - aside))
        reach = 6 / h
        across_reach = smoothed(reach + aside, h) - smoothed(reach - aside, h)
    across_width, across_reach, x, reach = map(np.asarray, (across_width, across_reach, x, reach))
    # The slope in h is below 1/h + |x|, that in x below |x|; the rest is the quadrature's.
    assert (np.abs(across_width) < 2 * aside * (0.5 + x) + 1e-6).all()
    assert (np.abs(across_reach) < 2 * aside * reach + 1e-6).all()


@pytest.mark.parametrize("h", [0.0, 0.1, 1.0, 1.99, 2.01, 10.0])
def test_smoothed_normal_integrates_to_one(h):
    x = np.linspace(-h - 9, h + 9, 20_001)
    density = np.exp(float64(smoothed(*single(x, np.full_like(x, h)))))
    # The trapezoidal rule is exact here; float32's roundings average out.
    assert abs(scipy.integrate.trapezoid(density, x) - 1) < 2e-6


def test_smoothed_normal_has_the_slopes_of_the_integral():
    x, h = (grid.ravel() for grid in np.meshgrid(DISTANCES[:-1], WIDTHS[1:]))
    x, h = (float64(float32(grid)) for grid in (x, h))
    keep = np.abs(np.abs(x) - h) > 1e-3
    x, h = x[keep], h[keep]
    by_x, by_h = slopes(*single(x, h))
    # d/dx ∫ = [φ(x+h) − φ(x−h)]/2h and d/dh ∫ = [φ(x+h) + φ(x−h)]/2h − ∫/h, over ∫.
    value = np.array([integrated(*pair) for pair in zip(x, h, strict=True)])
    right, left = (np.exp(log_normal(x + s * h) - value) for s in (1, -1))
    slope = (right - left) / (2 * h)
    np.testing.assert_allclose(by_x, slope, rtol=1e-4, atol=1e-4)
    wide = h >= 0.05  # below, what is subtracted is too large for float64
    growth = (right + left) / (2 * h) - 1 / h
    np.testing.assert_allclose(by_h[wide], growth[wide], rtol=2e-4, atol=2e-4)
    # As h → 0: log φ(x) + (x² − 1) h²/6.
    narrow = h <= 1e-3
    near = narrow & (np.abs(x) < 4)
    np.testing.assert_allclose(by_h[near], ((x**2 - 1) * h / 3)[near], atol=1e-5)


def test_slopes_of_the_smoothed_normal_are_those_of_finite_differences_in_float64():
    with jax.enable_x64(True):
        x, h = (jnp.ravel(g) for g in jnp.meshgrid(jnp.array(DISTANCES) + 0.003, jnp.array(WIDTHS)))
        by_x, by_h = slopes(x, h)
        assert by_x.dtype == jnp.float64
        step = 1e-6 * jnp.maximum(1.0, x)
        slope = (smoothed(x + step, h) - smoothed(x - step, h)) / (2 * step)
        np.testing.assert_allclose(by_x, slope, rtol=1e-6, atol=1e-6)
        step = 1e-5 * jnp.maximum(h, 1e-3)
        inside = np.asarray((h > step) & (jnp.abs(h - 2) > 0.005))
        growth = (smoothed(x, h + step) - smoothed(x, h - step)) / (2 * step)
        np.testing.assert_allclose(by_h[inside], growth[inside], rtol=1e-4, atol=1e-4)


def test_smoothed_normal_and_its_slopes_are_finite_far_out():
    x = np.array([0.0, 1e-30, 1.0, 50.0, 200.0, 1e3, 9e3])
    x, h = (grid.ravel() for grid in np.meshgrid(np.concatenate([x, -x]), [*WIDTHS, 1e6, 1e12]))
    value = smoothed(*single(x, h))
    assert all(np.isfinite(values).all() for values in (value, *slopes(*single(x, h))))


@pytest.mark.parametrize("alpha", [1e-6, 0.05, 0.5, 3.0, 100.0])
def test_marginal_of_uniform_noise_is_the_log_of_the_integral_over_it(alpha):
    scale = np.exp(LOG_SCALE)
    x, h = np.broadcast_arrays((ACTION - LOCATION) / scale, alpha / scale)
    expected = np.vectorize(integrated)(np.abs(x), h) - LOG_SCALE
    found = estimate("marginal", alpha=alpha)
    assert found.shape == (1, *SIZE[:1])
    np.testing.assert_allclose(found[0], expected.sum(-1), rtol=2e-6, atol=1e-5)


def test_marginal_of_gaussian_noise_is_a_wider_gaussian():
    for alpha in (1e-6, 0.5, 20.0):
        scale = np.sqrt(np.exp(2 * LOG_SCALE) + alpha**2)
        expected = scipy.stats.norm.logpdf(ACTION, LOCATION, scale).sum(-1)
        found = estimate("marginal", "gaussian", alpha=alpha)
        np.testing.assert_allclose(found[0], expected, rtol=2e-6, atol=1e-5)


CLOSED = [("marginal", "uniform"), ("marginal", "gaussian")]
CLOSED += [("expected", noise) for noise in NOISES]


@pytest.mark.parametrize(("estimator", "noise"), CLOSED)
def test_without_noise_every_closed_form_is_the_plain_log_density(estimator, noise):
    found = estimate(estimator, noise, alpha=0.0)
    np.testing.assert_allclose(found[0], plain(), rtol=2e-6, atol=1e-5)
    # Nor does noise matter that is nothing beside the policy's deviation.
    tiny = estimate(estimator, noise, alpha=1e-7)
    np.testing.assert_allclose(tiny[0], plain(), rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize(("estimator", "noise"), CLOSED)
def test_a_squashed_policy_has_the_same_closed_form_and_the_jacobian(estimator, noise):
    base = estimate(estimator, noise, noise_location=0.2)
    squashed = estimate(estimator, noise, "tanh-gaussian", noise_location=0.2)
    expected = base - log_tanh_slope(ACTION).sum(-1)
    np.testing.assert_allclose(squashed, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(("estimator", "noise"), CLOSED)
def test_a_location_of_the_noise_moves_every_closed_form(estimator, noise):
    found = estimate(estimator, noise, noise_location=-0.75)
    shape = Shape(noise=noise, estimator=estimator)
    moved = DISTRIBUTIONS["gaussian"].build(*single(LOCATION - 0.75, LOG_SCALE))
    expected = ESTIMATORS[estimator](moved, *single(ACTION), coefficients(), shape, key=KEY)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("estimator", "noise"), CLOSED)
def test_relative_noise_is_noise_of_alpha_deviations(estimator, noise):
    relative = estimate(estimator, noise, alpha=0.4, noise_location=0.3, alpha_relative=True)
    # Measure everything in deviations: actions and locations divided by them, scale 1.
    scale = np.exp(LOG_SCALE)
    unit = DISTRIBUTIONS["gaussian"].build(*single(LOCATION / scale, [0.0, 0.0]))
    numbers = coefficients(alpha=0.4, noise_location=0.3)
    shape = Shape(noise=noise, estimator=estimator)
    expected = ESTIMATORS[estimator](unit, *single(ACTION / scale), numbers, shape, key=KEY)
    np.testing.assert_allclose(relative, expected - LOG_SCALE.sum(), rtol=1e-5, atol=1e-5)


# The noises by SciPy: standard distribution and a range that holds all of it.
STANDARD: dict[str, Any] = {
    "uniform": (scipy.stats.uniform(-1, 2), -1, 1),
    "laplace": (scipy.stats.laplace(), -60, 60),
    "gumbel": (scipy.stats.gumbel_r(), -6, 60),
    "gumbel-centered": (scipy.stats.gumbel_r(-np.euler_gamma), -7, 60),
    "gaussian": (scipy.stats.norm(), -12, 12),
}


@pytest.mark.parametrize("noise", STANDARD)
def test_expected_is_the_integral_of_the_log_density_over_the_noise(noise):
    alpha, location = 0.7, 0.1
    standard, low, high = STANDARD[noise]
    e = np.linspace(low, high, 40_001)
    weight = standard.pdf(e)
    weight *= scipy.integrate.trapezoid(weight, e) ** -1
    z = (location + alpha * e)[:, None]
    found = estimate("expected", noise, alpha=alpha, noise_location=location)[0]
    for i in range(8):
        at = scipy.stats.norm.logpdf(ACTION[i], LOCATION[i] + z, np.exp(LOG_SCALE)).sum(-1)
        mean = scipy.integrate.trapezoid(weight * at, e)
        np.testing.assert_allclose(found[i], mean, rtol=1e-4, atol=1e-4)


def test_expected_of_uniform_noise_is_the_plain_log_density_less_a_penalty():
    penalty = (0.7**2 / (6 * np.exp(2 * LOG_SCALE))).sum()  # paper, eq. 13
    np.testing.assert_allclose(
        estimate("expected", alpha=0.7)[0], plain() - penalty, rtol=2e-6, atol=1e-5
    )
    np.testing.assert_allclose(uniform_penalty(0.7, *single(LOG_SCALE)), penalty, rtol=1e-6)


@pytest.mark.parametrize("noise", NOISES)
def test_draws_have_the_expectations_that_the_closed_forms_state(noise):
    keys = jax.random.split(make_key(5), 20)
    drawn = np.concatenate(
        [estimate("sampled-k", noise, num_draws=1024, key=key, alpha=0.4) for key in keys]
    )
    expected = estimate("expected", noise, alpha=0.4)[0]
    bound = 4.5 * drawn.std(0) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(0) - expected) < bound + 1e-5).all()
    if noise in ("uniform", "gaussian"):
        marginal = estimate("marginal", noise, alpha=0.4)[0]
        assert (marginal > expected).all()  # log E ≥ E log
        # Over their mean the densities have mean 1, and none exceeds that at the mode, M: their
        # variance is below M, and Bernstein's inequality bounds their mean (chance exp(−12)).
        most = np.exp(-(LOG_SCALE + HALF_LOG_2PI).sum() - marginal)
        bound = np.sqrt(2 * 12 * most / len(drawn)) + 2 * 12 * most / (3 * len(drawn))
        assert np.median(bound) < 0.15
        assert (np.abs(np.exp(drawn - marginal).mean(0) - 1) < bound).all()


@pytest.mark.parametrize("distribution", [*LOCATION_SCALE, "tanh-gaussian"])
def test_sampled_is_the_log_density_at_the_location_shifted_by_one_draw(distribution):
    z = 0.25 + 0.6 * float64(NOISES["laplace"].draw(SIZE, key=KEY))
    found = estimate("sampled", "laplace", distribution, alpha=0.6, noise_location=0.25)
    family = LOCATION_SCALE.get(distribution, scipy.stats.norm)
    expected = family.logpdf(ACTION, LOCATION + z, np.exp(LOG_SCALE)).sum(-1)
    if distribution == "tanh-gaussian":
        expected = expected - log_tanh_slope(ACTION).sum(-1)
    assert found.shape == (1, *SIZE[:1])
    np.testing.assert_allclose(found[0], expected, rtol=2e-5, atol=1e-4)


def test_one_of_several_draws_is_the_only_one():
    one = estimate("sampled-k", num_draws=1)
    np.testing.assert_array_equal(one, estimate("sampled"))


def test_several_draws_are_each_a_shift_of_its_own():
    z = 0.5 * float64(NOISES["uniform"].draw((5, *SIZE), key=KEY))
    found = estimate("sampled-k", num_draws=5)
    expected = np.stack([plain(LOCATION + each) for each in z])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)
    assert len(np.unique(found[:, 0])) == 5
    assert (estimate("sampled-k", "none", num_draws=5) == estimate("sampled", "none")).all()


PARAMS = random_params(3, 2, (6, 5), seed=1)
ROWS = 40
differentiate = jax.jit(jax.value_and_grad(objective, has_aux=True), static_argnums=3)


def minibatch(batch):
    prepared = to_batch(batch)
    scores = normalize_advantage(prepared.advantage, prepared.valid)
    return replace(prepared, advantage=scores)


def shaped(**changed):
    return Shape(hidden_sizes=(6, 5), num_steps=ROWS, num_minibatches=1, **changed)


def test_several_draws_average_their_clipped_losses_and_gradients():
    batch = random_batch(PARAMS, ROWS, seed=0, invalid=7)
    numbers = coefficients(alpha=0.7, entropy_coef=0.03)
    shape = shaped(estimator="sampled-k", num_draws=3)
    (found, means), gradient = differentiate(PARAMS, minibatch(batch), numbers, shape, key=KEY)
    draws = 0.7 * float64(NOISES["uniform"].draw((3, ROWS, 2), key=KEY))
    leaves = to_leaves(PARAMS)
    each = [reference.loss(leaves, batch, z, numbers) for z in draws]
    np.testing.assert_allclose(found, np.mean([total for total, _ in each]), rtol=1e-5)
    for name in means:
        expected = np.mean([parts[name] for _, parts in each])
        np.testing.assert_allclose(means[name], expected, rtol=2e-5, atol=1e-6, err_msg=name)
    gradients = [reference.loss_gradient(leaves, batch, z, numbers) for z in draws]
    for got, *expected in zip(jax.tree.leaves(gradient), *gradients, strict=True):
        np.testing.assert_allclose(got, np.mean(expected, 0), rtol=2e-4, atol=2e-6)


def test_one_of_several_draws_learns_like_the_papers_algorithm():
    batch = minibatch(random_batch(PARAMS, ROWS, seed=0))
    one, other = (
        differentiate(PARAMS, batch, coefficients(), shape, key=KEY)
        for shape in (shaped(estimator="sampled-k", num_draws=1), shaped())
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_expected_log_density_scales_every_ratio_by_the_penalty():
    batch = random_batch(PARAMS, ROWS, seed=2)
    numbers = coefficients(alpha=0.7)
    (found, _), _ = differentiate(
        PARAMS, minibatch(batch), numbers, shaped(estimator="expected"), key=KEY
    )
    penalty = (0.7**2 / 6 * np.exp(-2 * to_leaves(PARAMS)[6])).sum()
    batch["log_prob"] = float64(batch["log_prob"]) + penalty
    expected, _ = reference.loss(to_leaves(PARAMS), batch, 0.0, numbers)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("estimator", "noise"), CLOSED)
def test_gradients_of_closed_forms_are_those_of_finite_differences_in_float64(estimator, noise):
    shape = Shape(noise=noise, estimator=estimator)
    rows = slice(0, 6)
    with jax.enable_x64(True):
        numbers = jax.tree.map(
            lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x,
            coefficients(alpha=0.7, noise_location=0.2),
        )
        action = jnp.asarray(ACTION[rows])

        def total(vector):
            policy = DISTRIBUTIONS["gaussian"].build(vector[:-2].reshape(6, 2), vector[-2:])
            found = ESTIMATORS[estimator](policy, action, numbers, shape, key=KEY)
            assert found.dtype == jnp.float64
            return found.sum()

        start = jnp.concatenate([jnp.asarray(LOCATION[rows]).ravel(), jnp.asarray(LOG_SCALE)])
        steps = 1e-5 * jnp.eye(len(start))
        evaluate = jax.jit(jax.vmap(total))
        differences = (evaluate(start + steps) - evaluate(start - steps)) / 2e-5
        found = jax.jit(jax.grad(total))(start)
    np.testing.assert_allclose(found, differences, rtol=1e-6, atol=1e-6)
