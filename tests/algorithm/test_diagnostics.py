"""What is reported of the perturbation, against NumPy with the same draws."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from algorithm import reference
from algorithm.families import float32, float64
from algorithm.reference import coefficients, random_batch, random_params, to_batch, to_leaves
from robustpo.algorithm.diagnostics import perturbation_diagnostics
from robustpo.algorithm.random import make_key
from robustpo.base.registry import NOISES
from robustpo.config.shape import Shape
from robustpo.training.compilation import compiler_options

ROWS, OBS, ACTIONS, HIDDEN = 400, 3, 2, (6, 5)
KEY = make_key(6)
PARAMS = random_params(OBS, ACTIONS, HIDDEN, seed=1)

diagnose = jax.jit(perturbation_diagnostics, static_argnums=3, compiler_options=compiler_options())


def shape(**changed):
    return Shape(hidden_sizes=HIDDEN, num_steps=ROWS, num_minibatches=1, **changed)


def collected(seed=0, invalid=0):
    """Return rows whose log-densities are those of the policy, as after a collection."""
    batch = random_batch(PARAMS, ROWS, seed=seed, invalid=invalid)
    location, log_std, _ = reference.evaluate(to_leaves(PARAMS), batch["obs"])
    log_prob = reference.log_density(location, log_std, float64(batch["action"]))
    return batch | {"log_prob": float32(log_prob)}


def second_diagnostics(batch, moved, log_std, sigma_over_alpha):
    """Return the diagnostics of a policy moved to the locations and log deviations given."""
    location, plain_log_std, _ = reference.evaluate(to_leaves(PARAMS), batch["obs"])
    log_prob = reference.log_density(moved, log_std, float64(batch["action"]))
    ratio = np.exp(log_prob - float64(batch["log_prob"]))
    variance, moved_variance = np.exp(2 * plain_log_std), np.exp(2 * log_std)
    kl = log_std - plain_log_std + (variance + (location - moved) ** 2) / (2 * moved_variance)
    valid = batch["valid"]
    return {
        "noise_clip_fraction": (np.abs(ratio - 1) > 0.2)[valid].mean(),
        "noise_kl": (kl - 0.5).sum(-1)[valid].mean(),
        "sigma_alpha": sigma_over_alpha,
    }


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("noise", ["uniform", "gumbel"])
@pytest.mark.parametrize("relative", [False, True])
def test_diagnostics_are_those_of_a_second_implementation(noise, relative):
    batch = collected(invalid=60)
    numbers = coefficients(alpha=0.3, noise_location=0.05, alpha_relative=relative)
    found = diagnose(PARAMS, to_batch(batch), numbers, shape(noise=noise), key=KEY)
    location, log_std, _ = reference.evaluate(to_leaves(PARAMS), batch["obs"])
    unit = np.exp(log_std) if relative else np.ones(ACTIONS)
    z = unit * (0.05 + 0.3 * float64(NOISES[noise].draw((ROWS, ACTIONS), key=KEY)))
    ratio = (np.exp(log_std) / (0.3 * unit)).mean()
    expected = second_diagnostics(batch, location + z, log_std, ratio)
    assert 0.1 < expected["noise_clip_fraction"] < 0.9
    assert_equal(found, expected)


@pytest.mark.parametrize(("alpha", "scale"), [(0.5, 1.0), (0.1, 0.4), (2.0, 0.7)])
def test_noise_kl_of_a_gaussian_policy_is_the_penalty_of_the_paper(alpha, scale):
    params = replace(PARAMS, log_std=jnp.full(ACTIONS, np.log(scale)))
    found = diagnose(params, to_batch(collected()), coefficients(alpha=alpha), shape(), key=KEY)
    # KL = Σ z²/(2σ²) with z² of mean α²/3 and variance 4α⁴/45 (paper, eq. 13).
    expected = ACTIONS * alpha**2 / (6 * scale**2)
    deviation = np.sqrt(ACTIONS * 4 / 45 / ROWS) * alpha**2 / (2 * scale**2)
    assert abs(float(found["noise_kl"]) - expected) < 4.5 * deviation
    np.testing.assert_allclose(found["sigma_alpha"], scale / alpha, rtol=1e-5)


def test_without_magnitude_the_noise_clips_nothing():
    found = diagnose(PARAMS, to_batch(collected()), coefficients(alpha=0.0), shape(), key=KEY)
    assert float(found["noise_clip_fraction"]) == 0
    assert abs(float(found["noise_kl"])) < 1e-6
    assert float(found["sigma_alpha"]) == np.inf


def test_more_noise_clips_more():
    batch = to_batch(collected())
    fractions = [
        float(
            diagnose(PARAMS, batch, coefficients(alpha=alpha), shape(), key=KEY)[
                "noise_clip_fraction"
            ]
        )
        for alpha in (0.01, 0.1, 0.5, 5.0)
    ]
    assert fractions == sorted(fractions) and fractions[0] < 0.05 and fractions[-1] > 0.9


@pytest.mark.parametrize("changed", [{"noise": "none"}, {"noise_in": "collection"}])
def test_an_update_without_noise_reports_that_there_is_nothing(changed):
    found = diagnose(PARAMS, to_batch(collected()), coefficients(), shape(**changed), key=KEY)
    assert set(found) == {"noise_clip_fraction", "noise_kl", "sigma_alpha"}
    assert all(np.isnan(x) and x.dtype == jnp.float32 for x in found.values())


def test_noise_on_parameters_is_measured_by_the_policy_that_they_make():
    batch = collected(invalid=60)
    numbers = coefficients(alpha=0.05)
    options = shape(noise_on="parameters")
    found = diagnose(PARAMS, to_batch(batch), numbers, options, key=KEY)
    leaves = to_leaves(PARAMS)
    size = sum(x.size for x in leaves)
    z = iter(0.05 * float64(NOISES["uniform"].draw((size,), key=KEY)))
    perturbed = [x + np.array([next(z) for _ in range(x.size)]).reshape(x.shape) for x in leaves]
    moved, log_std, _ = reference.evaluate(perturbed, batch["obs"])
    ratio = np.exp(to_leaves(PARAMS)[6]).mean() / 0.05
    assert_equal(found, second_diagnostics(batch, moved, log_std, ratio))


def test_phantom_rows_are_not_measured():
    batch = collected(invalid=60)
    clean = diagnose(PARAMS, to_batch(batch), coefficients(), shape(), key=KEY)
    for name in ("obs", "action", "log_prob"):
        changed = batch | {name: batch[name].copy()}
        changed[name][~batch["valid"]] = 1e4
        found = diagnose(PARAMS, to_batch(changed), coefficients(), shape(), key=KEY)
        jax.tree.map(np.testing.assert_array_equal, found, clean)


@pytest.mark.parametrize("estimator", ["sampled-k", "marginal", "expected"])
def test_clipping_is_that_of_the_estimator_that_learns(estimator):
    batch = collected()
    numbers = coefficients(alpha=1.2)
    options = shape(estimator=estimator)
    found = diagnose(PARAMS, to_batch(batch), numbers, options, key=KEY)
    location, log_std, _ = reference.evaluate(to_leaves(PARAMS), batch["obs"])
    deviation = float64(batch["action"]) - location
    scale, action = np.exp(log_std), float64(batch["action"])
    if estimator == "sampled-k":
        z = 1.2 * float64(NOISES["uniform"].draw((4, ROWS, ACTIONS), key=KEY))
        log_prob = np.stack([reference.log_density(location + each, log_std, action) for each in z])
    elif estimator == "expected":
        penalty = (1.2**2 / (6 * scale**2)).sum()
        log_prob = reference.log_density(location, log_std, action) - penalty
    else:
        above, below = (scipy.stats.norm.cdf((deviation + s * 1.2) / scale) for s in (1, -1))
        log_prob = np.log((above - below) / (2 * 1.2)).sum(-1)
    fraction = (np.abs(np.exp(log_prob - batch["log_prob"]) - 1) > 0.2).mean()
    assert 0.02 < fraction <= 1
    np.testing.assert_allclose(found["noise_clip_fraction"], fraction, atol=1e-6)
