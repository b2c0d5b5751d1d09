"""Filter normalisation by hand, and a verdict that follows the numbers."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from robustpo.algorithm.networks import AgentParams, Dense
from robustpo.theory.directions import DISTANCES, filter_normalised, losses_along
from robustpo.theory.estimates import Interval
from robustpo.theory.flatness import MEASURES, compare_sharpness, flatness_verdict
from robustpo.theory.sharpness import Sharpness
from theory.policies import SHAPE, key, small_policy, small_rows

pytestmark = pytest.mark.usefixtures("float64")


def test_every_filter_of_a_direction_is_as_long_as_the_policys():
    # Columns with their bias: (3, 0, 4) of length 5, (0, 0, 0), (1, 2, 2) of length 3.
    layer = Dense(jnp.array([[3.0, 0.0, 1.0], [0.0, 0.0, 2.0]]), jnp.array([4.0, 0.0, 2.0]))
    params = AgentParams((layer,), jnp.array([0.7, 0.7, 0.7]), ())
    found = filter_normalised(params, key=key(0))
    drawn = np.concatenate([found.actor[0].weight, found.actor[0].bias[None]])
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=0), [5, 0, 3], atol=1e-12)
    np.testing.assert_array_equal(found.log_std, np.zeros(3))
    other = filter_normalised(params, key=key(1))
    assert not np.allclose(other.actor[0].weight, found.actor[0].weight)


def test_losses_along_directions_start_at_zero_and_the_likelihoods_rises():
    params = small_policy()
    curves = np.asarray(losses_along(params, small_rows(params), SHAPE, key=key(0), count=3))
    centre = DISTANCES.index(0.0)
    np.testing.assert_allclose(curves[:, centre], 0, atol=1e-12)
    assert curves[1, 0] > 0.05 and curves[1, -1] > 0.05


def made_up(method, seed, **values):
    numbers: dict[str, Any] = {f.name: 0.0 for f in dataclasses.fields(Sharpness)} | {
        name: 1.0 for name in MEASURES
    }
    numbers = {
        name: Interval(x, x, x) if "trace" in name else x for name, x in (numbers | values).items()
    }
    return Sharpness(**(numbers | {"method": method, "seed": seed, "step": 100}))


def verdict(seeds, **values):
    """Give PPO all measures around 1 and RPO those around the values."""
    rng = np.random.default_rng(0)
    made = [
        made_up(
            method,
            seed,
            **{
                name: (values.get(name, 1.0) if method == "rpo" else 1.0) + 0.01 * rng.normal()
                for name in MEASURES
            },
        )
        for method in ("ppo", "rpo")
        for seed in range(seeds)
    ]
    return flatness_verdict(compare_sharpness(made), 100)


def test_the_verdict_follows_the_numbers():
    both = ("trace", "likelihood_trace")
    common = ("common_trace", "common_likelihood_trace")
    assert "no verdict" in verdict(4, trace=0.0).lower()
    assert "not shown to be flatter or sharper" in verdict(5)
    lower = dict.fromkeys(both, 0.5)
    assert "flatter, but not shown to be so at equal breadth. By" in verdict(5, **lower)
    assert "flatter, also at equal breadth" in verdict(5, **lower, **dict.fromkeys(common, 0.5))
    assert "sharper at equal breadth" in verdict(5, **lower, **dict.fromkeys(common, 1.5))
    assert ": sharper. By" in verdict(5, **dict.fromkeys(both, 1.5))
    assert "say different things" in verdict(5, trace=0.5)
