"""Actor and critic that share their hidden layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from robustpo.algorithm.networks import action_distribution, evaluate, init_params, state_value
from robustpo.config.shape import Shape

SHAPE = Shape(hidden_sizes=(8, 6), activation="elu", shared_network=True)
OBS = jnp.asarray(np.random.default_rng(1).standard_normal((5, 3)), jnp.float32)


def params():
    return init_params(3, 2, SHAPE.hidden_sizes, rng=np.random.default_rng(0), shared=True)


def test_the_critic_is_one_layer_on_the_actors_features():
    made = params()
    assert [layer.weight.shape for layer in made.actor] == [(3, 8), (8, 6), (6, 2)]
    assert [layer.weight.shape for layer in made.critic] == [(6, 1)]
    x = np.asarray(OBS, np.float64)
    for layer in made.actor[:-1]:
        x = x @ np.asarray(layer.weight, np.float64)
        x = np.where(x > 0, x, np.expm1(x))
    policy, value = evaluate(made, OBS, SHAPE)
    np.testing.assert_allclose(policy.mode(), x @ made.actor[-1].weight, atol=1e-6)
    np.testing.assert_allclose(value, (x @ made.critic[-1].weight)[:, 0], atol=1e-6)


def test_both_at_once_are_each_by_itself():
    for shape, made in (
        (SHAPE, params()),
        (
            dataclasses.replace(SHAPE, shared_network=False),
            init_params(3, 2, SHAPE.hidden_sizes, rng=np.random.default_rng(0)),
        ),
    ):
        policy, value = evaluate(made, OBS, shape)
        np.testing.assert_array_equal(policy.mode(), action_distribution(made, OBS, shape).mode())
        np.testing.assert_array_equal(value, state_value(made, OBS, shape))


def test_the_values_gradient_reaches_the_shared_layers():
    gradient = jax.grad(lambda p: evaluate(p, OBS, SHAPE)[1].sum())(params())
    assert all(np.abs(layer.weight).max() > 0 for layer in gradient.actor[:-1])
    assert np.abs(gradient.actor[-1].weight).max() == 0
