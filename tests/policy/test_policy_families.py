"""Every action distribution acts in NumPy as it does in JAX, and is refused where it cannot."""

from dataclasses import replace
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest

from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.algorithm.networks import action_distribution, init_params
from robustpo.algorithm.normalization import RunningMoments
from robustpo.algorithm.random import make_key
from robustpo.config.run import make_config
from robustpo.environments.base import TaskSpec
from robustpo.errors import ConfigError
from robustpo.execution.execution import execute
from robustpo.execution.manner import Execution
from robustpo.policy.families import FAMILIES
from robustpo.policy.policy import load_policy, save_policy
from robustpo.training.snapshot import make_policy

LOW, HIGH = (-2.0, -1.5), (1.0, 3.5)
SAMPLES = 40_000


def agent(family):
    noise: Any = "none" if family == "beta" else "uniform"
    config = make_config(
        "probe",
        preset="paper",
        distribution=family,
        noise=noise,
        normalize_observations=False,
    )
    rng = np.random.default_rng(4)
    params = init_params(3, 2, (64, 64), rng=rng, distribution=family)
    # The policy's head as it is initialised says nearly nothing.
    head = replace(params.actor[-1], weight=params.actor[-1].weight * 50)
    params = replace(params, actor=(*params.actor[:-1], head))
    spec = TaskSpec("probe", "Probes", 3, LOW, HIGH, None, "jax")
    return config.shape, params, make_policy(config, spec, params, RunningMoments.create((3,)))


def test_both_implementations_know_the_same_families():
    assert FAMILIES.keys() == DISTRIBUTIONS.keys()
    for name, family in DISTRIBUTIONS.items():
        numpy_family = FAMILIES[name]
        for part in ("outputs_per_action", "has_scale", "clipped"):
            assert getattr(family, part) == getattr(numpy_family, part)


@pytest.mark.parametrize("family", DISTRIBUTIONS)
def test_the_deterministic_action_is_the_executed_mode(family):
    shape, params, policy = agent(family)
    obs = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    mode = action_distribution(params, jnp.asarray(obs), shape).mode()
    expected = DISTRIBUTIONS[family].execute(mode, jnp.float32(LOW), jnp.float32(HIGH))
    np.testing.assert_allclose(policy(obs), expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(policy(obs), axis=0).min() > 0.1


@pytest.mark.parametrize("family", DISTRIBUTIONS)
def test_samples_are_those_of_the_trained_distribution(family):
    shape, params, policy = agent(family)
    obs = np.tile(np.array([[0.3, -0.2, 0.1]], np.float32), (SAMPLES, 1))
    mine = np.sort(policy(obs, deterministic=False, rng=np.random.default_rng(0)), axis=0)
    distribution = action_distribution(params, jnp.asarray(obs), shape)
    noise = DISTRIBUTIONS[family].noise((SAMPLES, 2), key=make_key(0))
    raw = distribution.sample(noise)
    theirs = np.sort(
        DISTRIBUTIONS[family].execute(raw, jnp.float32(LOW), jnp.float32(HIGH)), axis=0
    )
    low, high = np.asarray(LOW, np.float32), np.asarray(HIGH, np.float32)
    assert (mine >= low).all() and (mine <= high).all()
    # Quantiles of two samples; the largest distance of their distribution functions is below
    # 1.95 √(2/n) in 999 of 1000 cases (Smirnov).
    for column in range(2):
        both = np.concatenate([mine[:, column], theirs[:, column]])
        first, second = (
            np.searchsorted(x[:, column], both, side="right") / SAMPLES for x in (mine, theirs)
        )
        assert np.abs(first - second).max() < 1.95 * np.sqrt(2 / SAMPLES)


@pytest.mark.parametrize("family", DISTRIBUTIONS)
def test_a_policy_of_every_family_comes_back_from_its_file(tmp_path, family):
    *_, policy = agent(family)
    save_policy(tmp_path / "p.safetensors", policy)
    back = load_policy(tmp_path / "p.safetensors")
    obs = np.random.default_rng(2).normal(size=(9, 3))
    np.testing.assert_array_equal(back(obs), policy(obs))
    assert back.action_size == 2 and back.observation_size == 3


@pytest.mark.parametrize(
    ("family", "change", "words"),
    [
        ("tanh-gaussian", {"action.high": np.array([np.inf, 1], np.float32)}, "not finite"),
        ("beta", {"log_std": np.zeros(2, np.float32)}, "log_std"),
        ("beta", {"actor.2.bias": np.zeros(2, np.float32)}, "actor.2.bias"),
        ("gaussian", {"log_std": np.zeros(0, np.float32)}, "log_std"),
    ],
)
def test_what_does_not_fit_the_family_is_refused(tmp_path, family, change, words):
    *_, policy = agent(family)
    save_policy(tmp_path / "p.safetensors", replace(policy, tensors=policy.tensors | change))
    with pytest.raises(ConfigError, match=words):
        load_policy(tmp_path / "p.safetensors")


def test_distributions_on_the_bounds_need_bounds(tmp_path):
    def unbounded():
        environment = gymnasium.make("Pendulum-v1")
        return gymnasium.wrappers.TransformAction(
            environment,
            lambda action: action,
            gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32),
        )

    config = make_config("unbounded", "ppo-tanh", steps=2048)
    with pytest.raises(ConfigError, match="bounds"):
        execute([config], Execution(tmp_path, progress=False), constructor=unbounded)
    assert list(tmp_path.iterdir()) == []
