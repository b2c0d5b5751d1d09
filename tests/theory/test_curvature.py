"""Products, traces and eigenvalues against explicit matrices and against jax.hessian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustpo.theory.curvature import (
    extreme_eigenvalues,
    hessian_diagonal,
    hessian_product,
    hutchinson,
    lanczos,
)
from robustpo.theory.estimates import t_interval
from robustpo.theory.losses import (
    actor_mask,
    as_function_of_vector,
    likelihood_loss,
    surrogate_loss,
)
from theory.policies import SHAPE, key, small_policy, small_rows

pytestmark = pytest.mark.usefixtures("float64")


def symmetric(size, seed):
    square = np.random.default_rng(seed).normal(size=(size, size))
    return square + square.T


@jax.jit
def complete_run(matrix, start):
    return lanczos(lambda x: matrix @ x, start, 9)


def quadratic(matrix):
    return lambda x: 0.5 * x @ jnp.asarray(matrix) @ x


@pytest.mark.parametrize("loss", [surrogate_loss, likelihood_loss])
def test_products_are_differences_of_gradients(loss):
    params = small_policy()
    function, point = as_function_of_vector(loss, params, small_rows(params), SHAPE)
    direction = jnp.asarray(np.random.default_rng(0).normal(size=point.size))
    step = 1e-5
    gradient = jax.jit(jax.grad(function))
    difference = (gradient(point + step * direction) - gradient(point - step * direction)) / (
        2 * step
    )
    product = hessian_product(function, point, direction)
    np.testing.assert_allclose(product, difference, atol=1e-7 * float(jnp.abs(product).max()))


def test_the_trace_of_a_small_networks_hessian():
    params = small_policy()
    function, point = as_function_of_vector(surrogate_loss, params, small_rows(params), SHAPE)
    hessian = np.asarray(jax.jit(jax.hessian(function))(point))
    np.testing.assert_allclose(hessian_diagonal(function, point), np.diag(hessian), atol=1e-12)
    mask = actor_mask(params)
    samples = hutchinson(function, point, jnp.stack([mask, 1 - mask]), key=key(0), probes=4000)
    exact = [np.diag(hessian)[:-2].sum(), np.diag(hessian)[-2:].sum()]
    for column, trace in zip(np.asarray(samples).T, exact, strict=True):
        assert abs(column.mean() - trace) < 4 * column.std() / np.sqrt(len(column))
    # The variance of v·Hv with signs v is twice the squares off the diagonal.
    spread = 2 * ((hessian**2).sum() - (np.diag(hessian) ** 2).sum())
    np.testing.assert_allclose(np.asarray(samples).sum(1).var(), spread, rtol=0.15)


def test_intervals_of_the_trace_cover_it_as_often_as_they_say():
    matrix = symmetric(12, 3)
    ones = jnp.ones((1, 12))
    run = jax.jit(
        lambda key: hutchinson(quadratic(matrix), jnp.zeros(12), ones, key=key, probes=30)
    )
    covered = [
        t_interval(np.asarray(run(key(seed)))[:, 0]).covers(np.trace(matrix)) for seed in range(200)
    ]
    # 95% of 200 is 190 with a standard deviation of 3.1.
    assert 178 <= sum(covered) <= 200


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_complete_lanczos_run_finds_the_extremes(seed):
    with jax.enable_x64(True):
        matrix = symmetric(9, seed)
        start = jnp.asarray(np.random.default_rng(seed + 1).normal(size=9))
        found = complete_run(jnp.asarray(matrix), start)
    (low, _), (high, _) = extreme_eigenvalues(*map(np.asarray, found))
    values = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose([low, high], values[[0, -1]], atol=1e-9 * np.abs(values).max())


def test_a_short_lanczos_run_keeps_to_its_error_bound():
    matrix = symmetric(120, 5)
    start = jnp.asarray(np.random.default_rng(0).normal(size=120))
    values = np.linalg.eigvalsh(matrix)
    value = 0.0
    for iterations in (5, 15, 30):
        found = lanczos(lambda x: jnp.asarray(matrix) @ x, start, iterations)
        for value, bound in extreme_eigenvalues(*map(np.asarray, found)):
            assert np.abs(values - value).min() <= bound * (1 + 1e-9)
    assert abs(value - values[-1]) < 0.02 * values[-1]


def test_an_exhausted_space_ends_lanczos():
    matrix = np.diag([5.0, -2.0, 1.0, 1.0, 1.0, 1.0])
    start = jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    found = lanczos(lambda x: jnp.asarray(matrix) @ x, start, 6)
    (low, _), (high, _) = extreme_eigenvalues(*map(np.asarray, found))
    np.testing.assert_allclose([low, high], [-2, 5], atol=1e-10)


def test_the_extremes_of_a_small_networks_hessian():
    params = small_policy()
    function, point = as_function_of_vector(surrogate_loss, params, small_rows(params), SHAPE)
    values = np.linalg.eigvalsh(np.asarray(jax.jit(jax.hessian(function))(point)))
    start = jnp.asarray(np.random.default_rng(2).normal(size=point.size))
    found = lanczos(lambda v: hessian_product(function, point, v), start, 40)
    (low, _), (high, _) = extreme_eigenvalues(*map(np.asarray, found))
    np.testing.assert_allclose([low, high], values[[0, -1]], rtol=1e-6)
