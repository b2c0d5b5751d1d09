"""Every action distribution acts in NumPy as it does in JAX, and is refused where it cannot."""

from dataclasses import replace
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.algorithm.networks import action_distribution, init_params, state_value
from robustpo.algorithm.normalization import RunningMoments
from robustpo.algorithm.random import make_key
from robustpo.config.run import make_config
from robustpo.environments.base import TaskSpec
from robustpo.errors import ConfigError
from robustpo.execution.execution import execute
from robustpo.execution.manner import Execution
from robustpo.policy.families import FAMILIES
from robustpo.policy.policy import Policy, load_policy, save_policy
from robustpo.training.snapshot import make_policy

LOW, HIGH = (-2.0, -1.5), (1.0, 3.5)
SAMPLES = 40_000


def agent(family, shared_network=False, **options):
    noise: Any = "none" if family == "beta" else "uniform"
    config = make_config(
        "probe",
        preset="paper",
        distribution=family,
        noise=noise,
        normalize_observations=False,
        shared_network=shared_network,
        **options,
    )
    rng = np.random.default_rng(4)
    params = init_params(3, 2, (64, 64), rng=rng, distribution=family, shared=shared_network)
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


def in_environment_units(family, outputs, log_std, scaled) -> Any:
    """The distribution of each dimension by SciPy, or of the way between the bounds."""
    low, high = np.array(LOW), np.array(HIGH)
    if family == "beta":
        a, b = np.split(np.logaddexp(outputs, 0), 2, axis=-1)
        return stats.beta(1 + a, 1 + b, loc=low, scale=high - low)
    centre, half = (0.5 * (low + high), 0.5 * (high - low)) if scaled else (0.0, 1.0)
    where, width = centre + half * outputs, half * np.exp(log_std)
    kinds = {"gaussian": stats.norm, "laplace": stats.laplace, "gumbel": stats.gumbel_r}
    return kinds[family](where, width)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("family", ["gaussian", "laplace", "gumbel", "beta"])
def test_log_densities_are_scipys(family, scaled):
    _, _, policy = agent(family, action_scale="bounds" if scaled else "raw")
    rng = np.random.default_rng(5)
    obs, action = rng.normal(size=(50, 3)), rng.uniform(LOW, HIGH, (50, 2))
    outputs = policy._mlp("actor", policy.normalize(obs)).astype(float)
    expected = in_environment_units(family, outputs, policy.tensors["log_std"], scaled)
    logs = expected.logpdf(action).sum(-1)
    np.testing.assert_allclose(policy.log_prob(obs, action), logs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(policy.log_prob(obs[0], action[0]), logs[0], rtol=1e-5, atol=1e-5)


def test_a_squashed_gaussians_density_is_the_slope_of_its_distribution_function():
    _, _, policy = agent("tanh-gaussian")
    obs, (low, high) = np.ones(3), (np.array(LOW), np.array(HIGH))
    outputs = policy._mlp("actor", policy.normalize(obs)).astype(float)
    scale = np.exp(policy.tensors["log_std"].astype(float))

    def below(action):
        return stats.norm.cdf(np.arctanh(2 * (action - low) / (high - low) - 1), outputs, scale)

    for action in np.random.default_rng(6).uniform(low + 0.1, high - 0.1, (20, 2)):
        slope = (below(action + 1e-5) - below(action - 1e-5)) / 2e-5
        assert policy.log_prob(obs, action) == pytest.approx(np.log(slope).sum(), abs=1e-4)
    assert np.isfinite(policy.log_prob(obs, high)) and np.isfinite(policy.log_prob(obs, low))


@pytest.mark.parametrize("shared", [False, True])
def test_values_are_the_critics(shared):
    shape, params, policy = agent("gaussian", shared_network=shared)
    obs = np.random.default_rng(7).normal(size=(20, 3)).astype(np.float32)
    expected = state_value(params, jnp.asarray(obs), shape)
    np.testing.assert_allclose(policy.value(obs), expected, rtol=1e-4, atol=1e-5)
    assert policy.value(obs[0]) == pytest.approx(policy.value(obs)[0], rel=1e-5)
    without = {k: v for k, v in policy.tensors.items() if not k.startswith("critic")}
    with pytest.raises(ConfigError, match="holds no critic"):
        Policy(without, policy.metadata).value(obs)


def test_what_a_policy_is_fits_a_line_and_a_notebook():
    _, _, policy = agent("beta")
    assert repr(policy) == (
        "Policy(task=probe, method=rpo, seed=0, observes=3, acts=2, distribution=beta, "
        "networks=64×64 tanh)"
    )
    named = Policy(policy.tensors, policy.metadata | {"task": "<b>"})
    assert "<td>&lt;b&gt;</td>" in named._repr_html_()
    with pytest.raises(ValueError, match=r"action.shape=\(3,\) is not valid; expected \(2,\)"):
        policy.log_prob(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match=r"a dictionary is not valid; expected \[3\]"):
        policy({"a": 1})


def test_the_critic_may_have_layers_of_its_own(tmp_path, tiny):
    options = tiny.options | {"steps": 1024, "hidden_sizes": (8,), "critic_hidden_sizes": (12, 4)}
    config = make_config(tiny.task, **options)
    (run,) = execute([config], Execution(out=tmp_path, workers=1, progress=False))
    assert "critic-hidden-sizes-12x4" in run.parent.name
    policy = load_policy(run)
    widths = {n: t.shape for n, t in policy.tensors.items() if n.endswith("weight")}
    observed = policy.observation_size
    assert widths["actor.0.weight"] == (observed, 8) and widths["critic.0.weight"] == (observed, 12)
    assert widths["critic.1.weight"] == (12, 4) and widths["critic.2.weight"] == (4, 1)
    # Its actor begins like that of any agent with that seed; so does a run that starts from it.
    warm = replace(config, init_policy=str(run / "policy.safetensors"))
    (again,) = execute([warm], Execution(out=tmp_path, workers=1, progress=False))
    assert load_policy(again).tensors["critic.1.weight"].shape == (12, 4)
    other = replace(warm, shape=replace(config.shape, critic_hidden_sizes=()))
    with pytest.raises(ConfigError, match=r"critic_hidden_sizes \(12, 4\); asked for: \(8,\);"):
        execute([other], Execution(out=tmp_path, workers=1, progress=False))
    with pytest.raises(ConfigError, match=r"critic_hidden_sizes=.* are the critic's own layers"):
        make_config(tiny.task, **options | {"shared_network": True})
