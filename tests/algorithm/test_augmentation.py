"""Random amplitude scaling and DrAC's regularisation against NumPy."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from algorithm import reference
from algorithm.families import float32, float64, single
from algorithm.reference import (
    coefficients,
    random_batch,
    random_params,
    to_batch,
    to_leaves,
    to_minibatch,
)
from robustpo.algorithm.augmentation import drac_loss, draw_uniform, scale_amplitude
from robustpo.algorithm.losses import minibatch_keys
from robustpo.algorithm.networks import action_distribution, state_value
from robustpo.algorithm.normalization import (
    RunningMoments,
    normalize_observation,
    observation_offset,
)
from robustpo.algorithm.objective import objective
from robustpo.algorithm.random import make_key
from robustpo.config.shape import Shape
from robustpo.training.compilation import compiler_options

ROWS, OBS, ACTIONS, HIDDEN = 40, 3, 2, (6, 5)
KEY = make_key(4)
PARAMS = random_params(OBS, ACTIONS, HIDDEN, seed=1)
LOW, HIGH = 0.6, 1.2


def shape(**changed):
    return Shape(
        **{
            "hidden_sizes": HIDDEN,
            "num_steps": ROWS,
            "num_minibatches": 1,
            "noise": "none",
            "augmentation": "drac",
        }
        | changed
    )


def draw_factors(per, size, key=KEY):
    """Return the factors of a minibatch, one column or one per dimension."""
    drawn = draw_uniform(size, shape(augmentation_per=per), key=key)
    return LOW + (HIGH - LOW) * float64(drawn)


@pytest.mark.parametrize(("per", "columns"), [("state", 1), ("dimension", 5)])
def test_factors_fill_the_interval_evenly(per, columns):
    size = (40_000, 5)
    drawn = draw_uniform(size, shape(augmentation_per=per), key=KEY)
    assert drawn.shape == (size[0], columns)
    factor = scale_amplitude(jnp.ones(size), drawn, jnp.float32(LOW), jnp.float32(HIGH), None)
    assert float32(LOW) <= factor.min() and factor.max() <= float32(HIGH)
    standard = (float64(factor) - LOW) / (HIGH - LOW)
    for column in standard.T[:columns]:
        assert scipy.stats.kstest(column, "uniform").pvalue > 1e-3
    following = np.concatenate([standard[:-1, :columns], standard[1:, :columns]], axis=1)
    correlation = np.asarray(np.corrcoef(following.T))[:columns]
    off_diagonal = correlation[~np.eye(columns, 2 * columns, dtype=bool)]
    assert np.abs(off_diagonal).max() < 4.5 / np.sqrt(size[0])
    if per == "state":  # the same factor for every dimension
        assert (np.asarray(factor) == np.asarray(factor[:, :1])).all()


def test_factors_have_the_axes_of_the_observations():
    for per, last in (("state", 1), ("dimension", 3)):
        drawn = draw_uniform((7, 5, 3), shape(augmentation_per=per), key=KEY)
        assert drawn.shape == (7, 5, last)


def test_equal_ends_scale_by_that_factor():
    obs = single(np.random.default_rng(0).normal(size=(9, OBS)))[0]
    drawn = draw_uniform(obs.shape, shape(), key=KEY)
    np.testing.assert_array_equal(
        scale_amplitude(obs, drawn, jnp.float32(1), jnp.float32(1), None), obs
    )
    doubled = scale_amplitude(obs, drawn, jnp.float32(2), jnp.float32(2), None)
    np.testing.assert_allclose(doubled, 2 * obs, rtol=1e-6)


@pytest.mark.parametrize("per", ["state", "dimension"])
def test_with_an_offset_it_is_the_raw_observation_that_is_scaled(per):
    rng = np.random.default_rng(1)
    raw = float32(np.array([5.0, -30.0, 0.2]) + rng.normal(size=(200, OBS)) * [1.0, 4.0, 0.5])
    moments = RunningMoments.create((OBS,))
    for rows in raw.reshape(4, 50, OBS):
        moments = moments.update(jnp.asarray(rows))
    drawn = draw_uniform(raw.shape, shape(augmentation_per=per), key=KEY)
    factor = float32(LOW + (HIGH - LOW) * np.asarray(drawn))
    expected = normalize_observation(jnp.asarray(factor * raw), moments)
    assert (np.abs(expected) < 10).mean() > 0.9 and np.abs(expected).max() <= 10
    found = scale_amplitude(
        normalize_observation(jnp.asarray(raw), moments),
        drawn,
        jnp.float32(LOW),
        jnp.float32(HIGH),
        observation_offset(moments),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    # Nothing of the sort is true of scaling the normalised observation.
    plain = scale_amplitude(
        normalize_observation(jnp.asarray(raw), moments),
        drawn,
        jnp.float32(LOW),
        jnp.float32(HIGH),
        None,
    )
    assert np.abs(plain - expected).max() > 1


def scaled_observations(batch, per, of):
    factor = draw_factors(per, batch["obs"].shape)
    obs = float64(batch["obs"])
    if of == "normalized":
        return factor * obs
    return np.clip(factor * obs + (factor - 1) * float64(batch["obs_offset"]), -10, 10)


def second_drac_loss(leaves, target, scaled):
    """Return `KL(N(m, s) ‖ N(m', s')) + ½ (v − v')²` row by row, `target = (m, log s, v)`."""
    (m, log_s, v), (m2, log_s2, v2) = target, reference.evaluate(leaves, scaled)
    kl = log_s2 - log_s + (np.exp(2 * log_s) + (m - m2) ** 2) / (2 * np.exp(2 * log_s2)) - 0.5
    return kl.sum(-1) + 0.5 * (v - v2) ** 2


def make_batch(seed, invalid=0):
    batch = random_batch(PARAMS, ROWS, seed=seed, invalid=invalid)
    offset = np.random.default_rng(seed).normal(scale=2, size=OBS)
    batch["obs_offset"] = float32(np.broadcast_to(offset, (ROWS, OBS)))
    return batch


CASES = [("state", "normalized"), ("dimension", "normalized"), ("state", "raw")]


@pytest.mark.parametrize(("per", "of"), CASES)
def test_regularisation_is_that_of_a_second_implementation(per, of):
    batch = make_batch(seed=2)
    options = shape(augmentation_per=per, augmentation_of=of)
    minibatch, leaves = to_batch(batch), to_leaves(PARAMS)
    policy = action_distribution(PARAMS, minibatch.obs, options)
    value = state_value(PARAMS, minibatch.obs, options)
    found = drac_loss(PARAMS, policy, value, minibatch, coefficients(), options, key=KEY)
    target = reference.evaluate(leaves, batch["obs"])
    expected = second_drac_loss(leaves, target, scaled_observations(batch, per, of))
    assert expected.max() > 0.05 and found.shape == (ROWS,)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6)


def regularisation(params, minibatch, numbers, options, *, key):
    """Return the mean over valid rows, policy and value at the plain observations included."""
    policy = action_distribution(params, minibatch.obs, options)
    value = state_value(params, minibatch.obs, options)
    rows = drac_loss(params, policy, value, minibatch, numbers, options, key=key)
    return jnp.where(minibatch.valid, rows, 0).sum() / minibatch.valid.sum().astype(rows.dtype)


slopes_of_regularisation = jax.jit(
    jax.value_and_grad(regularisation), static_argnums=3, compiler_options=compiler_options()
)


def finite_differences(function, leaves, step=1e-6):
    gradient = [np.zeros_like(x) for x in leaves]
    for x, slope in zip(leaves, gradient, strict=True):
        for index in np.ndindex(x.shape):
            before = x[index]
            x[index] = before + step
            above = function(leaves)
            x[index] = before - step
            below = function(leaves)
            x[index] = before
            slope[index] = (above - below) / (2 * step)
    return gradient


@pytest.mark.parametrize(("per", "of"), CASES)
def test_no_gradient_flows_into_what_is_drawn_to(per, of):
    batch = make_batch(seed=3, invalid=6)
    options = shape(augmentation_per=per, augmentation_of=of)
    _, gradient = slopes_of_regularisation(
        PARAMS, to_batch(batch), coefficients(), options, key=KEY
    )
    leaves = to_leaves(PARAMS)
    target = reference.evaluate(to_leaves(PARAMS), batch["obs"])
    scaled = scaled_observations(batch, per, of)

    def held(leaves):
        return second_drac_loss(leaves, target, scaled)[batch["valid"]].mean()

    def free(leaves):
        own = reference.evaluate(leaves, batch["obs"])
        return second_drac_loss(leaves, own, scaled)[batch["valid"]].mean()

    found = [float64(x) for x in jax.tree.leaves(gradient)]
    expected, wrong = (finite_differences(function, leaves) for function in (held, free))
    for got, slope in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, slope, rtol=1e-3, atol=1e-5)
    distance = max(np.abs(a - b).max() for a, b in zip(expected, wrong, strict=True))
    assert distance > 0.01  # letting it flow would have been noticed


differentiate = jax.jit(
    jax.value_and_grad(objective, has_aux=True),
    static_argnums=3,
    compiler_options=compiler_options(),
)


def value_and_gradient(batch, options, **changed):
    minibatch = to_minibatch(batch)
    return differentiate(PARAMS, minibatch, coefficients(**changed), options, key=KEY)


def test_the_objective_adds_the_regularisation_with_its_weight():
    batch = make_batch(seed=4, invalid=7)
    (found, means), gradient = value_and_gradient(batch, shape(), drac_coef=0.3)
    plain, parts = reference.loss(to_leaves(PARAMS), batch, 0.0, coefficients())
    leaves, drac_key = to_leaves(PARAMS), minibatch_keys(shape(), key=KEY)[1][0]
    scaled = draw_factors("state", batch["obs"].shape, drac_key) * float64(batch["obs"])
    rows = second_drac_loss(leaves, reference.evaluate(leaves, batch["obs"]), scaled)
    mean = rows[batch["valid"]].mean()
    np.testing.assert_allclose(means["drac_loss"], mean, rtol=1e-4)
    np.testing.assert_allclose(found, plain + 0.3 * mean, rtol=1e-5)
    # Nothing perturbs this update, so that there is one KL only.
    assert set(means) == {*parts, "drac_loss"} - {"perturbed_kl"}
    base = value_and_gradient(batch, shape(augmentation="none"))[1]
    _, extra = slopes_of_regularisation(
        PARAMS, to_batch(batch), coefficients(), shape(), key=drac_key
    )
    for got, plain_part, extra_part in zip(
        *(jax.tree.leaves(x) for x in (gradient, base, extra)), strict=True
    ):
        np.testing.assert_allclose(got, plain_part + 0.3 * extra_part, rtol=1e-4, atol=2e-6)


def test_the_factors_are_not_the_numbers_of_the_perturbation():
    options = shape(augmentation_per="dimension")
    noise_key, (drac_key,) = minibatch_keys(options, key=KEY)
    noise = jax.random.uniform(noise_key, (ROWS, OBS))
    factors = draw_uniform((ROWS, OBS), options, key=drac_key)
    assert np.intersect1d(noise, factors).size == 0


def test_weight_zero_learns_like_ppo():
    batch = make_batch(seed=5)
    (_, _), weightless = value_and_gradient(batch, shape(), drac_coef=0.0)
    (_, _), ppo = value_and_gradient(batch, shape(augmentation="none"))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), weightless, ppo
    )


def test_masked_rows_count_nowhere_in_the_regularisation():
    batch = make_batch(seed=6, invalid=9)
    options = shape(augmentation_of="raw")
    clean = value_and_gradient(batch, options)
    for name in ("obs", "obs_offset"):
        changed = batch | {name: batch[name].copy()}
        changed[name][~batch["valid"]] = 7.5
        jax.tree.map(np.testing.assert_array_equal, value_and_gradient(changed, options), clean)
        changed[name][batch["valid"]] *= 0.5
        other = value_and_gradient(changed, options)[0][1]["drac_loss"]
        assert float(other) != float(clean[0][1]["drac_loss"])


@pytest.mark.parametrize("distribution", ["laplace", "gumbel", "tanh-gaussian", "beta"])
def test_every_distribution_is_drawn_towards_itself(distribution):
    options = shape(distribution=distribution)
    outputs = 2 * ACTIONS if distribution == "beta" else ACTIONS
    params = random_params(OBS, outputs, HIDDEN, seed=2)
    if distribution == "beta":
        params = replace(params, log_std=jnp.zeros(0))
    minibatch = to_batch(random_batch(PARAMS, ROWS, seed=7))
    plain = coefficients(scale_low=1.0, scale_high=1.0)
    value, gradient = slopes_of_regularisation(params, minibatch, plain, options, key=KEY)
    assert abs(float(value)) < 1e-5  # scaled by 1 there is nothing between them
    value, gradient = slopes_of_regularisation(params, minibatch, coefficients(), options, key=KEY)
    assert float(value) > 1e-4
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
