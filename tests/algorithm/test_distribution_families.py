"""Densities, entropies, deviations and modes of all action distributions against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from hypothesis import given, settings

from algorithm.families import (
    LOCATION_SCALE,
    ROUNDING,
    SENSITIVITY,
    beta_terms,
    double,
    float32,
    float64,
    floats,
    log_tanh_slope,
    single,
)
from algorithm.reference import HALF_LOG_2PI
from robustpo.algorithm.distributions import (
    DISTRIBUTIONS,
    Beta,
    Gaussian,
    Gumbel,
    Laplace,
    TanhGaussian,
)

SIZE = (8, 2)
locations, log_scales = floats(-1024, 1024, SIZE), floats(-6, 4, SIZE[1:])
deviations = floats(-12, 12, SIZE)
# From all but flat to narrow as a needle: concentrations less 1.
excesses = floats(-13, 6, SIZE).map(lambda x: np.exp(x).astype(np.float32))


def assert_close(found, expected, tolerance):
    """Compare in float64, with a tolerance for every number."""
    assert found.dtype == jnp.float32
    error = np.abs(float64(found) - expected)
    assert (error <= tolerance).all(), (error / tolerance).max()


@pytest.mark.parametrize("name", LOCATION_SCALE)
@settings(max_examples=25, deadline=None)
@given(location=locations, log_scale=log_scales, deviation=deviations)
def test_log_prob_is_scipys(name, location, log_scale, deviation):
    action = location + np.exp(log_scale) * deviation
    found = DISTRIBUTIONS[name].build(*single(location, log_scale)).log_prob(jnp.asarray(action))
    location, log_scale, action = double(location, log_scale, action)
    scale = np.exp(log_scale)
    expected = LOCATION_SCALE[name].logpdf(action, location, scale).sum(-1)
    x = (action - location) / scale
    tolerance = ROUNDING * (1 + np.abs(log_scale) + SENSITIVITY[name](x)).sum(-1)
    assert_close(found, expected, tolerance)


@settings(max_examples=25, deadline=None)
@given(location=floats(-20, 20, SIZE), log_scale=log_scales, deviation=deviations)
def test_log_prob_of_a_squashed_action_is_that_of_a_change_of_variables(
    location, log_scale, deviation
):
    u = location + np.exp(log_scale) * deviation
    found = TanhGaussian.build(*single(location, log_scale)).log_prob(jnp.asarray(u))
    location, log_scale, u = double(location, log_scale, u)
    scale = np.exp(log_scale)
    expected = scipy.stats.norm.logpdf(u, location, scale) - log_tanh_slope(u)
    x = (u - location) / scale
    terms = 3 + np.abs(log_scale) + SENSITIVITY["gaussian"](x) + 6 * np.abs(u)
    assert_close(found, expected.sum(-1), ROUNDING * terms.sum(-1))


def test_density_of_a_squashed_action_is_the_slope_of_its_distribution_function():
    location, scale = np.array([0.7, -1.5, 0.0]), np.array([0.5, 1.0, 2.0])
    y = np.linspace(-0.98, 0.98, 33)[:, None]

    def probability(below):
        return scipy.stats.norm.cdf(np.arctanh(below), location, scale)

    slope = (probability(y + 1e-6) - probability(y - 1e-6)) / 2e-6
    # Rows `[33, 3]` of a single action, each column with a scale of its own.
    locations, scales, rows = (
        np.broadcast_to(x, (33, 3))[..., None] for x in (location, np.log(scale), np.arctanh(y))
    )
    policy = TanhGaussian.build(*single(locations, scales))
    found = np.exp(policy.log_prob(single(rows)[0]))
    np.testing.assert_allclose(found, slope, rtol=1e-4, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(a=excesses, b=excesses, action=floats(2**-19, 1 - 2**-19, SIZE))
def test_log_prob_of_a_beta_policy_is_scipys(a, b, action):
    found = Beta(*single(a, b)).log_prob(jnp.asarray(action))
    a, b, action = double(a, b, action)
    expected = scipy.stats.beta.logpdf(action, 1 + a, 1 + b).sum(-1)
    terms = 1 + a * np.abs(np.log(action)) + b * np.abs(np.log1p(-action)) + beta_terms(a, b)
    assert_close(found, expected, 0.5 * ROUNDING * terms.sum(-1))


def test_log_prob_and_its_gradient_are_finite_at_the_edges_of_a_beta_policy():
    concentrations = jnp.array([1e-6, 0.7, 4.0, 99.0])[:, None]

    def density(a, b, action):
        return Beta(a, b).log_prob(action).sum()

    slopes = jax.jit(jax.grad(density, argnums=(0, 1, 2)))
    for action, near in ((0.0, 1e-6), (1.0, float(float32(1 - 1e-6)))):
        at = jnp.full((4, 1), action)
        arguments = (concentrations, concentrations[::-1], at)
        assert all(np.isfinite(x).all() for x in slopes(*arguments))
        found = Beta(*arguments[:2]).log_prob(at)
        a, b = (1 + double(x)[0][:, 0] for x in arguments[:2])
        np.testing.assert_allclose(found, scipy.stats.beta.logpdf(near, a, b), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("gaussian", 1e6),
        ("laplace", -1e9),
        ("gumbel", -1000.0),
        ("gumbel", -1e9),
        ("gumbel", 1e9),
        ("tanh-gaussian", 50.0),
        ("tanh-gaussian", -50.0),
        ("tanh-gaussian", 1e4),
    ],
)
def test_an_extreme_action_has_a_finite_density_and_gradient(name, action):
    def density(location, log_scale, action):
        return DISTRIBUTIONS[name].build(location, log_scale).log_prob(action).sum()

    arguments = (jnp.zeros((1, 1)), jnp.zeros(1), jnp.full((1, 1), action))
    value, gradient = jax.jit(jax.value_and_grad(density, argnums=(0, 1, 2)))(*arguments)
    assert all(np.isfinite(x).all() for x in (value, *gradient))
    if name == "gumbel" and action == -1000:  # Honest only down to exp(−88): it is very unlikely.
        assert value < -1e30
    else:
        x = float64(action)
        expected = {
            "gaussian": -0.5 * x**2,
            "laplace": -np.abs(x),
            "gumbel": -x if x > 0 else -np.exp(80.0),
            "tanh-gaussian": -0.5 * x**2 - 0.5 * np.log(2 * np.pi) - log_tanh_slope(x),
        }[name]
        np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("name", LOCATION_SCALE)
@settings(max_examples=20, deadline=None)
@given(location=locations, log_scale=log_scales)
def test_entropy_std_and_shape_are_scipys(name, location, log_scale):
    policy = DISTRIBUTIONS[name].build(*single(location, log_scale))
    (exponent,) = double(log_scale)
    other = LOCATION_SCALE[name](scale=np.broadcast_to(np.exp(exponent), SIZE))
    assert_close(policy.entropy(), other.entropy().sum(-1), 10 * ROUNDING)
    np.testing.assert_allclose(policy.std(), other.std(), rtol=ROUNDING)


@settings(max_examples=25, deadline=None)
@given(a=excesses, b=excesses)
def test_entropy_std_and_mode_of_a_beta_policy_are_scipys(a, b):
    policy = Beta(*single(a, b))
    a, b = double(a, b)
    psi = scipy.special.psi
    expected = scipy.special.betaln(1 + a, 1 + b) - a * psi(1 + a) - b * psi(1 + b)
    expected += (a + b) * psi(2 + a + b)
    terms = 1 + beta_terms(a, b) + 2 * (a + b) * np.abs(psi(2 + a + b))
    assert_close(policy.entropy(), expected.sum(-1), 0.5 * ROUNDING * terms.sum(-1))
    np.testing.assert_allclose(policy.std(), scipy.stats.beta.std(1 + a, 1 + b), rtol=2 * ROUNDING)
    np.testing.assert_allclose(policy.mode(), a / (a + b), rtol=ROUNDING)


@pytest.mark.parametrize("concentrations", [(1 + 1e-6, 1 + 1e-6), (1.7, 5.0), (30.0, 2.0)])
def test_entropy_of_a_beta_policy_is_the_one_scipy_integrates(concentrations):
    policy = Beta(*single(*([[c - 1]] for c in concentrations)))
    expected = scipy.stats.beta.entropy(*concentrations)
    np.testing.assert_allclose(policy.entropy(), [expected], rtol=1e-5, atol=1e-5)


def mean_log_slope(location, scale):
    """Return `E log(1 − tanh² u)` of `u = location + scale ε`, ε standard normal."""

    def integrand(e):
        return np.exp(-0.5 * e**2 - HALF_LOG_2PI) * log_tanh_slope(location + scale * e)

    return scipy.integrate.quad(integrand, -9, 9)[0]


@pytest.mark.parametrize(
    ("scales", "tolerance"), [((0.01, 0.3, 0.7, 1.0, 1.4, 1.7, 2.0), 1e-3), ((2.5, 3.0), 1e-2)]
)
def test_entropy_of_a_squashed_policy_is_the_integral_to_the_promised_accuracy(scales, tolerance):
    locations = np.concatenate([np.linspace(-3, 3, 13), [8.0, -20.0]])
    for scale in scales:
        policy = TanhGaussian.build(*single(locations[:, None], np.log([scale])))
        normal = scipy.stats.norm.entropy(scale=scale)
        expected = [normal + mean_log_slope(location, scale) for location in locations]
        np.testing.assert_allclose(policy.entropy(), expected, rtol=0, atol=tolerance)


def test_entropy_of_a_squashed_policy_adds_up_over_dimensions():
    location, log_scale = jnp.array([[0.2, -1.0, 2.0]]), jnp.array([-1.0, 0.0, 0.5])
    alone = [
        TanhGaussian.build(location[:, i : i + 1], log_scale[i : i + 1]).entropy() for i in range(3)
    ]
    together = TanhGaussian.build(location, log_scale).entropy()
    np.testing.assert_allclose(together, np.sum(alone, 0), rtol=1e-5)


@pytest.mark.parametrize("policy", [Gaussian, Laplace, Gumbel])
def test_the_density_of_every_location_family_is_highest_at_the_mode(policy):
    policy = policy(jnp.array([[0.3, -2.0]]), jnp.array([0.4, -0.5]))
    steps = np.concatenate([np.linspace(0.01, 8, 100), -np.linspace(0.01, 8, 100)])
    for direction in ([1.0, 0.0], [0.0, 1.0], [1.0, -1.0]):
        elsewhere = policy.mode() + single(steps[:, None] * direction)[0]
        assert (policy.log_prob(elsewhere) < policy.log_prob(policy.mode())).all()


@pytest.mark.parametrize(("a", "b"), [(0.7, 4.0), (99.0, 20.0), (0.05, 0.01)])
def test_the_density_of_a_beta_policy_is_highest_at_the_mode(a, b):
    policy = Beta(*single([[a]], [[b]]))
    grid = np.linspace(1e-3, 1 - 1e-3, 999)
    density = policy.log_prob(single(grid[:, None])[0])
    assert (density <= policy.log_prob(policy.mode())).all()
    assert abs(grid[np.argmax(scipy.stats.beta.logpdf(grid, 1 + a, 1 + b))] - policy.mode()) < 1e-3


@pytest.mark.parametrize("name", ["laplace", "gumbel", "tanh-gaussian"])
@settings(max_examples=15, deadline=None)
@given(location=floats(-8, 8, SIZE), log_scale=floats(-2, 2, (2,)), offset=floats(-8, 8, SIZE))
def test_a_shift_moves_the_location_and_nothing_else(name, location, log_scale, offset):
    family = DISTRIBUTIONS[name]
    policy = family.build(*single(location, log_scale))
    shifted = policy.shift(jnp.asarray(offset))
    # JAX takes what is subnormal for zero.
    np.testing.assert_allclose(shifted.mode(), location + offset, rtol=0, atol=1e-37)
    np.testing.assert_array_equal(shifted.std(), policy.std())
    elsewhere = family.build(shifted.mode(), single(log_scale)[0])
    action = single(location)[0]
    np.testing.assert_array_equal(shifted.log_prob(action), elsewhere.log_prob(action))
    np.testing.assert_array_equal(shifted.entropy(), elsewhere.entropy())
    if name != "tanh-gaussian":  # Squashing narrows what lies far out.
        np.testing.assert_array_equal(shifted.entropy(), policy.entropy())


def test_a_beta_policy_has_no_location_to_shift():
    with pytest.raises(TypeError, match=r"no location to shift.*noise='none'"):
        Beta(jnp.ones((1, 2)), jnp.ones((1, 2))).shift(jnp.zeros((1, 2)))


@settings(max_examples=20, deadline=None)
@given(outputs=floats(-200, 200, (8, 4)))
def test_concentrations_of_a_beta_policy_are_above_one_whatever_the_actor_puts_out(outputs):
    policy = Beta.build(jnp.asarray(outputs), jnp.zeros(0))
    expected = np.logaddexp(0, float64(outputs)) + 1e-6
    np.testing.assert_allclose(policy.a, expected[:, :2], rtol=2 * ROUNDING)
    np.testing.assert_allclose(policy.b, expected[:, 2:], rtol=2 * ROUNDING)
    assert (policy.a + 1 > 1).all() and (policy.b + 1 > 1).all()


@pytest.mark.parametrize("name", ["gaussian", "laplace", "gumbel"])
def test_actions_in_the_environments_units_are_clipped_to_its_bounds(name):
    raw = jnp.array([[-9.0, 0.25], [1.0, 9.0]])
    executed = DISTRIBUTIONS[name].execute(raw, jnp.array([-1.0, -jnp.inf]), jnp.array([2.0, 3.0]))
    np.testing.assert_array_equal(executed, [[-1.0, 0.25], [1.0, 3.0]])


@settings(max_examples=20, deadline=None)
@given(
    raw=floats(-(2.0**99), 2.0**99, (2,)), low=floats(-10, 10, (2,)), width=floats(2**-10, 20, (2,))
)
def test_a_squashed_action_lies_on_the_bounds_at_infinity_and_midway_at_zero(raw, low, width):
    high = low + width
    bounds = (jnp.asarray(low), jnp.asarray(high))
    executed = TanhGaussian.execute(jnp.asarray(raw), *bounds)
    assert (executed >= low).all() and (executed <= high).all()
    # Half of a sum is off by no more than a rounding of the larger bound.
    rounding = 2e-7 * np.maximum(np.abs(low), np.abs(high))
    for at, expected in ((-1e9, low), (1e9, high), (0.0, (float64(low) + high) / 2)):
        found = TanhGaussian.execute(jnp.full(2, at), *bounds)
        assert (np.abs(found - expected) <= rounding + 1e-12).all()


@settings(max_examples=20, deadline=None)
@given(raw=floats(0, 1, (2,)), low=floats(-10, 10, (2,)), width=floats(2**-10, 20, (2,)))
def test_a_beta_action_is_stretched_onto_the_bounds(raw, low, width):
    high = low + width
    executed = Beta.execute(*(jnp.asarray(x) for x in (raw, low, high)))
    assert (executed >= low).all() and (executed <= high).all()
    expected = float64(low) + (float64(high) - low) * raw
    rounding = 4e-7 * np.maximum(np.abs(low), np.abs(high))
    assert (np.abs(executed - expected) <= rounding + 1e-12).all()
