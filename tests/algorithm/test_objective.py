"""The loss of a minibatch and its gradient against NumPy and against finite differences."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithm import reference
from algorithm.reference import (
    coefficients,
    random_batch,
    random_params,
    to_batch,
    to_leaves,
    to_minibatch,
)
from robustpo.algorithm.experience import per_row
from robustpo.algorithm.masking import masked_mean, masked_means
from robustpo.algorithm.networks import action_distribution
from robustpo.algorithm.objective import (
    normalize_advantage,
    objective,
    policy_loss,
    value_loss,
)
from robustpo.algorithm.random import make_key
from robustpo.base.registry import NOISES
from robustpo.config.shape import Shape

ROWS, OBS, ACTIONS, HIDDEN = 40, 3, 2, (6, 5)
KEY = make_key(0)
PARAMS = random_params(OBS, ACTIONS, HIDDEN, seed=1)
NUMBERS = coefficients(entropy_coef=0.03, alpha=0.7, value_coef=0.4)


def shape(**changed):
    return Shape(**{"hidden_sizes": HIDDEN, "num_steps": ROWS, "num_minibatches": 1} | changed)


def noise(alpha=0.7):
    return alpha * np.float64(NOISES["uniform"].draw((ROWS, ACTIONS), key=KEY))


differentiate = jax.jit(jax.value_and_grad(objective, has_aux=True), static_argnums=3)


def value_and_gradient(batch, numbers=NUMBERS, **changed):
    prepare = to_minibatch if changed.pop("normalize_advantages", True) else to_batch
    minibatch = prepare(batch)
    return differentiate(PARAMS, minibatch, numbers, shape(**changed), key=KEY)


@pytest.mark.parametrize("clip_value_loss", [True, False])
@pytest.mark.parametrize("normalize_advantages", [True, False])
def test_loss_and_its_parts_are_those_of_a_loop_over_valid_rows(
    clip_value_loss, normalize_advantages
):
    options = {"clip_value_loss": clip_value_loss, "normalize_advantages": normalize_advantages}
    batch = random_batch(PARAMS, ROWS, seed=0, invalid=7)
    expected, parts = reference.loss(to_leaves(PARAMS), batch, noise(), NUMBERS, **options)
    (found, means), _ = value_and_gradient(batch, **options)
    assert 0.2 < parts["clip_fraction"] < 0.9  # both sides of the clip are at work
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for name, part in parts.items():
        np.testing.assert_allclose(means[name], part, rtol=2e-5, atol=1e-6, err_msg=name)


def _finite_differences(function, leaves, step=1e-6):
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


def test_gradient_is_that_of_finite_differences_and_of_the_written_out_derivatives():
    batch = random_batch(PARAMS, ROWS, seed=1, invalid=7)
    leaves = to_leaves(PARAMS)
    slopes = _finite_differences(
        lambda moved: reference.loss(moved, batch, noise(), NUMBERS)[0], leaves
    )
    written = reference.loss_gradient(leaves, batch, noise(), NUMBERS)
    _, gradient = value_and_gradient(batch)
    for found, by_hand, slope in zip(jax.tree.leaves(gradient), written, slopes, strict=True):
        np.testing.assert_allclose(by_hand, slope, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(found, slope, rtol=1e-4, atol=2e-6)
        assert np.abs(slope).max() > 1e-3


def test_rows_that_are_not_valid_count_nowhere():
    batch = random_batch(PARAMS, ROWS, seed=2, invalid=9)
    clean = value_and_gradient(batch)
    invalid = ~batch["valid"]
    for name, poison in {
        "obs": 1e6,
        "action": 50.0,
        "log_prob": 1e4,
        "value": -1e6,
        "advantage": 1e9,
        "value_target": 1e9,
    }.items():
        poisoned = {key: x.copy() for key, x in batch.items()}
        poisoned[name][invalid] = poison
        jax.tree.map(np.testing.assert_array_equal, value_and_gradient(poisoned), clean)
        poisoned[name][~invalid] *= -1  # in valid rows a change does matter
        assert float(value_and_gradient(poisoned)[0][0]) != float(clean[0][0])


def test_a_minibatch_without_valid_rows_moves_nothing_but_the_entropy():
    batch = random_batch(PARAMS, ROWS, seed=3, invalid=ROWS)
    (loss, _), gradient = value_and_gradient(batch, coefficients(entropy_coef=0.0))
    assert float(loss) == 0
    assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(gradient))


def test_advantages_become_standard_scores_with_the_sample_deviation():
    advantage = jnp.array([1.0, 2.0, 3.0, 1e6])
    valid = jnp.array([True, True, True, False])
    # mean 2, squared deviations 1 + 0 + 1 over 3 − 1 rows: deviation 1, not √(2/3).
    np.testing.assert_allclose(normalize_advantage(advantage, valid)[:3], [-1, 0, 1], rtol=1e-6)


def test_a_single_valid_row_has_no_advantage():
    scores = normalize_advantage(jnp.array([5.0, 7.0]), jnp.array([True, False]))
    assert float(scores[0]) == 0


def test_masked_means_by_hand():
    valid = jnp.array([True, False, True])
    rows = {"a": jnp.array([1.0, 9.0, 2.0]), "b": jnp.array([0.0, 9.0, -1.0])}
    means = masked_means(rows, valid)
    assert {name: float(x) for name, x in means.items()} == {"a": 1.5, "b": -0.5}
    assert float(masked_mean(rows["a"], valid)) == 1.5
    assert float(masked_mean(rows["a"], jnp.zeros(3, bool))) == 0


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.0, 2.0, -2.0),
        (1.5, 2.0, -2.4),  # clipped at 1.2: no more to gain
        (0.5, 2.0, -1.0),  # not clipped: a loss is felt in full
        (1.5, -2.0, 3.0),
        (0.5, -2.0, 1.6),  # clipped at 0.8
    ],
)
def test_policy_loss_by_hand(ratio, advantage, expected):
    log_ratio = jnp.log(jnp.array([ratio]))
    found = policy_loss(log_ratio, jnp.array([advantage]), jnp.float32(0.2))
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "old_value", "target", "clipped", "expected"),
    [
        (3.0, 0.0, 1.0, False, 2.0),
        (3.0, 0.0, 1.0, True, 2.0),  # ½ 2² is more than ½ 0.8²
        (1.0, 0.0, 1.0, True, 0.32),  # exact, but farther than 0.2 from the old value: ½ 0.8²
        (0.1, 0.0, 1.0, True, 0.405),  # within the clip: ½ 0.9²
    ],
)
def test_value_loss_by_hand(value, old_value, target, clipped, expected):
    numbers = (jnp.array([x]) for x in (value, old_value, target))
    found = value_loss(*numbers, clip_coef=jnp.float32(0.2), clipped=clipped)
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_the_entropy_bonus_widens_the_policy():
    batch = random_batch(PARAMS, ROWS, seed=4)
    with_bonus, without = (
        value_and_gradient(batch, coefficients(entropy_coef=c, alpha=0.7))[1] for c in (0.1, 0.0)
    )
    # The entropy grows by 1 with each log standard deviation, so its bonus lowers the loss by 0.1.
    np.testing.assert_allclose(with_bonus.log_std - without.log_std, -0.1, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, with_bonus.actor, without.actor)
    jax.tree.map(np.testing.assert_array_equal, with_bonus.critic, without.critic)


def test_noise_shifts_the_new_policy_and_not_the_old_one():
    batch = random_batch(PARAMS, ROWS, seed=5)
    location, log_std, _ = reference.evaluate(to_leaves(PARAMS), batch["obs"])
    plain = reference.log_density(location, log_std, np.float64(batch["action"]))
    shifted = reference.log_density(location + noise(), log_std, np.float64(batch["action"]))
    batch["log_prob"] = np.asarray(plain, np.float32)
    (_, means), _ = value_and_gradient(batch)
    log_ratio = shifted - plain
    expected = (np.exp(log_ratio) - 1 - log_ratio).mean()
    np.testing.assert_allclose(means["perturbed_kl"], expected, rtol=1e-4)
    assert abs(float(means["approx_kl"])) < 1e-6  # the policy itself has not moved
    (_, unperturbed), _ = value_and_gradient(batch, noise="none")
    assert abs(float(unperturbed["approx_kl"])) < 1e-6 and "perturbed_kl" not in unperturbed


@pytest.mark.parametrize(
    "changed",
    [
        {"estimator": "sampled-k"},
        {"estimator": "marginal"},
        {"estimator": "expected"},
        {"noise_on": "parameters"},
        {"augmentation": "drac"},
        {"noise_in": "both"},
    ],
    ids=lambda changed: next(iter(changed.values())),
)
def test_whatever_is_perturbed_movement_is_the_plain_policys(changed):
    batch = to_minibatch(random_batch(PARAMS, ROWS, seed=6, invalid=5))
    # As if another policy had collected, so that neither measure is zero.
    collected = action_distribution(random_params(OBS, ACTIONS, HIDDEN, seed=2), batch.obs, shape())
    batch = replace(batch, policy=per_row(collected, batch.obs))
    means = {
        name: differentiate(PARAMS, batch, NUMBERS, shape(**options), key=KEY)[0][1]
        for name, options in (("plain", {"noise": "none"}), ("perturbed", changed))
    }
    for name in ("approx_kl", "policy_kl", "entropy"):
        np.testing.assert_allclose(means["perturbed"][name], means["plain"][name], rtol=1e-6)
    assert not np.isclose(means["perturbed"]["perturbed_kl"], means["plain"]["approx_kl"], rtol=0.1)
