"""Samples of all action distributions: their law, their independence and their surprise."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from algorithm.families import LOCATION_SCALE, double, float64, single
from robustpo.algorithm.distributions import DISTRIBUTIONS, Beta, TanhGaussian
from robustpo.algorithm.random import make_key

COUNT = 30_000
# Chances of a standard normal variable to lie farther out than this: 7e-6.
FAR = 4.5
LOCATION, LOG_SCALE = np.array([5.0, -1.0, 0.3]), np.array([-1.0, 0.5, 0.0])
CONCENTRATIONS = np.array([1 + 1e-6, 1.7, 5.0, 100.0])


def draw(name, seed):
    """Return a policy repeated in COUNT rows, its parameters and a sample of it."""
    if name == "beta":
        a, b = (np.tile(c - 1, (COUNT, 1)) for c in (CONCENTRATIONS, CONCENTRATIONS[[2, 1, 3, 0]]))
        policy = Beta(*single(a, b))
    else:
        policy = DISTRIBUTIONS[name].build(*single(np.tile(LOCATION, (COUNT, 1)), LOG_SCALE))
    noise = DISTRIBUTIONS[name].noise(np.shape(policy.mode()), key=make_key(seed))
    return policy, policy.sample(noise)


@pytest.mark.parametrize("name", LOCATION_SCALE)
def test_samples_of_location_families_have_scipys_distribution(name):
    _, action = draw(name, seed=1)
    for i, (location, scale) in enumerate(zip(LOCATION, np.exp(LOG_SCALE), strict=True)):
        other = LOCATION_SCALE[name](location, scale)
        assert scipy.stats.kstest(float64(action[:, i]), other.cdf).pvalue > 1e-3


def test_executed_samples_of_a_squashed_policy_have_the_squashed_distribution():
    location, scale = np.array([0.7, -1.5]), np.array([0.5, 1.0])
    policy = TanhGaussian.build(*single(np.tile(location, (COUNT, 1)), np.log(scale)))
    raw = policy.sample(TanhGaussian.noise((COUNT, 2), key=make_key(1)))
    low, high = np.array([-2.0, 0.0]), np.array([2.0, 3.0])
    action = float64(TanhGaussian.execute(raw, *single(low, high)))
    y = (2 * action - low - high) / (high - low)
    for i in range(2):
        rounded = np.clip(y[:, i], -1 + 1e-9, 1 - 1e-9)
        u = np.arctanh(rounded)
        assert scipy.stats.kstest(u, "norm", args=(location[i], scale[i])).pvalue > 1e-3


def test_samples_of_a_beta_policy_have_scipys_distribution():
    high_end, low_end = (x.ravel() for x in np.meshgrid(CONCENTRATIONS, CONCENTRATIONS))
    policy = Beta(*single(*(np.tile(x - 1, (COUNT // 4, 1)) for x in (high_end, low_end))))
    action = policy.sample(Beta.noise((COUNT // 4, 16), key=make_key(2)))
    assert (action > 0).all() and (action < 1).all()
    for i in range(16):
        other = scipy.stats.beta(high_end[i], low_end[i])
        assert scipy.stats.kstest(float64(action[:, i]), other.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_dimensions_and_rows_of_a_sample_are_independent(name):
    _, action = draw(name, seed=3)
    ranks = scipy.stats.rankdata(action, axis=0)
    size = ranks.shape[1]
    following = np.concatenate([ranks[:-1], ranks[1:]], axis=1)
    middle = (following / COUNT - 0.5) ** 2  # dependence that a correlation of ranks would miss
    for values in (following, middle):
        correlation = np.asarray(np.corrcoef(values.T))[:size]
        off_diagonal = correlation[~np.eye(size, 2 * size, dtype=bool)]
        assert np.abs(off_diagonal).max() < FAR / np.sqrt(COUNT)


# Variances of −log p(X). Laplace: |x| is exponential. Gumbel: with E = exp(−x) exponential it is
# E − log E, of which Var E = 1, Var log E = π²/6 and Cov(E, log E) = ψ(2) − ψ(1) = 1.
SURPRISE_VARIANCE = {"gaussian": 0.5, "laplace": 1.0, "gumbel": np.pi**2 / 6 - 1}


@pytest.mark.parametrize("name", SURPRISE_VARIANCE)
def test_entropy_is_the_mean_surprise_of_samples_with_its_own_variance(name):
    policy, action = draw(name, seed=4)
    surprise = -float64(policy.log_prob(action))
    variance = SURPRISE_VARIANCE[name] * len(LOCATION)
    assert abs(surprise.mean() - float(policy.entropy()[0])) < FAR * np.sqrt(variance / COUNT)
    kurtosis = scipy.stats.kurtosis(surprise, fisher=False)
    bound = FAR * variance * np.sqrt((kurtosis - 1) / COUNT)
    assert abs(surprise.var() - variance) < bound


@pytest.mark.parametrize(("name", "bias"), [("tanh-gaussian", 3e-3), ("beta", 0.0)])
def test_entropy_is_the_mean_surprise_of_bounded_samples(name, bias):
    policy, action = draw(name, seed=5)
    surprise = -float64(policy.log_prob(action))
    bound = FAR * surprise.std() / np.sqrt(COUNT) + bias + 1e-5
    assert abs(surprise.mean() - float(policy.entropy()[0])) < bound


def test_the_deterministic_action_of_a_squashed_policy_is_the_median_of_its_samples():
    policy, raw = draw("tanh-gaussian", seed=6)
    low, high = jnp.array([-1.0, 0.0, -3.0]), jnp.array([1.0, 2.0, 5.0])
    action = TanhGaussian.execute(raw, low, high)
    below = np.asarray(action <= TanhGaussian.execute(policy.mode(), low, high)).mean(0)
    # Where float32's tanh is 1 for both, the order is lost: the first dimension lies far out.
    assert (np.abs(below[1:] - 0.5) < FAR * 0.5 / np.sqrt(COUNT)).all()
    before = np.asarray(raw < policy.mode()).mean(0)
    assert (np.abs(before - 0.5) < FAR * 0.5 / np.sqrt(COUNT)).all()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_deviation_of_samples_is_the_stated_one(name):
    policy, action = draw(name, seed=7)
    samples = float64(action)
    kurtosis = scipy.stats.kurtosis(samples, fisher=False)
    (expected,) = double(policy.std()[0])
    bound = FAR * expected**2 * np.sqrt((kurtosis - 1) / COUNT)
    assert (np.abs(samples.var(0) - expected**2) < bound).all()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_sampling_is_a_function_of_the_key(name):
    family = DISTRIBUTIONS[name]
    first, again, other = (family.noise((16, 2), key=make_key(s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.mean(np.equal(first, other)) < 0.01


def test_a_beta_sample_falls_back_on_a_finite_action_if_every_proposal_is_refused():
    policy = Beta(jnp.array([[0.5]]), jnp.array([[2.0]]))
    # Cubes of these normals are negative, which refuses them.
    refused = jnp.stack([jnp.full((1, 1, 2, 8), -30.0), jnp.zeros((1, 1, 2, 8))], axis=-2)
    action = policy.sample(refused)
    # d/(d + d') with d = concentration − 1/3.
    np.testing.assert_allclose(action, [[(1.5 - 1 / 3) / (1.5 + 3 - 2 / 3)]], rtol=1e-5)
