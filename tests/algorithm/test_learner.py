"""A whole update against a second implementation, and what an update promises."""

from dataclasses import replace
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from algorithm import reference
from algorithm.reference import coefficients, random_batch, random_params, to_batch, to_leaves
from robustpo.algorithm import learner, perturbation
from robustpo.algorithm.learner import init_learner, make_optimizer, update
from robustpo.algorithm.random import make_key
from robustpo.config.shape import Shape
from robustpo.training.compilation import compiler_options

OBS, ACTIONS, HIDDEN, ROWS = 3, 2, (8, 7), 64
SHAPE = Shape(hidden_sizes=HIDDEN, num_steps=ROWS, num_minibatches=4, update_epochs=2)
PARAMS = random_params(OBS, ACTIONS, HIDDEN, seed=0)

# Compiled as in training, which is also quicker.
compiled_update = jax.jit(update, static_argnums=3, compiler_options=compiler_options())


class Recorder:
    """An update that records, as they are drawn, its shuffled orders and its perturbations."""

    def __init__(self, patch, shape=SHAPE):
        self.shape = shape
        self.orders, self.noises = [], []
        permutation, family = learner.permutation, perturbation.UNIFORM

        def recorded_permutation(count, *, key):
            order = permutation(count, key=key)
            jax.debug.callback(lambda x: self.orders.append(np.array(x)), order, ordered=True)
            return order

        def recorded_draw(size, *, key):
            standard = family.draw(size, key=key)
            # The diagnostics draw for the whole batch.
            if size[0] == shape.minibatch_size:
                jax.debug.callback(
                    lambda x: self.noises.append(np.array(x)), standard, ordered=True
                )
            return standard

        patch.setattr(learner, "permutation", recorded_permutation)
        patch.setattr(perturbation, "UNIFORM", replace(family, draw=recorded_draw))
        # A function of its own, as `jax.jit` remembers what it compiled by the function.
        self._update = jax.jit(
            lambda *arguments, key: update(*arguments, shape=shape, key=key),
            compiler_options=compiler_options(),
        )

    def __call__(self, batch, numbers, *, key):
        self.orders.clear()
        self.noises.clear()
        result = self._update(init_learner(PARAMS, SHAPE), to_batch(batch), numbers, key=key)
        jax.effects_barrier()
        size = (-1, self.shape.num_minibatches, self.shape.minibatch_size, ACTIONS)
        noises = float(numbers.alpha) * np.concatenate(self.noises).reshape(size)
        return *result, np.stack(self.orders), noises


@pytest.fixture(scope="module")
def recorded_update():
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(patch)
        recorder(random_batch(PARAMS, ROWS, seed=0), coefficients(), key=make_key(0))
    return recorder


