"""Divergences against integrals, gradients against finite differences, and special functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from algorithm.families import LOCATION_SCALE, float64, single
from robustpo.algorithm.distributions import DISTRIBUTIONS, Beta, Gaussian
from robustpo.algorithm.distributions.gamma import digamma, log_gamma

# Location and log scale of pairs: equal, near, wide apart, and either one much the wider.
PAIRS = [
    ((0.0, 0.0), (0.0, 0.0)),
    ((3.0, -1.0), (3.0, -1.0)),
    ((0.0, 0.0), (0.01, 0.02)),
    ((0.0, 0.0), (2.0, 0.0)),
    ((0.0, 0.0), (-2.0, 0.0)),
    ((1.0, 0.5), (-1.0, -0.5)),
    ((-1.0, -0.5), (1.0, 0.5)),
    ((0.3, -2.0), (0.1, 1.0)),
    ((0.3, 0.8), (0.1, -0.4)),
    ((10.0, 0.3), (5.0, 0.0)),
    ((5.0, 0.3), (10.0, 1.5)),
]
# Concentrations less 1.
BETA_PAIRS = [
    ((0.5, 0.5), (0.5, 0.5)),
    ((1e-6, 1e-6), (1e-6, 1e-6)),
    ((1e-6, 2.0), (2.0, 1e-6)),
    ((1e-6, 1e-6), (4.0, 9.0)),
    ((3.0, 1.0), (3.01, 1.02)),
    ((40.0, 10.0), (1.0, 1.0)),
    ((1.0, 1.0), (8.0, 3.0)),
    ((99.0, 99.0), (60.0, 80.0)),
]


def integrated_divergence(p, q, low, high, breaks):
    """Return ∫ p log(p/q) in float64."""

    def integrand(x):
        log_p = p.logpdf(x)
        return np.exp(log_p) * (log_p - q.logpdf(x)) if log_p > -700 else 0.0

    inside = [x for x in breaks if low < x < high]
    return scipy.integrate.quad(integrand, low, high, points=inside, limit=500, epsabs=1e-9)[0]


@pytest.mark.parametrize("name", LOCATION_SCALE)
def test_divergence_is_the_integral_of_its_definition(name):
    expected = []
    for own, other in PAIRS:
        (p, q) = (LOCATION_SCALE[name](m, np.exp(s)) for m, s in (own, other))
        spread = 40 * p.std()
        breaks = [own[0], other[0], own[0] - 3 * p.std(), own[0] + 3 * p.std()]
        low = own[0] - spread
        expected.append(integrated_divergence(p, q, low, own[0] + spread, breaks))
    p, q = (
        DISTRIBUTIONS[name].build(*(single([[pair[side][i]] for pair in PAIRS])[0] for i in (0, 1)))
        for side in (0, 1)
    )
    found = p.kl(q)
    assert found.dtype == jnp.float32 and found.shape == (len(PAIRS),)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(found[:2], 0, atol=1e-6)


def test_divergence_of_beta_policies_is_the_integral_of_its_definition():
    expected = [
        integrated_divergence(
            scipy.stats.beta(1 + a, 1 + b), scipy.stats.beta(1 + c, 1 + d), 0, 1, [0.2, 0.5, 0.8]
        )
        for (a, b), (c, d) in BETA_PAIRS
    ]
    p, q = (
        Beta(*(single([[pair[side][i]] for pair in BETA_PAIRS])[0] for i in (0, 1)))
        for side in (0, 1)
    )
    found = p.kl(q)
    # log B of concentrations near 100 is the difference of numbers near 1000.
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[:2], 0, atol=1e-6)


def parameters(name, rng, size=(64, 3)):
    """Return outputs of the actor and a log scale, in float64."""
    family = DISTRIBUTIONS[name]
    outputs = rng.normal(scale=1.5, size=(*size[:-1], family.outputs_per_action * size[-1]))
    return outputs, 0.6 * rng.normal(size=size[-1] if family.has_scale else 0)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_divergence_is_never_negative_and_nothing_between_equals(name):
    rng = np.random.default_rng(2)
    family = DISTRIBUTIONS[name]
    p, q = (family.build(*single(*parameters(name, rng, (2000, 3)))) for _ in range(2))
    assert (p.kl(q) > 0).all()
    np.testing.assert_allclose(p.kl(p), 0, atol=1e-5)


def test_divergence_of_squashed_policies_is_that_before_the_squashing():
    rng = np.random.default_rng(3)
    both = [single(*parameters("gaussian", rng)) for _ in range(2)]
    plain = [Gaussian.build(*each) for each in both]
    squashed = [DISTRIBUTIONS["tanh-gaussian"].build(*each) for each in both]
    np.testing.assert_array_equal(squashed[0].kl(squashed[1]), plain[0].kl(plain[1]))


def test_divergence_of_gumbel_policies_far_apart_is_finite_with_a_finite_gradient():
    def divergence(location):
        p = DISTRIBUTIONS["gumbel"].build(location, jnp.zeros(1))
        return p.kl(DISTRIBUTIONS["gumbel"].build(jnp.zeros((1, 1)), jnp.zeros(1))).sum()

    for location in (-1000.0, 1000.0):
        value, slope = jax.value_and_grad(divergence)(jnp.full((1, 1), location))
        assert np.isfinite(value) and np.isfinite(slope).all()


def quantities(name):
    """Return log-density, entropy and divergence as functions of outputs and log scale."""
    family = DISTRIBUTIONS[name]

    def log_prob(outputs, log_scale, action, *_):
        return family.build(outputs, log_scale).log_prob(action)

    def entropy(outputs, log_scale, *_):
        return family.build(outputs, log_scale).entropy()

    def kl_from(outputs, log_scale, _, *other):
        return family.build(outputs, log_scale).kl(family.build(*other))

    def kl_to(outputs, log_scale, _, *other):
        return family.build(*other).kl(family.build(outputs, log_scale))

    return log_prob, entropy, kl_from, kl_to


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_gradients_are_those_of_finite_differences_in_float64(name):
    rng = np.random.default_rng(4)
    outputs, log_scale = parameters(name, rng, (4, 2))
    other = parameters(name, rng, (4, 2))
    action = rng.uniform(0.05, 0.95, (4, 2)) if name == "beta" else rng.normal(size=(4, 2))
    split, step = outputs.size, 1e-5
    with jax.enable_x64(True):
        constants = [jnp.asarray(x) for x in (action, *other)]
        start = jnp.concatenate([jnp.asarray(outputs).ravel(), jnp.asarray(log_scale)])

        def totals(vector):
            free = vector[:split].reshape(outputs.shape), vector[split:]
            values = [quantity(*free, *constants) for quantity in quantities(name)]
            assert all(x.dtype == jnp.float64 and x.shape == (4,) for x in values)
            return jnp.stack([x.sum() for x in values])

        evaluate = jax.jit(jax.vmap(totals))
        steps = step * jnp.eye(len(start))
        slopes = (evaluate(start[None] + steps) - evaluate(start[None] - steps)) / (2 * step)
        found = jax.jit(jax.jacrev(totals))(start)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, slopes.T, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", LOCATION_SCALE)
def test_gradient_of_log_prob_is_that_of_scipys_density(name):
    rng = np.random.default_rng(5)
    location, scale, action, step = rng.normal(), 1.7, rng.normal(size=30), 1e-6
    density = LOCATION_SCALE[name].logpdf

    def slope(low, high):
        return ((density(action, *high) - density(action, *low)) / (2 * step)).sum()

    by_location = slope((location - step, scale), (location + step, scale))
    by_log_scale = slope((location, scale * np.exp(-step)), (location, scale * np.exp(step)))

    def total(outputs, log_scale):
        policy = DISTRIBUTIONS[name].build(jnp.tile(outputs, (30, 1)), log_scale)
        return policy.log_prob(single(action[:, None])[0]).sum()

    found = jax.grad(total, argnums=(0, 1))(*single([location], [np.log(scale)]))
    np.testing.assert_allclose(np.ravel(found), [by_location, by_log_scale], rtol=1e-4)


ARGUMENTS = np.concatenate([np.linspace(1, 10, 400), np.geomspace(10, 1e6, 400)])


@pytest.mark.parametrize(
    ("function", "other"),
    [(log_gamma, scipy.special.gammaln), (digamma, scipy.special.psi)],
    ids=["log_gamma", "digamma"],
)
def test_special_functions_are_scipys_from_one_to_a_million(function, other):
    (x,) = single(ARGUMENTS)
    found = function(x)
    assert found.dtype == jnp.float32
    # Near their zeros, at 1, 2 and 1.46, what counts is the rounding of the terms: each below 20.
    np.testing.assert_allclose(found, other(float64(x)), rtol=1e-6, atol=5e-6)


def test_special_functions_are_exact_to_float32_before_any_rounding():
    with jax.enable_x64(True):
        x = jnp.asarray(ARGUMENTS)
        found = log_gamma(x), digamma(x), jax.jit(jax.vmap(jax.grad(log_gamma)))(x)
        slope = jax.jit(jax.vmap(jax.grad(digamma)))(x)
    psi = scipy.special.psi(ARGUMENTS)
    for values, expected in zip(found, (scipy.special.gammaln(ARGUMENTS), psi, psi), strict=True):
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, expected, rtol=1e-7, atol=6e-8)
    np.testing.assert_allclose(slope, scipy.special.polygamma(1, ARGUMENTS), rtol=1e-6)
