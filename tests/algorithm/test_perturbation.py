"""The perturbation: its distribution, when it is fresh, and where it must never be."""

import ast
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import robustpo
from algorithm.reference import coefficients, evaluate, random_params, to_leaves
from robustpo.algorithm.distributions import DISTRIBUTIONS, Gaussian
from robustpo.algorithm.perturbation import perturb, perturb_parameters
from robustpo.algorithm.random import make_key
from robustpo.base.registry import NOISES
from robustpo.config.shape import Shape
from robustpo.training.population import pad_agents
from robustpo.training.rollout import Draws, act, draw_rollout, scale_shift

SOURCE = Path(robustpo.__file__).parent
SAMPLES = 100_000


def draw(family, size, alpha=1.0, location=0.0, seed=0):
    """Draw z as the update does, by shifting a policy that lies at zero."""
    policy = Gaussian(jnp.zeros(size), jnp.zeros(size[-1]))
    numbers = coefficients(alpha=alpha, noise_location=location)
    return np.asarray(
        perturb(policy, numbers, key=make_key(seed), noise=family).location, np.float64
    )


@pytest.mark.parametrize("alpha", [0.001, 0.5, 3.0])
def test_uniform_noise_fills_the_interval_evenly(alpha):
    z = draw("uniform", (SAMPLES, 3), alpha, seed=5)
    bound = np.float32(alpha)
    assert -bound <= z.min() and z.max() <= bound
    # The chance that none of 300,000 draws comes within 1e-4 of an end is below 1e-6.
    assert z.min() < -bound * (1 - 1e-4) and z.max() > bound * (1 - 1e-4)
    assert scipy.stats.kstest(z.ravel() / alpha, "uniform", args=(-1, 2)).pvalue > 1e-3
    assert abs(z.var() - alpha**2 / 3) < 4.5 * alpha**2 * np.sqrt(4 / 45 / z.size)


# Mean and variance as in the paper's Table 1 (there Gumbel has a location too), the name in SciPy,
# its location there, and the kurtosis of which the error of a variance is made.
TABLE_1 = {
    "uniform": (0.0, lambda a: a**2 / 3, "uniform", -1.0, 1.8),
    "laplace": (0.0, lambda b: 2 * b**2, "laplace", 0.0, 6.0),
    "gumbel": (np.euler_gamma, lambda b: np.pi**2 / 6 * b**2, "gumbel_r", 0.0, 5.4),
    "gumbel-centered": (0.0, lambda b: np.pi**2 / 6 * b**2, "gumbel_r", -np.euler_gamma, 5.4),
    "gaussian": (0.0, lambda s: s**2, "norm", 0.0, 3.0),
}


@pytest.mark.parametrize("family", TABLE_1)
@pytest.mark.parametrize(("alpha", "location"), [(0.5, 0.0), (2.0, -0.75)])
def test_families_have_the_moments_and_the_distribution_of_table_1(family, alpha, location):
    mean, variance, scipy_name, origin, kurtosis = TABLE_1[family]
    z = draw(family, (SAMPLES, 3), alpha, location, seed=9).ravel()
    spread = np.sqrt(variance(alpha))
    assert abs(z.mean() - (location + alpha * mean)) < 4.5 * spread / np.sqrt(z.size)
    bound = 4.5 * variance(alpha) * np.sqrt((kurtosis - 1) / z.size)
    assert abs(z.var() - variance(alpha)) < bound
    scale = 2.0 if family == "uniform" else 1.0
    standard = (z - location) / alpha
    assert scipy.stats.kstest(standard, scipy_name, args=(origin, scale)).pvalue > 1e-3
    stated = NOISES[family]
    np.testing.assert_allclose([stated.mean, stated.variance], [mean, variance(1.0)], rtol=1e-12)


def test_noise_is_independent_per_dimension_and_per_sample():
    z = draw("uniform", (SAMPLES, 4), seed=6)
    following = np.concatenate([z[:-1], z[1:]], axis=1)
    for values in (following, following**2):
        correlation = np.asarray(np.corrcoef(values.T))[:4]
        off_diagonal = correlation[~np.eye(4, 8, dtype=bool)]
        assert np.abs(off_diagonal).max() < 4.5 / np.sqrt(SAMPLES)


