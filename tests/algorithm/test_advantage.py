"""Generalised advantages against a double loop over their definition, and by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from algorithm.reference import advantages
from robustpo.algorithm.advantage import generalised_advantage, successor_value


def found(reward, value, next_value, terminated, truncated, *, gamma, lam, bootstrap):
    successor = successor_value(
        jnp.float32(next_value),
        jnp.asarray(terminated),
        jnp.asarray(truncated),
        jnp.asarray(bootstrap),
    )
    return generalised_advantage(
        jnp.float32(reward),
        jnp.float32(value),
        successor,
        jnp.asarray(terminated) | jnp.asarray(truncated),
        jnp.float32(gamma),
        jnp.float32(lam),
    )


def by_loop(reward, value, next_value, terminated, truncated, **numbers):
    columns = [
        advantages(
            *(x[:, e] for x in (reward, value, next_value, terminated, truncated)), **numbers
        )
        for e in range(reward.shape[1])
    ]
    return np.stack(columns, axis=1)


def random_rows(seed, steps=40, envs=3):
    rng = np.random.default_rng(seed)
    reward, value, next_value = rng.normal(size=(3, steps, envs))
    terminated = rng.random((steps, envs)) < 0.1
    truncated = rng.random((steps, envs)) < 0.1
    return reward, value, next_value, terminated, truncated


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.9, 0.0), (1.0, 1.0), (0.0, 0.5)])
def test_advantages_are_those_of_a_double_loop(bootstrap, gamma, lam):
    numbers = {"gamma": gamma, "lam": lam, "bootstrap": bootstrap}
    for seed in range(3):
        rows = random_rows(seed)
        np.testing.assert_allclose(
            found(*rows, **numbers), by_loop(*rows, **numbers), rtol=1e-5, atol=2e-5
        )


HAND = {
    # γ = ½, λ = ½, r = 1, v = 2, v' = 4 in three rows: δ = 1 + 2 − 2 = 1, or −1 without v'.
    "running": ([0, 0, 0], [0, 0, 0], False, [1 + 0.25 + 0.0625, 1.25, 1]),
    "terminated": ([0, 1, 0], [0, 0, 0], True, [1 - 0.25, -1, 1]),
    "truncated, terminal": ([0, 0, 0], [0, 1, 0], False, [1 - 0.25, -1, 1]),
    "truncated, bootstrap": ([0, 0, 0], [0, 1, 0], True, [1 + 0.25, 1, 1]),
    "both, bootstrap": ([0, 1, 0], [0, 1, 0], True, [1 - 0.25, -1, 1]),
    "last row cut": ([0, 0, 0], [0, 0, 1], False, [1 + 0.25 - 0.0625, 1 - 0.25, -1]),
}


@pytest.mark.parametrize("name", HAND)
def test_three_rows_by_hand(name):
    terminated, truncated, bootstrap, expected = HAND[name]
    rows = [np.full((3, 1), x) for x in (1.0, 2.0, 4.0)]
    flags = [np.array(x, bool)[:, None] for x in (terminated, truncated)]
    result = found(*rows, *flags, gamma=0.5, lam=0.5, bootstrap=bootstrap)
    np.testing.assert_array_equal(result[:, 0], expected)


@pytest.mark.parametrize("bootstrap", [False, True])
def test_nothing_of_a_phantom_row_reaches_the_rows_around_it(bootstrap):
    reward, value, next_value, terminated, truncated = random_rows(5)
    terminated[:, 0], truncated[:, 0] = False, False
    truncated[9, 0] = True  # row 10 only resets
    numbers = {"gamma": 0.99, "lam": 0.95, "bootstrap": bootstrap}
    clean = found(reward, value, next_value, terminated, truncated, **numbers)
    reward[10, 0], value[10, 0], next_value[10, 0] = 1e6, -1e6, 1e6
    poisoned = found(reward, value, next_value, terminated, truncated, **numbers)
    others = np.delete(np.arange(len(reward)), 10)
    np.testing.assert_array_equal(clean[others], poisoned[others])


def test_with_lambda_one_an_episode_has_its_discounted_return_less_the_value():
    reward, value, next_value, terminated, truncated = random_rows(6, steps=12, envs=1)
    terminated[:], truncated[:] = False, False
    terminated[-1] = True
    next_value[:-1] = value[1:]
    numbers = {"gamma": 0.9, "lam": 1.0, "bootstrap": False}
    returns = [sum(0.9**k * reward[t + k, 0] for k in range(12 - t)) for t in range(12)]
    result = found(reward, value, next_value, terminated, truncated, **numbers)
    np.testing.assert_allclose(result[:, 0] + value[:, 0], returns, rtol=1e-5, atol=1e-5)
