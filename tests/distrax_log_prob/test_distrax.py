"""The log-density under perturbation of Distrax' and TensorFlow Probability's own distributions."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import tensorflow_probability.substrates.jax as tfp

from robustpo.errors import ConfigError
from robustpo.jax import perturbed_log_prob

tfd, tfb = tfp.distributions, tfp.bijectors
ROWS, SIZE, ALPHA = 512, 3, 0.5
KEYS = jax.random.split(jax.random.key(7), 4)
MEAN = jax.random.normal(KEYS[0], (ROWS, SIZE))
# Far from 1, where noise that is stretched by it would not show.
STD = 0.05 + 0.4 * jax.random.uniform(KEYS[1], (ROWS, SIZE))
ACTION = MEAN + STD * jax.random.normal(KEYS[2], (ROWS, SIZE))
SQUASHED = jnp.tanh(0.5 * ACTION)
KEY = KEYS[3]
NOISE = ALPHA * jax.random.uniform(KEY, (ROWS, SIZE), minval=-1.0, maxval=1.0)
MEAN_64, STD_64 = np.asarray(MEAN, np.float64), np.asarray(STD, np.float64)
LOCATION = MEAN_64 + np.asarray(NOISE, np.float64)
SCALE_TRIL = jax.vmap(jnp.diag)(STD) + 0.1 * jnp.tril(jnp.ones((SIZE, SIZE)), -1)


def plain(family, *rest):
    return family.logpdf(np.asarray(ACTION, np.float64), *rest, LOCATION, STD_64)


def squashed():
    action = np.asarray(SQUASHED, np.float64)
    return scipy.stats.norm.logpdf(np.arctanh(action), LOCATION, STD_64) - np.log1p(-(action**2))


def correlated():
    scale = np.asarray(SCALE_TRIL, np.float64)
    actions = np.asarray(ACTION, np.float64)
    rows = zip(actions, LOCATION, scale @ scale.transpose(0, 2, 1), strict=True)
    return np.array([scipy.stats.multivariate_normal.logpdf(a, m, c) for a, m, c in rows])


NORMAL, LAPLACE = scipy.stats.norm, scipy.stats.laplace
GUMBEL, LOGISTIC = scipy.stats.gumbel_r, scipy.stats.logistic
D_TANH, T_TANH = distrax.Tanh(), tfb.Tanh()
D_NORMAL, T_NORMAL = distrax.Normal(MEAN, STD), tfd.Normal(MEAN, STD)
COVARIANCE = SCALE_TRIL @ SCALE_TRIL.transpose(0, 2, 1)

ELEMENTWISE = [
    (D_NORMAL, plain(NORMAL)),
    (distrax.LogStddevNormal(MEAN, jnp.log(STD)), plain(NORMAL)),
    (distrax.Laplace(MEAN, STD), plain(LAPLACE)),
    (distrax.Gumbel(MEAN, STD), plain(GUMBEL)),
    (distrax.Logistic(MEAN, STD), plain(LOGISTIC)),
    (T_NORMAL, plain(NORMAL)),
    (tfd.Laplace(MEAN, STD), plain(LAPLACE)),
    (tfd.Gumbel(MEAN, STD), plain(GUMBEL)),
    (tfd.StudentT(5.0, MEAN, STD), plain(scipy.stats.t, 5)),
]
OF_ROWS = [
    (distrax.Independent(D_NORMAL, 1), plain(NORMAL).sum(-1)),
    (distrax.MultivariateNormalDiag(MEAN, STD), plain(NORMAL).sum(-1)),
    (distrax.MultivariateNormalTri(MEAN, SCALE_TRIL), correlated()),
    (distrax.MultivariateNormalFullCovariance(MEAN, COVARIANCE), correlated()),
    (tfd.Independent(T_NORMAL, 1), plain(NORMAL).sum(-1)),
    (tfd.MultivariateNormalDiag(MEAN, STD), plain(NORMAL).sum(-1)),
    (tfd.MultivariateNormalTriL(MEAN, SCALE_TRIL), correlated()),
]
SQUASHING = [
    distrax.Transformed(distrax.Independent(D_NORMAL, 1), distrax.Block(D_TANH, 1)),
    distrax.Transformed(distrax.MultivariateNormalDiag(MEAN, STD), distrax.Block(D_TANH, 1)),
    distrax.Independent(distrax.Transformed(D_NORMAL, D_TANH), 1),
    tfd.TransformedDistribution(tfd.Independent(T_NORMAL, 1), T_TANH),
    tfd.TransformedDistribution(tfd.MultivariateNormalDiag(MEAN, STD), T_TANH),
    tfd.Independent(tfd.TransformedDistribution(T_NORMAL, T_TANH), 1),
]
CASES = [(policy, ACTION, wanted) for policy, wanted in (*ELEMENTWISE, *OF_ROWS)]
CASES += [(policy, SQUASHED, squashed().sum(-1)) for policy in SQUASHING]


def named(case):
    return f"{type(case).__module__.split('.')[0]}-{type(case).__name__}"


@pytest.mark.parametrize(("policy", "action", "wanted"), CASES, ids=lambda x: named(x))
def test_the_location_is_shifted_by_noise_that_nothing_stretches(policy, action, wanted):
    found = perturbed_log_prob(policy, action, ALPHA, key=KEY)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-3)
    zero = jax.jit(lambda a: perturbed_log_prob(policy, a, 0.0, key=KEY))(action)
    np.testing.assert_array_equal(zero, jax.jit(policy.log_prob)(action))
    other = perturbed_log_prob(policy, action, ALPHA, key=KEYS[0])
    assert float((found == other).mean()) < 0.01


def test_what_follows_the_squashing_may_stretch():
    policy = distrax.Transformed(D_NORMAL, distrax.Chain([distrax.ScalarAffine(0.0, 2.0), D_TANH]))
    found = perturbed_log_prob(policy, 2 * SQUASHED, ALPHA, key=KEY)
    np.testing.assert_allclose(found, squashed() - np.log(2.0), rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (distrax.Beta(1 + STD, 1 + STD), "Beta has no location"),
        (tfd.Beta(1 + STD, 1 + STD), "Beta has no location"),
        (distrax.ClippedNormal(MEAN, STD, -9.0, 9.0), "ClippedNormal has no location"),
        (
            distrax.Transformed(
                distrax.Normal(jnp.zeros_like(MEAN), jnp.ones_like(STD)),
                distrax.ScalarAffine(MEAN, STD),
            ),
            "gets its location from ScalarAffine",
        ),
    ],
)
def test_what_has_no_location_or_makes_it_by_stretching_is_refused(policy, words):
    with pytest.raises(ConfigError, match=words):
        perturbed_log_prob(policy, ACTION, ALPHA, key=KEY)
