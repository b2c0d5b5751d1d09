"""Policies of other networks than plain layers: normalised ones, and somebody's own."""

import subprocess
import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import robustpo
from robustpo.algorithm.networks import action_distribution, state_value
from robustpo.base import registry
from robustpo.config.run import make_config
from robustpo.errors import ConfigError
from robustpo.policy.policy import Policy, load_policy, save_policy
from robustpo.training.trainer import Trainer

TINY: dict[str, Any] = {
    "preset": "paper",
    "num_steps": 64,
    "num_minibatches": 2,
    "update_epochs": 2,
    "steps": 128,
}
TASK = "isaac/Cartpole-v0"


def init_line(inputs, outputs, *, rng):
    return {"w": rng.normal(size=(inputs, outputs)), "b": np.zeros(outputs)}


def line_in(xp):
    return lambda parameters, obs: xp.tanh(obs @ parameters["w"]) + parameters["b"]


@pytest.fixture
def lab(monkeypatch):
    """Have networks in a module of somebody's."""
    module = types.ModuleType("net_lab")
    module.line = robustpo.Network(init_line, line_in(jnp), act=line_in(np))  # type: ignore[attr-defined]
    module.jax_only = robustpo.Network(init_line, line_in(jnp))  # type: ignore[attr-defined]
    module.odd = robustpo.Network(init_line, lambda p, obs: obs)  # type: ignore[attr-defined]
    module.other = robustpo.Network(  # type: ignore[attr-defined]
        init_line, line_in(jnp), act=lambda p, obs: obs @ p["w"] + 5
    )
    module.raises = robustpo.Network(init_line, lambda p, obs: {}["w"])  # type: ignore[attr-defined]
    module.nan = robustpo.Network(  # type: ignore[attr-defined]
        lambda i, o, *, rng: {"w": np.full((i, o), np.nan)}, line_in(jnp)
    )
    module.none = robustpo.Network(lambda i, o, *, rng: [1, 2], line_in(jnp))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "net_lab", module)
    monkeypatch.setattr(registry, "_named", {})
    names = ("line", "jax_only", "odd", "none", "other", "raises", "nan", "lost")
    robustpo.allow([f"net_lab:{name}" for name in names])
    return module


def trained(**options):
    """Train a little; return the trainer and its one policy."""
    trainer = Trainer([make_config(TASK, **(TINY | options))])
    trainer.run()
    (agent,) = trainer.agents
    assert agent.policy is not None
    return trainer, agent.policy


def require_same(trainer, policy):
    """Hold a policy against the networks that it was made of."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(32, policy.observation_size)).astype(np.float32)
    params = jax.tree.map(lambda x: x[0], trainer.population.learners.params)
    obs = jnp.asarray(policy.normalize(raw))
    expected = np.asarray(action_distribution(params, obs, trainer.shape).mode())
    low, high = trainer.spec.action_low, trainer.spec.action_high
    np.testing.assert_allclose(policy(raw), np.clip(expected, low, high), atol=3e-6)
    np.testing.assert_allclose(
        policy.value(raw), state_value(params, obs, trainer.shape), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shared", [False, True])
def test_a_normalised_policy_acts_as_it_was_trained(tmp_path, shared):
    options: dict[str, Any] = {"layer_norm": True, "hidden_sizes": (16, 8)}
    options["shared_network"] = shared
    trainer, policy = trained(**options)
    require_same(trainer, policy)
    assert policy.tensors["actor.0.scale"].shape == (16,)
    # It has learned.
    assert not (policy.tensors["actor.1.scale"] == 1).all()
    save_policy(tmp_path / "policy.safetensors", policy)
    again = load_policy(tmp_path / "policy.safetensors")
    obs = np.ones((3, policy.observation_size), np.float32)
    np.testing.assert_array_equal(again(obs), policy(obs))
    # A new run starts from it, with all it has.
    other = Trainer(
        [make_config(TASK, init_policy=str(tmp_path / "policy.safetensors"), **(TINY | options))]
    )
    actor: Any = other.population.learners.params.actor
    np.testing.assert_array_equal(actor[0].scale[0], policy.tensors["actor.0.scale"])


def test_saving_into_nowhere_is_one_line(tmp_path):
    _, policy = trained(hidden_sizes=(8,))
    with pytest.raises(ConfigError, match="there is no directory"):
        policy.save(tmp_path / "nowhere" / "policy.safetensors")


def test_a_file_with_half_of_a_normalisation_is_refused(tmp_path):
    _, policy = trained(layer_norm=True, hidden_sizes=(8,))
    for change in ({"actor.0.shift": None}, {"actor.1.scale": np.ones(3, np.float32)}):
        tensors = {k: v for k, v in (policy.tensors | change).items() if v is not None}
        save_policy(tmp_path / "bad.safetensors", Policy(tensors, policy.metadata))
        with pytest.raises(ConfigError, match="not a policy of robustpo"):
            load_policy(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("name", ["line", "jax_only"])
def test_a_network_of_ones_own_trains_acts_and_starts_others(tmp_path, lab, name):
    trainer, policy = trained(network=f"net_lab:{name}")
    require_same(trainer, policy)
    assert set(trainer.population.learners.params.actor) == {"w", "b"}
    assert f"networks=net_lab:{name}" in repr(policy)
    file = tmp_path / "policy.safetensors"
    save_policy(file, policy)
    again = load_policy(file)
    obs = np.ones(policy.observation_size, np.float32)
    np.testing.assert_array_equal(again(obs), policy(obs))
    other = Trainer([make_config(TASK, init_policy=str(file), network=f"net_lab:{name}", **TINY)])
    own: Any = other.population.learners.params.actor
    np.testing.assert_array_equal(own["w"][0], policy.tensors["actor.w"])


def test_a_file_alone_imports_nothing(tmp_path, lab, monkeypatch):
    _, policy = trained(network="net_lab:line")
    save_policy(tmp_path / "policy.safetensors", policy)
    monkeypatch.setattr(registry, "_named", {})
    with pytest.raises(ConfigError, match="--allow net_lab:line"):
        load_policy(tmp_path / "policy.safetensors")


def test_what_is_no_network_is_refused_in_one_line(lab):
    for name, words in (
        ("other", "act does not do what apply does"),
        ("raises", "apply raised KeyError"),
        ("nan", "init drew w that is not finite"),
        ("lost", "cannot be imported"),
    ):
        with pytest.raises(ConfigError, match=words):
            trained(network=f"net_lab:{name}")
    with pytest.raises(ConfigError, match="layer_norm=True is about layers"):
        trained(network="net_lab:line", layer_norm=True)
    for name, words in (("odd", r"into \(2, \d\), expected \(2, 1\)"), ("none", "returned list")):
        with pytest.raises(ConfigError, match=words):
            trained(network=f"net_lab:{name}")
    with pytest.raises(ConfigError, match="shared_network=True"):
        trained(network="net_lab:line", shared_network=True)


def test_without_jax_a_network_without_a_twin_says_so(tmp_path, lab):
    _, policy = trained(network="net_lab:jax_only")
    save_policy(tmp_path / "policy.safetensors", policy)
    (tmp_path / "net_lab.py").write_text(
        "import robustpo\njax_only = robustpo.Network(print, print)\n"
    )
    script = (
        "import sys, numpy, robustpo\nsys.modules['jax'] = None\n"
        "robustpo.allow(['net_lab:jax_only'])\npolicy = robustpo.load_policy('.')\n"
        "try:\n    policy(numpy.zeros(policy.observation_size))\n"
        "except robustpo.ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert "no twin in NumPy" in done.stdout, done.stderr
