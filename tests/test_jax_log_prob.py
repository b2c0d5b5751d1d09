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
    distribution: Any
    bijector: Any

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


@dataclass
class Affine:
    """What Distrax and TensorFlow Probability make a multivariate normal with."""

    loc: jax.Array
    scale: jax.Array

    def inverse(self, value):
        return (value - self.loc) / self.scale


class MultivariateNormalDiag(Transformed):
    """In Distrax a standard normal, stretched and moved: its noise is not to be stretched."""

    def __init__(self, loc, scale):
        standard = Independent(Normal(jnp.zeros_like(loc), jnp.ones_like(scale)))
        super().__init__(standard, Affine(loc, scale))

    def log_prob(self, value):
        return self.distribution.log_prob(self.bijector.inverse(value)) - jnp.log(
            self.bijector.scale
        ).sum(-1)


class Squashed(Transformed):
    """Another density than that of what it transforms."""

    def log_prob(self, value):
        return super().log_prob(jnp.clip(value, -0.9, 0.9))


def test_a_normal_that_is_made_by_stretching_gets_noise_that_is_not_stretched():
    policy = MultivariateNormalDiag(MEAN, STD)
    found = perturbed_log_prob(policy, ACTION, ALPHA, key=KEY)
    np.testing.assert_allclose(found, wanted().sum(-1), rtol=1e-4, atol=1e-4)
    action = jnp.tanh(0.5 * ACTION)
    found = perturbed_log_prob(Transformed(policy, Tanh()), action, ALPHA, key=KEY)
    before = np.arctanh(np.asarray(action, np.float64))
    density = wanted(before) - np.log1p(-(np.asarray(action, np.float64) ** 2))
    np.testing.assert_allclose(found, density.sum(-1), rtol=1e-3, atol=1e-3)


def test_independent_may_stand_around_what_is_squashed():
    class Elementwise(Transformed):
        def log_prob(self, value):
            inner = self.bijector.inverse(value)
            return self.distribution.log_prob(inner) - jnp.log1p(-(value**2))

    Elementwise.__name__ = "Transformed"
    policy: Any = Independent(Elementwise(Normal(MEAN, STD), Tanh()))  # type: ignore[arg-type]
    action = jnp.tanh(0.5 * ACTION)
    found = perturbed_log_prob(policy, action, ALPHA, key=KEY)
    before = np.arctanh(np.asarray(action, np.float64))
    density = wanted(before) - np.log1p(-(np.asarray(action, np.float64) ** 2))
    np.testing.assert_allclose(found, density.sum(-1), rtol=1e-3, atol=1e-3)


def test_the_number_zero_is_the_plain_density_bit_for_bit_in_what_is_compiled_too():
    policy = Transformed(Independent(Normal(MEAN, STD)), Tanh())
    action = jnp.tanh(0.5 * ACTION)
    found = jax.jit(lambda a: perturbed_log_prob(policy, a, 0.0, key=KEY))(action)
    np.testing.assert_array_equal(found, jax.jit(policy.log_prob)(action))


@pytest.mark.parametrize(
    ("policy", "action", "words"),
    [
        (Normal(MEAN, STD), ACTION[:, :1], r"\(4000, 1\), .* \(4000, 3\)"),
        (Independent(Normal(MEAN, STD)), ACTION[:, 0], "one action for each row"),
        (Beta(MEAN, STD), ACTION, "Beta has no location"),
        (Independent(Beta(MEAN, STD)), ACTION, "nor has its Beta"),
        (lambda action: jnp.sum(action - MEAN, -1), ACTION[:1], r"\(1, 3\) have .* \(4000,\)"),
        ("normal", ACTION, "distribution='normal' is not valid; give one of Distrax"),
        (
            Transformed(Independent(Normal(MEAN, STD)), Affine(MEAN, STD)),
            ACTION,
            "gets its location from Affine, which would stretch the noise",
        ),
        (Squashed(Independent(Normal(MEAN, STD)), Tanh()), ACTION, "Squashed has no location"),
    ],
)
def test_what_cannot_be_is_refused(policy, action, words):
    with pytest.raises(ConfigError, match=words):
        perturbed_log_prob(policy, action, ALPHA, key=KEY)


@pytest.mark.parametrize("alpha", [-0.5, float("nan"), "0.5"])
def test_alpha_is_a_number_of_at_least_zero(alpha):
    with pytest.raises(ConfigError, match=r"alpha=.* is not valid"):
        perturbed_log_prob(Normal(MEAN, STD), ACTION, alpha, key=KEY)
    numpys: Any = np.float32(ALPHA)
    found = perturbed_log_prob(Normal(MEAN, STD), ACTION, numpys, key=KEY)
    np.testing.assert_allclose(found, wanted(), rtol=1e-4, atol=1e-5)
