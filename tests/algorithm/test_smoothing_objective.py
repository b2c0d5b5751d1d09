"""Noise on all parameters: the loss smoothed over it; and the floor under the log scale."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from algorithm import reference
from algorithm.families import float32, float64
from algorithm.reference import (
    coefficients,
    random_batch,
    random_params,
    to_batch,
    to_leaves,
    to_minibatch,
)
from robustpo.algorithm.learner import init_learner, parameter_floor, update
from robustpo.algorithm.objective import minibatch_loss, objective
from robustpo.algorithm.random import make_key
from robustpo.base.registry import NOISES
from robustpo.config.shape import Shape
from robustpo.training.compilation import compiler_options

ROWS, OBS, ACTIONS, HIDDEN = 40, 3, 2, (6, 5)
KEY = make_key(7)
PARAMS = random_params(OBS, ACTIONS, HIDDEN, seed=1)
NUMBERS = coefficients(alpha=0.1, noise_location=0.01, entropy_coef=0.03)


def shape(**changed):
    return Shape(
        **{
            "hidden_sizes": HIDDEN,
            "num_steps": ROWS,
            "num_minibatches": 1,
            "noise_on": "parameters",
        }
        | changed
    )


differentiate = jax.jit(
    jax.value_and_grad(objective, has_aux=True),
    static_argnums=3,
    compiler_options=compiler_options(),
)
plainly = jax.jit(
    jax.value_and_grad(minibatch_loss, has_aux=True),
    static_argnums=3,
    compiler_options=compiler_options(),
)


def perturbed_leaves(key, noise, numbers):
    """Return every parameter moved by a number of its own, in the order of the leaves."""
    leaves = to_leaves(PARAMS)
    standard = float64(NOISES[noise].draw((sum(x.size for x in leaves),), key=key))
    z = float(numbers.noise_location) + float(numbers.alpha) * standard
    ends = np.cumsum([x.size for x in leaves])
    parts = np.split(z, ends[:-1])
    return [x + part.reshape(x.shape) for x, part in zip(leaves, parts, strict=True)]


CASES = [
    ({}, "uniform", 1),
    ({"estimator": "sampled-k", "num_draws": 3, "noise": "gumbel"}, "gumbel", 3),
]


@pytest.mark.parametrize(("changed", "noise", "draws"), CASES)
def test_the_loss_is_the_mean_of_plain_losses_at_moved_parameters(changed, noise, draws):
    batch = random_batch(PARAMS, ROWS, seed=0, invalid=7)
    (found, means), gradient = differentiate(
        PARAMS, to_minibatch(batch), NUMBERS, shape(**changed), key=KEY
    )
    copies = [perturbed_leaves(key, noise, NUMBERS) for key in jax.random.split(KEY, draws)]
    each = [reference.loss(leaves, batch, 0.0, NUMBERS) for leaves in copies]
    np.testing.assert_allclose(found, np.mean([total for total, _ in each]), rtol=1e-5)
    plain = reference.loss(to_leaves(PARAMS), batch, 0.0, NUMBERS)[1]
    for name in means:
        # What steers and what alarms is of the centre, everything else of the moved copies.
        of_centre = name in ("approx_kl", "entropy")
        expected = plain[name] if of_centre else np.mean([parts[name] for _, parts in each])
        np.testing.assert_allclose(means[name], expected, rtol=2e-5, atol=2e-6, err_msg=name)
    slopes = [reference.loss_gradient(leaves, batch, 0.0, NUMBERS) for leaves in copies]
    for got, *expected in zip(jax.tree.leaves(gradient), *slopes, strict=True):
        np.testing.assert_allclose(got, np.mean(expected, 0), rtol=2e-4, atol=3e-6)


def test_without_magnitude_it_is_the_plain_loss():
    batch = to_minibatch(random_batch(PARAMS, ROWS, seed=1, invalid=7))
    numbers = coefficients(alpha=0.0, entropy_coef=0.03)
    smoothed = differentiate(PARAMS, batch, numbers, shape(), key=KEY)
    del smoothed[0][1]["perturbed_kl"]
    plain = plainly(PARAMS, batch, numbers, shape(noise="none", noise_on="location"), key=KEY)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), smoothed, plain
    )


def test_the_value_is_smoothed_too():
    batch = random_batch(PARAMS, ROWS, seed=2)
    _, located = differentiate(
        PARAMS, to_minibatch(batch), NUMBERS, shape(noise_on="location"), key=KEY
    )
    _, smoothed = differentiate(PARAMS, to_minibatch(batch), NUMBERS, shape(), key=KEY)
    first, second = (ravel_pytree(x.critic)[0] for x in (located, smoothed))
    assert np.abs(first - second).max() > 1e-3


def test_every_key_moves_the_parameters_elsewhere():
    batch = to_minibatch(random_batch(PARAMS, ROWS, seed=3))
    losses = {
        float(differentiate(PARAMS, batch, NUMBERS, shape(), key=key)[0][0])
        for key in jax.random.split(KEY, 8)
    }
    assert len(losses) == 8


# Many small steps on rows that lie on the mean: each makes the deviation smaller.
FLOOR = float32(-0.1)
UPDATE = Shape(
    hidden_sizes=HIDDEN, num_steps=ROWS, num_minibatches=4, update_epochs=10, noise="none"
)
improve = jax.jit(update, static_argnums=3, compiler_options=compiler_options())


def rows_at_the_mean(params, advantage_sign=1):
    """Return actions at the policy's mean that are good, and others afar that are bad."""
    batch = random_batch(params, ROWS, seed=4)
    location, log_std, _ = reference.evaluate(to_leaves(params), batch["obs"])
    afar = np.arange(ROWS)[:, None] % 2
    action = location + 1.5 * np.exp(log_std) * afar
    batch["action"] = float32(action)
    batch["log_prob"] = float32(reference.log_density(location, log_std, action))
    batch["advantage"] = float32(advantage_sign * (1 - 2 * afar[:, 0]))
    return to_batch(batch)


