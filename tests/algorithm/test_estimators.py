"""The perturbed log-density: exact against integrals, drawn against its own expectation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from algorithm import reference
from algorithm.families import LOCATION_SCALE, float64, integrated, log_tanh_slope, single
from algorithm.reference import (
    HALF_LOG_2PI,
    coefficients,
    random_batch,
    random_params,
    to_leaves,
    to_minibatch,
)
from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.algorithm.objective import objective
from robustpo.algorithm.random import make_key
from robustpo.base.registry import ESTIMATORS, NOISES
from robustpo.config.shape import Shape
from robustpo.training.compilation import compiler_options

KEY = make_key(3)
SIZE = (24, 2)
RNG = np.random.default_rng(0)
LOCATION, ACTION = RNG.normal(size=SIZE), 1.5 * RNG.normal(size=SIZE)
LOG_SCALE = np.array([-0.5, 0.3])


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
    found = ESTIMATORS[estimator].log_prob(
        policy, *single(ACTION), coefficients(**changed), shape, key=key
    )
    assert found.dtype == jnp.float32
    return float64(found)


def plain(location=LOCATION):
    return scipy.stats.norm.logpdf(ACTION, location, np.exp(LOG_SCALE)).sum(-1)


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
    expected = ESTIMATORS[estimator].log_prob(
        moved, *single(ACTION), coefficients(), shape, key=KEY
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("estimator", "noise"), CLOSED)
def test_relative_noise_is_noise_of_alpha_deviations(estimator, noise):
    relative = estimate(estimator, noise, alpha=0.4, noise_location=0.3, alpha_relative=True)
    # Measure everything in deviations: actions and locations divided by them, scale 1.
    scale = np.exp(LOG_SCALE)
    unit = DISTRIBUTIONS["gaussian"].build(*single(LOCATION / scale, [0.0, 0.0]))
    numbers = coefficients(alpha=0.4, noise_location=0.3)
    shape = Shape(noise=noise, estimator=estimator)
    expected = ESTIMATORS[estimator].log_prob(
        unit, *single(ACTION / scale), numbers, shape, key=KEY
    )
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
differentiate = jax.jit(
    jax.value_and_grad(objective, has_aux=True),
    static_argnums=3,
    compiler_options=compiler_options(),
)


def shaped(**changed):
    return Shape(hidden_sizes=(6, 5), num_steps=ROWS, num_minibatches=1, **changed)


def test_several_draws_average_their_clipped_losses_and_gradients():
    batch = random_batch(PARAMS, ROWS, seed=0, invalid=7)
    numbers = coefficients(alpha=0.7, entropy_coef=0.03)
    shape = shaped(estimator="sampled-k", num_draws=3)
    (found, means), gradient = differentiate(PARAMS, to_minibatch(batch), numbers, shape, key=KEY)
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


def test_the_expected_log_density_scales_every_ratio_by_the_penalty():
    batch = random_batch(PARAMS, ROWS, seed=2)
    numbers = coefficients(alpha=0.7)
    (found, _), _ = differentiate(
        PARAMS, to_minibatch(batch), numbers, shaped(estimator="expected"), key=KEY
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
            found = ESTIMATORS[estimator].log_prob(policy, action, numbers, shape, key=KEY)
            assert found.dtype == jnp.float64
            return found.sum()

        start = jnp.concatenate([jnp.asarray(LOCATION[rows]).ravel(), jnp.asarray(LOG_SCALE)])
        steps = 1e-5 * jnp.eye(len(start))
        evaluate = jax.jit(jax.vmap(total))
        differences = (evaluate(start[None] + steps) - evaluate(start[None] - steps)) / 2e-5
        found = jax.jit(jax.grad(total))(start)
    np.testing.assert_allclose(found, differences, rtol=1e-6, atol=1e-6)