@pytest.mark.parametrize("max_grad_norm", [0.5, 1e3])
def test_an_update_is_what_a_second_implementation_does(recorded_update, max_grad_norm):
    numbers = coefficients(entropy_coef=0.02, learning_rate=3e-3, max_grad_norm=max_grad_norm)
    batch = random_batch(PARAMS, ROWS, seed=0, invalid=6)
    state, metrics, orders, noises = recorded_update(batch, numbers, key=make_key(1))
    before = to_leaves(PARAMS)
    expected, expected_metrics = reference.update(before, batch, orders, noises, numbers)
    for found, wanted, start in zip(to_leaves(state.params), expected, before, strict=True):
        # Eight steps of 3e-3 move a parameter by up to 0.024; float32 is good to 1e-6 of that.
        np.testing.assert_allclose(found - start, wanted - start, rtol=1e-3, atol=5e-6)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=5e-6)
    assert (expected_metrics["grad_norm"] > 0.5) and (expected_metrics["grad_norm"] < 1e3)
    for name, value in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    log_std = expected[len(expected) // 2]
    np.testing.assert_allclose(metrics["action_std"], np.exp(log_std).mean(), rtol=1e-5)
    chosen = {name: np.float64(batch[name][batch["valid"]]) for name in ("value_target", "value")}
    error = (chosen["value_target"] - chosen["value"]).var()
    variance = chosen["value_target"].var()
    np.testing.assert_allclose(metrics["explained_variance"], 1 - error / variance, rtol=1e-4)
    assert metrics["epochs"] == 2 and metrics["finite"] == 1


def test_every_minibatch_of_every_epoch_of_every_update_has_its_own_noise(recorded_update):
    draws, shuffles = [], []
    for seed in range(3):
        batch = random_batch(PARAMS, ROWS, seed=1)
        *_, orders, noises = recorded_update(batch, coefficients(alpha=0.25), key=make_key(seed))
        epochs, minibatches = SHAPE.update_epochs, SHAPE.num_minibatches
        assert noises.shape == (epochs, minibatches, ROWS // minibatches, ACTIONS)
        np.testing.assert_array_equal(np.sort(orders), np.tile(np.arange(ROWS), (epochs, 1)))
        draws.extend(noises.reshape(epochs * minibatches, -1))
        shuffles.extend(tuple(order) for order in orders)
    for i in range(len(draws)):
        for j in range(i):
            assert (draws[i] == draws[j]).sum() <= 1  # of 32 numbers of 23 random bits
    assert 0.24 < np.abs(draws).max() <= 0.25
    assert len(set(shuffles)) == len(shuffles)


@pytest.mark.parametrize("invalid", [0, 6])
def test_alpha_zero_is_a_program_without_noise_bit_for_bit(invalid):
    plain = replace(SHAPE, noise="none")
    for seed in range(5):
        batch = to_batch(random_batch(PARAMS, ROWS, seed=seed, invalid=invalid))
        results = [
            compiled_update(
                init_learner(PARAMS, SHAPE),
                batch,
                coefficients(alpha=alpha),
                chosen,
                key=make_key(seed),
            )
            for alpha, chosen in ((0.0, SHAPE), (0.5, plain), (0.5, SHAPE))
        ]
        # Only what is said of the noise itself differs.
        for _, metrics in results:
            for name in ("noise_clip_fraction", "noise_kl", "sigma_alpha", "perturbed_kl"):
                metrics.pop(name, None)
        jax.tree.map(np.testing.assert_array_equal, results[0], results[1])
        assert not np.array_equal(results[0][0].params.log_std, results[2][0].params.log_std)


def test_epochs_stop_once_the_policy_has_moved_too_far():
    batch = to_batch(random_batch(PARAMS, ROWS, seed=3))
    start, key = init_learner(PARAMS, SHAPE), make_key(0)
    full, _ = compiled_update(start, batch, coefficients(), SHAPE, key=key)
    for target, epochs in ((1e6, 2), (1e-9, 1)):
        state, metrics = compiled_update(
            start, batch, coefficients(target_kl=target), SHAPE, key=key
        )
        assert metrics["epochs"] == epochs
        same = np.array_equal(state.params.log_std, full.params.log_std)
        assert same == (epochs == SHAPE.update_epochs)
    single, _ = compiled_update(
        start, batch, coefficients(), replace(SHAPE, update_epochs=1), key=key
    )
    jax.tree.map(np.testing.assert_array_equal, state, single)


def test_epochs_stop_where_the_plain_kl_passes_the_target(monkeypatch):
    # The noise alone is far beyond every target, so a KL that saw it would stop after one epoch.
    recorder = Recorder(monkeypatch, replace(SHAPE, update_epochs=5))
    numbers = coefficients(alpha=1.0, learning_rate=3e-3)
    batch = random_batch(PARAMS, ROWS, seed=3, invalid=6)
    *_, orders, noises = recorder(batch, numbers, key=make_key(0))
    before = to_leaves(PARAMS)
    kls = [
        reference.update(before, batch, orders[:n], noises[:n], numbers)[1]["approx_kl"]
        for n in range(1, 6)
    ]
    assert kls == sorted(kls)
    for epochs in range(1, 5):
        target = np.mean([0.0, *kls][epochs - 1 : epochs + 1])
        numbers = replace(numbers, target_kl=jnp.float32(target))
        state, metrics, *_ = recorder(batch, numbers, key=make_key(0))
        expected, wanted = reference.update(before, batch, orders, noises, numbers)
        assert metrics["epochs"] == epochs and metrics["perturbed_kl"] > 3 * target
        for name in ("approx_kl", "perturbed_kl"):
            np.testing.assert_allclose(metrics[name], wanted[name], rtol=1e-3)
        for found, leaf in zip(to_leaves(state.params), expected, strict=True):
            np.testing.assert_allclose(found, leaf, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["obs", "action", "advantage", "value_target", "log_prob"])
def test_an_update_that_is_not_finite_is_not_made(name):
    batch = random_batch(PARAMS, ROWS, seed=4)
    start, _ = compiled_update(
        init_learner(PARAMS, SHAPE), to_batch(batch), coefficients(), SHAPE, key=make_key(0)
    )
    batch[name][11] = np.nan
    kept, metrics = compiled_update(start, to_batch(batch), coefficients(), SHAPE, key=make_key(1))
    jax.tree.map(np.testing.assert_array_equal, kept, start)
    assert metrics["finite"] == 0


@jax.numpy_dtype_promotion("standard")  # Optax takes powers of floats to the count of its steps.
def test_the_optimizer_is_clipping_and_adam_on_one_flat_vector():
    rng = np.random.default_rng(0)
    leaves = to_leaves(PARAMS)
    ours = make_optimizer(0.5)
    state = ours.init(cast(optax.Params, PARAMS))
    flat_adam = optax.adam(3e-3, eps=1e-5)
    flat = jnp.concatenate([jnp.float32(x).ravel() for x in leaves])
    flat_state = flat_adam.init(flat)
    by_hand = reference.Adam(leaves, 3e-3, 0.5)
    params = PARAMS
    for scale in (1.0, 1e-3, 30.0, 1e-6):  # clipped, not clipped, clipped, near epsilon
        gradient = [scale * rng.normal(size=x.shape) for x in leaves]
        tree = jax.tree.unflatten(jax.tree.structure(PARAMS), [jnp.float32(g) for g in gradient])
        direction, state = ours.update(tree, state)
        params = jax.tree.map(lambda p, d: p - 3e-3 * d, params, direction)
        vector = np.concatenate([g.ravel() for g in gradient])
        vector *= min(1.0, 0.5 / np.linalg.norm(vector))
        step, flat_state = flat_adam.update(jnp.float32(vector), flat_state)
        flat = flat + cast(jax.Array, step)
        leaves, _ = by_hand.step(leaves, gradient)
    found = np.concatenate([x.ravel() for x in to_leaves(params)])
    np.testing.assert_allclose(found, flat, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        found, np.concatenate([x.ravel() for x in leaves]), rtol=1e-5, atol=1e-6
    )
