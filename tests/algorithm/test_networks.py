"""Actor and critic: initialisation and forward pass."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from robustpo.algorithm.networks import ACTIVATIONS, Dense, init_params, mlp

SIZES = (24, 6, (64, 16, 32))


def init(*sizes, seed):
    return init_params(*sizes, rng=np.random.default_rng(seed))


def test_layers_have_the_sizes_asked_for_and_biases_are_zero():
    params = init(*SIZES, seed=0)
    actor = [(24, 64), (64, 16), (16, 32), (32, 6)]
    critic = [(24, 64), (64, 16), (16, 32), (32, 1)]
    assert [layer.weight.shape for layer in params.actor] == actor
    assert [layer.weight.shape for layer in params.critic] == critic
    for layer in params.actor + params.critic:
        np.testing.assert_array_equal(layer.bias, np.zeros(layer.weight.shape[1]))
    np.testing.assert_array_equal(params.log_std, np.zeros(6))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_orthogonal_with_their_gain(seed):
    params = init(*SIZES, seed=seed)
    for layers, head_gain in ((params.actor, 0.01), (params.critic, 1.0)):
        for i, layer in enumerate(layers):
            gain = head_gain if i == len(layers) - 1 else np.sqrt(2)
            weight = np.asarray(layer.weight, np.float64)
            small = weight if weight.shape[0] < weight.shape[1] else weight.T
            product = small @ small.T
            expected = gain**2 * np.eye(len(small))
            np.testing.assert_allclose(product, expected, atol=2e-6 * gain**2)


def test_networks_of_different_keys_and_of_actor_and_critic_differ():
    one, other = (init(*SIZES, seed=seed) for seed in (0, 1))
    again = init(*SIZES, seed=0)
    jax.tree.map(np.testing.assert_array_equal, one, again)
    assert not np.array_equal(one.actor[0].weight, other.actor[0].weight)
    assert not np.array_equal(one.actor[0].weight, one.critic[0].weight)


def test_signs_of_the_initial_weights_are_not_fixed_by_the_decomposition():
    # A QR decomposition alone gives a first row of one sign; uniform orthogonal matrices do not.
    first = [init(3, 1, (3,), seed=seed).critic[0].weight[0, 0] for seed in range(400)]
    positive = np.array(first) > 0
    assert abs(positive.mean() - 0.5) < 4.5 * 0.5 / np.sqrt(len(positive))


def _elu(x):
    return x if x > 0 else np.exp(x) - 1


SCALAR = {
    "tanh": np.tanh,
    "relu": lambda x: max(x, 0.0),
    "elu": _elu,
    "swish": lambda x: x * scipy.special.expit(x),
}


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_forward_pass_is_that_of_a_loop(activation):
    rng = np.random.default_rng(4)
    sizes = (3, 5, 4, 2)
    weights = [rng.normal(size=pair) for pair in itertools.pairwise(sizes)]
    biases = [rng.normal(size=size) for size in sizes[1:]]
    layers = tuple(
        Dense(jnp.float32(w), jnp.float32(b)) for w, b in zip(weights, biases, strict=True)
    )
    x = rng.normal(size=(6, 2, 3))
    found = mlp(layers, jnp.float32(x), activation)
    assert found.shape == (6, 2, 2)
    for index in np.ndindex(6, 2):
        hidden = x[index]
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            sums = [sum(hidden * weight[:, j]) + bias[j] for j in range(len(bias))]
            hidden = np.array([SCALAR[activation](s) for s in sums] if i < 2 else sums)
        np.testing.assert_allclose(found[index], hidden, rtol=1e-4, atol=1e-5)
        alone = mlp(layers, jnp.float32(x[index]), activation)
        np.testing.assert_allclose(alone, found[index], rtol=1e-5, atol=1e-6)


def normalised(layer, x, activation):
    """Return a hidden layer with normalisation in float64 (arXiv 1607.06450, eq. 4)."""
    y = x @ np.asarray(layer.weight, np.float64) + np.asarray(layer.bias, np.float64)
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    return activation(y * np.asarray(layer.scale) + np.asarray(layer.shift))


def test_layer_normalisation_by_its_definition():
    rng = np.random.default_rng(0)
    params = init_params(5, 2, (8, 6), rng=rng, layer_norm=True)
    for layers in (params.actor, params.critic):
        # Normalised are the hidden layers, from a scale of 1 and a shift of 0 on.
        assert [layer.scale is None for layer in layers] == [False, False, True]
        np.testing.assert_array_equal(layers[0].scale, np.ones(8))
        np.testing.assert_array_equal(layers[0].shift, np.zeros(8))
    layers = jax.tree.map(lambda x: x + rng.normal(size=x.shape).astype(np.float32), params.actor)
    x = rng.normal(size=(7, 5)).astype(np.float32)
    hidden = normalised(layers[1], normalised(layers[0], x, np.tanh), np.tanh)
    expected = hidden @ np.asarray(layers[2].weight, np.float64) + np.asarray(layers[2].bias)
    np.testing.assert_allclose(mlp(layers, jnp.asarray(x), "tanh"), expected, atol=2e-5)


def test_without_normalisation_there_is_nothing_of_it():
    params = init(*SIZES, seed=0)
    assert len(jax.tree.leaves(params)) == 2 * 8 + 1
