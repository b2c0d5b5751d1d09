"""The perturbation: its distribution, when it is fresh, and where it must never be."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import robustpo
from algorithm.reference import evaluate, random_params, to_leaves
from robustpo.algorithm.distributions import Gaussian
from robustpo.algorithm.perturbation import NOISES, perturb, uniform
from robustpo.algorithm.random import make_key
from robustpo.config import Shape
from robustpo.training.rollout import act

SOURCE = Path(robustpo.__file__).parent
SAMPLES = 100_000


@pytest.mark.parametrize("alpha", [0.001, 0.5, 3.0])
def test_uniform_noise_fills_the_interval_evenly(alpha):
    z = np.float64(uniform((SAMPLES, 3), jnp.float32(alpha), key=make_key(5)))
    bound = np.float32(alpha)
    assert -bound <= z.min() and z.max() <= bound
    # The chance that none of 300,000 draws comes within 1e-4 of an end is below 1e-6.
    assert z.min() < -bound * (1 - 1e-4) and z.max() > bound * (1 - 1e-4)
    assert scipy.stats.kstest(z.ravel() / alpha, "uniform", args=(-1, 2)).pvalue > 1e-3
    assert abs(z.var() - alpha**2 / 3) < 4.5 * alpha**2 * np.sqrt(4 / 45 / z.size)


def test_noise_is_independent_per_dimension_and_per_sample():
    z = np.asarray(uniform((SAMPLES, 4), jnp.float32(1.0), key=make_key(6)), np.float64)
    following = np.concatenate([z[:-1], z[1:]], axis=1)
    for values in (following, following**2):
        correlation = np.asarray(np.corrcoef(values.T))[:4]
        off_diagonal = correlation[~np.eye(4, 8, dtype=bool)]
        assert np.abs(off_diagonal).max() < 4.5 / np.sqrt(SAMPLES)


def test_noise_is_fresh_for_every_key_and_the_same_for_the_same_key():
    keys = jax.random.split(make_key(0), 50)
    draws = np.stack([uniform((16, 2), jnp.float32(0.5), key=key) for key in keys])
    first, second = np.triu_indices(len(draws), 1)
    # 32 numbers of 23 random bits each: hardly one of them may agree by chance.
    assert ((draws[first] == draws[second]).sum(axis=(1, 2)) <= 1).all()
    np.testing.assert_array_equal(draws[7], uniform((16, 2), jnp.float32(0.5), key=keys[7]))


def test_perturb_moves_the_location_by_the_noise_and_nothing_else():
    policy = Gaussian(jnp.zeros((64, 3)), jnp.array([0.1, 0.2, 0.3]))
    key = make_key(8)
    perturbed = perturb(policy, jnp.float32(0.5), key=key, noise="uniform")
    z = uniform((64, 3), jnp.float32(0.5), key=key)
    np.testing.assert_array_equal(perturbed.location, z)
    np.testing.assert_array_equal(perturbed.log_scale, policy.log_scale)
    assert len(np.unique(perturbed.location)) > 185  # not one row or one column repeated


def test_every_named_family_has_the_shape_asked_for():
    for family in NOISES.values():
        assert family((5, 2), jnp.float32(0.1), key=make_key(0)).shape == (5, 2)


def test_none_returns_the_policy_untouched():
    policy = Gaussian(jnp.ones((4, 2)), jnp.zeros(2))
    assert perturb(policy, jnp.float32(9.0), key=make_key(0), noise="none") is policy


def test_alpha_zero_leaves_the_log_density_as_it_is_to_the_last_bit():
    rng = np.random.default_rng(1)
    location, action = jnp.asarray(rng.normal(size=(2, 512, 6)), jnp.float32)
    policy = Gaussian(location, jnp.asarray(rng.normal(size=6), jnp.float32))
    perturbed = perturb(policy, jnp.float32(0.0), key=make_key(2), noise="uniform")
    np.testing.assert_array_equal(perturbed.log_prob(action), policy.log_prob(action))


def test_collection_acts_with_the_plain_policy():
    shape = Shape(hidden_sizes=(8,), num_envs=2, noise="uniform")
    agents = [random_params(3, 2, (8,), seed=seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *agents)
    rng = np.random.default_rng(2)
    obs, noise = rng.normal(size=(2, 2, 3)), rng.normal(size=(2, 2, 2))
    actions = act(stacked, jnp.float32(obs), jnp.float32(noise), shape)
    for i, params in enumerate(agents):
        location, log_std, _ = evaluate(to_leaves(params), obs[i])
        expected = location + np.exp(log_std) * noise[i]
        np.testing.assert_allclose(actions[i], expected, rtol=1e-5, atol=1e-5)


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


def test_only_the_objective_perturbs():
    users = set()
    for file in SOURCE.rglob("*.py"):
        if {"perturb", "NOISES", "perturbation"} & set(_names(ast.parse(file.read_text()))):
            users.add(file.relative_to(SOURCE).as_posix())
    assert users == {"algorithm/objective.py", "algorithm/perturbation.py"}
