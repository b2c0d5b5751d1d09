"""The log-density under perturbation in JAX, against SciPy and against what it must not do."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from robustpo.errors import ConfigError
from robustpo.jax import perturbed_log_prob

ROWS, SIZE, ALPHA = 4000, 3, 0.5
KEYS = jax.random.split(jax.random.key(0), 4)
MEAN = jax.random.normal(KEYS[0], (ROWS, SIZE))
STD = 0.5 + jax.random.uniform(KEYS[1], (ROWS, SIZE))
ACTION = jax.random.normal(KEYS[2], (ROWS, SIZE))
KEY = KEYS[3]
NOISE = ALPHA * jax.random.uniform(KEY, (ROWS, SIZE), minval=-1.0, maxval=1.0)


@dataclass
class Normal:
    """What Distrax and TensorFlow Probability have in common."""

    loc: jax.Array
    scale: jax.Array
    event_shape = ()

    @property
    def batch_shape(self):
        return jnp.broadcast_shapes(jnp.shape(self.loc), jnp.shape(self.scale))

    def log_prob(self, value):
        return jax.scipy.stats.norm.logpdf(value, self.loc, self.scale)


@dataclass
class Independent:
    distribution: Normal

    @property
    def batch_shape(self):
        return self.distribution.batch_shape[:-1]

    @property
    def event_shape(self):
        return self.distribution.batch_shape[-1:]

    def log_prob(self, value):
        return self.distribution.log_prob(value).sum(-1)


class Tanh:
    def inverse(self, value):
        return jnp.arctanh(value)


@dataclass
class Transformed:
    distribution: Independent
    bijector: Tanh

    @property
    def batch_shape(self):
        return self.distribution.batch_shape

    @property
    def event_shape(self):
        return self.distribution.event_shape

    def log_prob(self, value):
        inner = self.bijector.inverse(value)
        return self.distribution.log_prob(inner) - jnp.log1p(-(value**2)).sum(-1)


class Beta(Normal):
    """Has no location."""


def wanted(action: Any = ACTION):
    return scipy.stats.norm.logpdf(action, np.asarray(MEAN + NOISE, np.float64), STD)


def test_it_is_the_density_at_a_shifted_location():
    def log_prob(action):
        return jax.scipy.stats.norm.logpdf(action, MEAN, STD).sum(-1)

    for policy in (log_prob, Independent(Normal(MEAN, STD))):
        found = perturbed_log_prob(policy, ACTION, ALPHA, key=KEY)
        np.testing.assert_allclose(found, wanted().sum(-1), rtol=1e-4, atol=1e-4)
    found = perturbed_log_prob(Normal(MEAN, STD), ACTION, ALPHA, key=KEY)
    np.testing.assert_allclose(found, wanted(), rtol=1e-4, atol=1e-5)


def test_below_a_tanh_the_noise_shifts_what_is_squashed():
    action = jnp.tanh(0.5 * ACTION)
    policy = Transformed(Independent(Normal(MEAN, STD)), Tanh())
    found = perturbed_log_prob(policy, action, ALPHA, key=KEY)
    before = np.arctanh(np.asarray(action, np.float64))
    density = wanted(before) - np.log1p(-(np.asarray(action, np.float64) ** 2))
    np.testing.assert_allclose(found, density.sum(-1), rtol=1e-3, atol=1e-3)


def test_under_jit_the_key_decides_and_alpha_may_change():
    policy = Normal(MEAN, STD)

    @jax.jit
    def compiled(alpha, key):
        return perturbed_log_prob(policy, ACTION, alpha, key=key)

    first, other = compiled(ALPHA, KEY), compiled(ALPHA, KEYS[0])
    np.testing.assert_allclose(first, wanted(), rtol=1e-4, atol=1e-5)
    assert float((first == other).mean()) < 0.01
    np.testing.assert_allclose(compiled(0.0, KEY), policy.log_prob(ACTION), rtol=1e-6)


def test_in_half_precision_the_noise_is_as_fine_as_it_can_be():
    mean, std, action = (x.astype(jnp.bfloat16) for x in (MEAN, STD, ACTION))
    found = perturbed_log_prob(Normal(mean, std), action, ALPHA, key=KEY)
    assert found.dtype == jnp.bfloat16 and bool(jnp.isfinite(found).all())


@pytest.mark.parametrize(
    ("policy", "action", "words"),
    [
        (Normal(MEAN, STD), ACTION[:, :1], r"\(4000, 1\), .* \(4000, 3\)"),
        (Independent(Normal(MEAN, STD)), ACTION[:, 0], "one action for each row"),
        (Beta(MEAN, STD), ACTION, "Beta has no location"),
    ],
)
def test_what_cannot_be_is_refused(policy, action, words):
    with pytest.raises(ConfigError, match=words):
        perturbed_log_prob(policy, action, ALPHA, key=KEY)