@pytest.mark.parametrize("family", NOISES)
def test_noise_is_fresh_for_every_key_and_the_same_for_the_same_key(family):
    keys = jax.random.split(make_key(0), 50)
    draws = np.stack([NOISES[family].draw((16, 2), key=key) for key in keys])
    first, second = np.triu_indices(len(draws), 1)
    # 32 numbers of 23 random bits each: hardly one of them may agree by chance.
    assert ((draws[first] == draws[second]).sum(axis=(1, 2)) <= 1).all()
    np.testing.assert_array_equal(draws[7], NOISES[family].draw((16, 2), key=keys[7]))


def test_perturb_moves_the_location_by_the_noise_and_nothing_else():
    policy = Gaussian(jnp.zeros((64, 3)), jnp.array([0.1, 0.2, 0.3]))
    key = make_key(8)
    perturbed = perturb(policy, coefficients(alpha=0.5), key=key, noise="uniform")
    z = 0.5 * NOISES["uniform"].draw((64, 3), key=key)
    np.testing.assert_array_equal(perturbed.location, z)
    np.testing.assert_array_equal(perturbed.log_scale, policy.log_scale)
    assert len(np.unique(perturbed.location)) > 185  # not one row or one column repeated


def test_draws_are_independent_along_their_own_axis():
    policy = Gaussian(jnp.ones((64, 3)), jnp.zeros(3))
    drawn = perturb(policy, coefficients(), key=make_key(1), noise="uniform", draws=(5,))
    assert drawn.location.shape == (5, 64, 3)
    z = np.asarray(drawn.location - policy.location[None]).reshape(5, -1)
    assert np.abs(np.corrcoef(z) - np.eye(5)).max() < 4.5 / np.sqrt(z.shape[1])


@pytest.mark.parametrize("family", ["gaussian", "laplace", "gumbel", "tanh-gaussian"])
def test_relative_noise_is_measured_in_the_policys_own_deviations(family):
    log_scale = jnp.array([-2.0, 0.0, 1.0])
    policy = DISTRIBUTIONS[family].build(jnp.zeros((32, 3)), log_scale)
    numbers = coefficients(alpha=0.3)
    plain = perturb(policy, numbers, key=make_key(3), noise="uniform")
    relative = perturb(
        policy, coefficients(alpha=0.3, alpha_relative=True), key=make_key(3), noise="uniform"
    )
    np.testing.assert_allclose(relative.mode(), plain.mode() * policy.std(), rtol=1e-6)


def test_no_gradient_flows_through_the_size_of_relative_noise():
    def moved(log_scale):
        policy = Gaussian(jnp.zeros((4, 2)), log_scale)
        numbers = coefficients(alpha_relative=True)
        return perturb(policy, numbers, key=make_key(3), noise="uniform").location.sum()

    np.testing.assert_array_equal(jax.grad(moved)(jnp.ones(2)), np.zeros(2))


def test_none_returns_the_policy_untouched():
    policy = Gaussian(jnp.ones((4, 2)), jnp.zeros(2))
    assert perturb(policy, coefficients(alpha=9.0), key=make_key(0), noise="none") is policy


@pytest.mark.parametrize("family", NOISES)
def test_alpha_zero_leaves_the_log_density_as_it_is_to_the_last_bit(family):
    rng = np.random.default_rng(1)
    location, action = jnp.asarray(rng.normal(size=(2, 512, 6)), jnp.float32)
    policy = Gaussian(location, jnp.asarray(rng.normal(size=6), jnp.float32))
    perturbed = perturb(policy, coefficients(alpha=0.0), key=make_key(2), noise=family)
    np.testing.assert_array_equal(perturbed.log_prob(action), policy.log_prob(action))