def learn(params, sign, floor, times=4):
    numbers = coefficients(
        alpha=0.0, learning_rate=0.05, max_grad_norm=1e3, log_std_min=floor, value_coef=0.0
    )
    state = init_learner(params, UPDATE)
    for i in range(times):
        batch = rows_at_the_mean(state.params, sign)
        state, metrics = improve(state, batch, numbers, UPDATE, key=make_key(i))
        assert float(metrics["finite"]) == 1
    return state


START = replace(PARAMS, log_std=jnp.array([0.2, 0.4]))


def test_the_log_scale_never_falls_below_its_floor():
    free = learn(START, 1, -np.inf).params.log_std
    assert (np.asarray(free) < -0.5).all()  # without a floor they do fall
    held = learn(START, 1, FLOOR).params.log_std
    assert (np.asarray(held) == FLOOR).all()


def test_a_log_scale_at_its_floor_can_rise_again():
    state = learn(START, 1, FLOOR)
    assert (np.asarray(state.params.log_std) == FLOOR).all()
    risen = learn(state.params, -1, FLOOR).params.log_std
    assert (np.asarray(risen) > FLOOR + 0.2).all()


def test_a_log_scale_that_starts_below_the_floor_is_lifted_onto_it():
    low = replace(PARAMS, log_std=jnp.array([-3.0, 0.4]))
    log_std = np.asarray(learn(low, 1, FLOOR, times=1).params.log_std)
    assert (log_std >= FLOOR).all()


def test_nothing_but_the_log_scale_has_a_floor():
    bounds = parameter_floor(PARAMS, coefficients(log_std_min=FLOOR))
    floored = ravel_pytree(
        replace(
            jax.tree.map(jnp.zeros_like, PARAMS),
            log_std=jnp.ones(ACTIONS),
        )
    )[0].astype(bool)
    np.testing.assert_array_equal(bounds == FLOOR, floored)
    assert (np.asarray(bounds)[~np.asarray(floored)] == -np.inf).all()
    assert (parameter_floor(PARAMS, coefficients()) == -np.inf).all()


def test_a_floor_leaves_what_lies_above_it_to_learning():
    floor = learn(START, 1, -5.0, times=1)
    free = learn(START, 1, -np.inf, times=1)
    jax.tree.map(np.testing.assert_array_equal, floor.params, free.params)
