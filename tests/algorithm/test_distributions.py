"""Action distributions against SciPy and against their own samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithm.families import floats
from robustpo.algorithm.distributions import Gaussian
from robustpo.algorithm.random import make_key


@st.composite
def gaussians(draw):
    """Location, log scale and an action up to twelve deviations away."""
    size = draw(st.integers(1, 3))
    location = draw(floats(-1024, 1024, (4, size)))
    log_scale = draw(floats(-6, 4, draw(st.sampled_from([(size,), (4, size)]))))
    deviations = draw(floats(-12, 12, (4, size)))
    return location, log_scale, location + np.exp(log_scale) * deviations


@settings(max_examples=60, deadline=None)
@given(gaussians())
def test_log_prob_is_the_sum_of_scipys_log_densities(drawn):
    location, log_scale, action = drawn
    scale = np.exp(np.float64(log_scale))
    expected = scipy.stats.norm.logpdf(np.float64(action), np.float64(location), scale).sum(-1)
    found = Gaussian(jnp.asarray(location), jnp.asarray(log_scale)).log_prob(jnp.asarray(action))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(gaussians())
def test_entropy_and_std_are_scipys(drawn):
    location, log_scale, _ = drawn
    policy = Gaussian(jnp.asarray(location), jnp.asarray(log_scale))
    scale = np.broadcast_to(np.exp(np.float64(log_scale)), location.shape)
    expected = scipy.stats.norm.entropy(scale=scale).sum(-1)
    np.testing.assert_allclose(policy.entropy(), expected, rtol=2e-6, atol=5e-6)
    np.testing.assert_allclose(policy.std(), scale, rtol=1e-6)
    assert policy.entropy().shape == (4,) and policy.std().shape == location.shape


@pytest.mark.parametrize("log_scale", [[-3.0, 0.0], [2.0, 0.7]])
def test_entropy_is_the_mean_surprise_of_its_samples(log_scale):
    count = 200_000
    policy = Gaussian(jnp.tile(jnp.array([5.0, -1.0]), (count, 1)), jnp.array(log_scale))
    action = policy.sample(Gaussian.noise((count, 2), key=make_key(3)))
    surprise = -np.float64(policy.log_prob(action))
    # The surprise is a constant plus half a chi-square of two degrees of freedom: variance 1.
    assert abs(surprise.mean() - float(policy.entropy()[0])) < 4.5 / np.sqrt(count)
    assert abs(surprise.var() - 1.0) < 4.5 * np.sqrt(8 / count)  # Var of Exp(1)'s square: 9 - 1


def test_standard_noise_is_standard_normal():
    count = 400_000
    noise = np.float64(Gaussian.noise((count // 4, 4), key=make_key(1)))
    assert noise.shape == (count // 4, 4)
    flat = noise.ravel()
    assert abs(flat.mean()) < 4.5 / np.sqrt(count)
    assert abs(flat.var() - 1) < 4.5 * np.sqrt(2 / count)
    assert abs((flat**3).mean()) < 4.5 * np.sqrt(15 / count)
    assert abs((flat**4).mean() - 3) < 4.5 * np.sqrt(96 / count)
    assert scipy.stats.kstest(flat, "norm").pvalue > 1e-3
    correlation = np.corrcoef(noise.T) - np.eye(4)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(count // 4)


def test_sample_scales_the_noise_and_moves_it_to_the_location():
    rng = np.random.default_rng(0)
    location, noise = rng.normal(size=(2, 7, 3))
    log_scale = rng.normal(size=3)
    policy = Gaussian(jnp.float32(location), jnp.float32(log_scale))
    expected = location + np.exp(log_scale) * noise
    np.testing.assert_allclose(policy.sample(jnp.float32(noise)), expected, rtol=1e-5, atol=1e-6)


def test_the_mode_has_the_highest_density():
    policy = Gaussian(jnp.array([[0.3, -2.0]]), jnp.array([0.1, -0.5]))
    gradient = jax.grad(lambda a: policy.log_prob(a).sum())(policy.mode())
    np.testing.assert_array_equal(gradient, np.zeros((1, 2)))
    assert (policy.log_prob(policy.mode() + 0.1) < policy.log_prob(policy.mode())).all()


@settings(max_examples=30, deadline=None)
@given(floats(-8, 8, (4, 2)), floats(-2, 2, (2,)), floats(-8, 8, (4, 2)), floats(-8, 8, (4, 2)))
def test_shifting_the_location_is_shifting_the_action_back(location, log_scale, offset, action):
    policy = Gaussian(jnp.asarray(location), jnp.asarray(log_scale))
    shifted = policy.shift(jnp.asarray(offset))
    moved_back = (np.float64(action) - offset - location) / np.exp(np.float64(log_scale))
    expected = (scipy.stats.norm.logpdf(moved_back) - log_scale).sum(-1)
    np.testing.assert_allclose(
        shifted.log_prob(jnp.asarray(action)), expected, rtol=1e-5, atol=3e-4
    )
    # JAX takes what is subnormal for zero.
    np.testing.assert_allclose(shifted.mode(), location + offset, rtol=0, atol=1e-37)
    np.testing.assert_array_equal(shifted.entropy(), policy.entropy())
    np.testing.assert_array_equal(shifted.std(), policy.std())