def test_parameters_are_moved_each_by_noise_of_its_own():
    params = random_params(3, 2, (8,), seed=0)
    moved = perturb_parameters(params, coefficients(alpha=0.1), key=make_key(4), noise="uniform")
    z = np.concatenate(
        [
            np.ravel(np.asarray(a, np.float64) - np.asarray(b, np.float64))
            for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(params), strict=True)
        ]
    )
    assert 0.09 < np.abs(z).max() < 0.1 + 1e-6 and len(np.unique(z)) == len(z)
    assert abs(z.mean()) < 4.5 * 0.1 / np.sqrt(3 * len(z))


def _act(shape, alpha, stacked, obs, drawn):
    numbers = coefficients(alpha=alpha)
    several = jax.tree.map(lambda x: jnp.stack([x] * 2), numbers)
    draws = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), drawn)
    if draws.shift is not None:
        padded = pad_agents(draws.shift, 2, shape.num_envs)[None]
        shift = scale_shift(padded, stacked, several, shape)[0, :2]
        draws = replace(draws, shift=shift)
    return act(stacked, jnp.float32(obs), draws, shape)


def test_collection_acts_with_the_plain_policy():
    shape = Shape(hidden_sizes=(8,), num_envs=2, noise="uniform")
    agents = [random_params(3, 2, (8,), seed=seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *agents)
    keys = jax.random.split(make_key(0), 2)
    drawn = draw_rollout(keys, jnp.zeros(2, jnp.int32), shape, 3, 2)
    assert drawn.shift is None and drawn.scale is None  # nothing but the noise of the actions
    rng = np.random.default_rng(2)
    obs, noise = rng.normal(size=(2, 2, 3)), rng.normal(size=(2, 2, 2))
    actions = _act(shape, 9.0, stacked, obs, Draws(jnp.asarray(noise), None, None))
    for i, params in enumerate(agents):
        location, log_std, _ = evaluate(to_leaves(params), obs[i])
        expected = location + np.exp(log_std) * noise[i]
        np.testing.assert_allclose(actions[i], expected, rtol=1e-5, atol=1e-5)


def test_the_control_shifts_the_policy_that_collects():
    shape = Shape(hidden_sizes=(8,), num_envs=2, noise_in="collection")
    agents = [random_params(3, 2, (8,), seed=seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *agents)
    rng = np.random.default_rng(2)
    obs, noise, shift = rng.normal(size=(2, 2, 3)), *rng.normal(size=(2, 2, 2, 2))
    actions = _act(shape, 0.7, stacked, obs, Draws(jnp.asarray(noise), jnp.asarray(shift), None))
    for i, params in enumerate(agents):
        location, log_std, _ = evaluate(to_leaves(params), obs[i])
        expected = location + 0.7 * shift[i] + np.exp(log_std) * noise[i]
        np.testing.assert_allclose(actions[i], expected, rtol=1e-5, atol=1e-5)
    keys = jax.random.split(make_key(0), 2)
    drawn = draw_rollout(keys, jnp.zeros(2, jnp.int32), shape, 3, 2)
    assert drawn.shift is not None
    shifts = np.asarray(drawn.shift)[:, :2]  # two agents, padded to eight
    assert shifts.shape == (2048, 2, 2, 2)
    assert np.abs(shifts).max() <= 1 and abs(shifts.var() - 1 / 3) < 0.01
    assert not np.array_equal(shifts[:, 0], shifts[:, 1])
    # The actions' own noise is the plain program's.
    plain = draw_rollout(keys, jnp.zeros(2, jnp.int32), replace(shape, noise_in="update"), 3, 2)
    np.testing.assert_array_equal(drawn.action, plain.action)


def _names(tree):
    """Return every name that a module imports, reads as an attribute or calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "").split(".")[-1], *(alias.name for alias in node.names))
        elif isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in alias.name.split("."))
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


def test_only_the_update_and_one_control_perturb():
    users = set()
    for file in SOURCE.rglob("*.py"):
        if {"perturb", "shift_by", "perturb_parameters", "noise_scale"} & set(
            _names(ast.parse(file.read_text()))
        ):
            users.add(file.relative_to(SOURCE).as_posix())
    update = {f"algorithm/{name}.py" for name in ("diagnostics", "estimators", "objective")}
    training = {name for name in users if not name.startswith("theory/")}
    assert training == update | {"algorithm/perturbation.py", "training/rollout.py"}
