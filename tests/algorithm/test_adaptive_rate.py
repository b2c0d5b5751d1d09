"""The learning rate that follows the policy's KL."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithm.reference import coefficients, random_batch, random_params, to_batch
from robustpo.algorithm.experience import per_row
from robustpo.algorithm.learner import adapt, init_learner, update
from robustpo.algorithm.networks import action_distribution
from robustpo.algorithm.random import make_key
from robustpo.config.shape import Shape

PARAMS = random_params(3, 2, (8, 7), seed=0)
SHAPE = Shape(
    hidden_sizes=(8, 7),
    num_steps=64,
    num_minibatches=1,
    update_epochs=3,
    adaptive_learning_rate=True,
)


@pytest.mark.parametrize(
    ("factor", "moved", "expected"),
    [
        (1.0, 0.0161, 1 / 1.5),  # above twice 0.008
        (1.0, 0.0159, 1.0),
        (1.0, 0.0041, 1.0),
        (1.0, 0.0039, 1.5),  # below half of it
        (30.0, 0.0, 1e-2 / 3e-4),  # 45 would be beyond a rate of 0.01
        (0.004, 1.0, 1e-6 / 3e-4),  # 0.0027 would be below one of 1e-6
    ],
)
def test_the_rule(factor, moved, expected):
    numbers = coefficients(learning_rate=3e-4, kl_target=0.008)
    found = adapt(jnp.float32(factor), jnp.float32(moved), numbers)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def batch_with_policy():
    batch = to_batch(random_batch(PARAMS, 64, seed=0))
    policy = action_distribution(PARAMS, batch.obs, SHAPE)
    return dataclasses.replace(batch, policy=per_row(policy, batch.obs))


def improve(**numbers):
    run = jax.jit(lambda s, b, c: update(s, b, c, SHAPE, key=make_key(0)))
    return run(init_learner(PARAMS, SHAPE), batch_with_policy(), coefficients(**numbers))


def test_it_grows_while_the_policy_does_not_move():
    # The policy that collected is at KL 0 in the first epoch and near it in the next two.
    state, metrics = improve(learning_rate=1e-7, alpha=0.0)
    assert float(state.rate_factor) == pytest.approx(1.5**3)
    assert float(metrics["learning_rate"]) == pytest.approx(1e-7 * 1.5**3, rel=1e-5)


def test_it_shrinks_once_the_policy_has_moved():
    # Grown after the first epoch, at KL 0, and shrunk after the two that follow a step.
    state, _ = improve(learning_rate=3e-4, alpha=0.0, kl_target=1e-7)
    assert float(state.rate_factor) == pytest.approx(1.5 / 1.5**2)


def test_noise_does_not_count_as_movement():
    state, _ = improve(learning_rate=1e-7, alpha=5.0)
    assert float(state.rate_factor) == pytest.approx(1.5**3)


def test_one_minibatch_needs_no_shuffling():
    # The mean over a minibatch does not depend on its order, so any order gives the same step.
    plain = dataclasses.replace(SHAPE, adaptive_learning_rate=False, update_epochs=1, noise="none")
    batch = to_batch(random_batch(PARAMS, 64, seed=0))
    order = np.random.default_rng(0).permutation(64)
    start, numbers = init_learner(PARAMS, plain), coefficients()
    one, _ = update(start, batch, numbers, plain, key=make_key(0))
    shuffled = jax.tree.map(lambda x: x[order], batch)
    other, _ = update(start, shuffled, numbers, plain, key=make_key(0))
    for left, right in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)
