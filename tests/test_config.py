"""Settings, shapes, methods, lengths and names of runs."""

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustpo.config import RunConfig, make_config
from robustpo.errors import ConfigError
from robustpo.methods import METHODS
from robustpo.settings import MAX_SEED, Settings
from robustpo.shape import Shape
from robustpo.studies.grid import parse_seeds
from robustpo.training.record import config_from_identity
from robustpo.validation import suggest

TASK = "dm_control/walker-walk-v0"


def test_defaults_are_table_2_of_the_paper():
    config = make_config(TASK)
    expected = {
        "alpha": 0.5,
        "learning_rate": 3e-4,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "clip_coef": 0.2,
        "value_coef": 0.5,
        "entropy_coef": 0.0,
        "max_grad_norm": 0.5,
        "learning_rate_schedule": "linear",
        "time_limit": "terminal",
        "target_kl": None,
    }
    found = dataclasses.asdict(config.settings)
    assert {name: found[name] for name in expected} == expected
    shape = config.shape
    assert (shape.num_steps, shape.num_minibatches, shape.update_epochs) == (2048, 32, 10)
    assert (shape.num_envs, shape.hidden_sizes, shape.activation) == (1, (64, 64), "tanh")
    assert shape.minibatch_size == 64
    assert config.steps == 8_000_000


NOT_NUMBERS = [math.nan, math.inf, "1", None, True]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("seed", [-1, 1.0, MAX_SEED + 1, True]),
        ("alpha", [-0.1, *NOT_NUMBERS]),
        ("entropy_coef", [-1e-9, *NOT_NUMBERS]),
        ("learning_rate", [0.0, -1e-3, *NOT_NUMBERS]),
        ("learning_rate_schedule", ["cosine", ""]),
        ("gamma", [-0.1, 1.0001, *NOT_NUMBERS]),
        ("gae_lambda", [-0.1, 1.0001, *NOT_NUMBERS]),
        ("clip_coef", [0.0, -0.2, *NOT_NUMBERS]),
        ("value_coef", [-1.0, *NOT_NUMBERS]),
        ("max_grad_norm", [0.0, *NOT_NUMBERS]),
        ("target_kl", [0.0, -1.0, math.nan, math.inf, "1"]),
        ("time_limit", ["truncate"]),
        ("hidden_sizes", [(), (0,), (64, -1), (1.5,)]),
        ("activation", ["gelu"]),
        ("distribution", ["normal"]),
        ("noise", ["normal"]),
        ("num_envs", [0, 1.0, True]),
        ("num_steps", [0, -2048]),
        ("num_minibatches", [0, 3]),
        ("update_epochs", [0]),
        ("steps", [0, 2047, 1e6]),
        ("eval_every", [-1, 0.5]),
        ("eval_episodes", [0]),
    ],
)
def test_wrong_values_are_refused_by_name_and_value(name, values):
    for value in values:
        with pytest.raises(ConfigError) as caught:
            make_config(TASK, **{name: value})
        assert name in str(caught.value)
        shown = value if name != "hidden_sizes" else (value[-1] if value else ())
        assert str(shown) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", 0),
        ("gamma", 1),
        ("gae_lambda", 0.0),
        ("seed", MAX_SEED),
        ("target_kl", 0.01),
        ("hidden_sizes", [32]),
        ("steps", 2048),
    ],
)
def test_values_at_the_edges_are_taken(name, value):
    make_config(TASK, **{name: value})


def test_minibatches_must_divide_and_the_nearest_that_do_are_named():
    # The divisors of 2048 around 30 are 16 and 32.
    with pytest.raises(ConfigError, match=r"num_minibatches=30 does not divide .*2048.* 32"):
        Shape(num_minibatches=30)
    assert Shape(num_envs=3, num_steps=10, num_minibatches=6).minibatch_size == 5


def test_unknown_names_get_the_nearest_known_ones():
    with pytest.raises(ConfigError, match="did you mean ppo-entropy"):
        make_config(TASK, "ppo-entrpy")
    with pytest.raises(ConfigError, match="did you mean learning_rate"):
        make_config(TASK, learning_rat=1e-3)
    assert suggest("zzz", ["rpo", "ppo"]) == ""


def test_ppo_is_rpo_with_alpha_zero_and_nothing_else():
    rpo, ppo = make_config(TASK, "rpo"), make_config(TASK, "ppo")
    assert ppo.shape == rpo.shape
    assert ppo.settings == dataclasses.replace(rpo.settings, alpha=0.0)
    entropy = make_config(TASK, "ppo-entropy").settings
    assert entropy == dataclasses.replace(ppo.settings, entropy_coef=0.01)
    assert make_config(TASK, "ppo", alpha=0.3).settings.alpha == 0.3


def test_configurations_are_frozen_and_hashable():
    config = make_config(TASK, hidden_sizes=[32, 32])
    assert config == make_config(TASK, hidden_sizes=(32, 32))
    assert hash(config) == hash(make_config(TASK, hidden_sizes=(32, 32)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.settings.alpha = 1.0  # pyright: ignore[reportAttributeAccessIssue]


def test_steps_are_floored_to_whole_iterations():
    config = make_config(TASK)
    assert config.num_iterations == 3906
    assert config.total_steps == 7_999_488  # 3906 · 2048, as the design says
    assert make_config(TASK, steps=2048).num_iterations == 1
    assert make_config(TASK, steps=4095).total_steps == 2048
    several = make_config(TASK, steps=10_000, num_envs=4, num_steps=100, num_minibatches=4)
    assert several.total_steps == 10_000


@pytest.mark.parametrize(
    ("method", "options", "variant"),
    [
        ("rpo", {}, "rpo"),
        ("ppo", {}, "ppo"),
        ("rpo", {"seed": 7}, "rpo"),
        ("rpo", {"alpha": 0.1}, "rpo_alpha-0.1"),
        ("rpo", {"alpha": 0.5}, "rpo"),
        ("ppo", {"alpha": 0.5}, "ppo_alpha-0.5"),
        (
            "ppo",
            {"time_limit": "bootstrap", "steps": 1_000_000},
            "ppo_time-limit-bootstrap_steps-1m",
        ),
        ("rpo", {"steps": 600_000}, "rpo_steps-600k"),
        ("rpo", {"steps": 1_500_000}, "rpo_steps-1.5m"),
        ("rpo", {"hidden_sizes": (256, 256)}, "rpo_hidden-sizes-256x256"),
        ("rpo", {"normalize_rewards": False}, "rpo_normalize-rewards-off"),
    ],
)
def test_variants_name_what_differs_from_the_method(method, options, variant):
    assert make_config(TASK, method, **options).variant == variant


positive = st.floats(1e-6, 10.0)


@st.composite
def configs(draw):
    options = {
        "alpha": draw(st.sampled_from([0.0, 0.1, 0.5, 1.0, 0.1234567, 0.1234568])),
        "learning_rate": draw(st.sampled_from([3e-4, 3.0000001e-4, 1e-3])),
        "hidden_sizes": draw(st.sampled_from([(64, 64), (64,), (6, 464), (646, 4)])),
        "steps": draw(st.sampled_from([8_000_000, 8_000_001, 8_000_002, 1_234_567, 1_234_568])),
    }
    return make_config(TASK, draw(st.sampled_from(sorted(METHODS))), **options)


@settings(max_examples=300, deadline=None)
@given(configs(), configs())
def test_different_experiments_never_share_a_directory(one, other):
    assert (one.variant == other.variant) == (one == other)


@pytest.mark.parametrize("name", ["alpha", "learning_rate", "entropy_coef", "value_coef"])
@settings(max_examples=50, deadline=None)
@given(positive)
def test_numbers_that_differ_in_the_last_bit_have_different_variants(name, number):
    following = math.nextafter(number, math.inf)
    options: list[dict[str, Any]] = [{name: number}, {name: following}]
    variants = [make_config(TASK, **chosen).variant for chosen in options]
    assert variants[0] != variants[1]


@settings(max_examples=100, deadline=None)
@given(st.integers(2048, 10**9), st.integers(2048, 10**9))
def test_different_lengths_have_different_variants(one, other):
    assert make_config(TASK, steps=one).variant != make_config(TASK, steps=one + 1).variant
    if one != other:
        assert make_config(TASK, steps=one).variant != make_config(TASK, steps=other).variant


def test_different_first_policies_have_different_variants():
    paths = ["runs/a-b/policy", "runs/a/b/policy", "runs/a_b/policy"]
    variants = {make_config(TASK, init_policy=path).variant for path in paths}
    assert len(variants) == 3


@pytest.mark.parametrize("init_policy", [None, "../runs/rpo/seed 0/policy.safetensors"])
def test_variants_are_names_of_one_directory(init_policy):
    config = make_config(TASK, alpha=1e-7, init_policy=init_policy, steps=2_048_000)
    assert "/" not in config.variant and " " not in config.variant


@pytest.mark.parametrize("method", sorted(METHODS))
def test_an_identity_survives_json(method):
    config = make_config(
        TASK, method, seed=5, hidden_sizes=(32,), target_kl=0.1, steps=4096, eval_every=2048
    )
    identity = json.loads(json.dumps(config.identity()))
    assert config_from_identity(identity) == config
    assert identity["settings"]["seed"] == 5


def test_something_else_than_an_identity_is_refused():
    with pytest.raises(ConfigError):
        config_from_identity({"task": TASK})
    unknown = make_config(TASK).identity()
    unknown["settings"] = unknown["settings"] | {"surprise": 1}
    with pytest.raises(ConfigError, match="surprise"):
        config_from_identity(unknown)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", (3,)),
        (3, (3,)),
        ("0,4,7", (0, 4, 7)),
        (" 0 , 4 ", (0, 4)),
        ("0:10", tuple(range(10))),
        ("7:9", (7, 8)),
        ([5, 2], (5, 2)),
        (range(3), (0, 1, 2)),
    ],
)
def test_seeds_are_read(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text",
    ["", "a", "1.5", "-1", "3:3", "5:2", "0:", ":3", "0:10:2", "1,", "1,1", "0:10001", [], [2, 2]],
)
def test_seeds_that_cannot_be_read_are_refused(text):
    with pytest.raises(ConfigError, match="seeds="):
        parse_seeds(text)


def test_a_run_needs_at_least_one_rollout():
    with pytest.raises(ConfigError, match=r"steps=100 .* num_envs\*num_steps=2048"):
        RunConfig(TASK, settings=Settings(), steps=100)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"distribution": "beta"}, "--noise none"),
        ({"distribution": "beta", "noise_in": "collection"}, "has no location"),
        ({"noise": "none", "noise_in": "both"}, "--noise uniform"),
        ({"noise": "none", "noise_on": "parameters"}, "--noise uniform"),
        ({"noise_on": "parameters", "noise_in": "both"}, "--noise-in update"),
        ({"estimator": "marginal", "distribution": "laplace"}, "--estimator sampled-k"),
        ({"estimator": "expected", "distribution": "gumbel"}, "--estimator sampled-k"),
        ({"estimator": "marginal", "noise": "laplace"}, "uniform or gaussian"),
        ({"estimator": "marginal", "noise": "none"}, "uniform or gaussian"),
        ({"estimator": "expected", "noise_on": "parameters"}, "on the location"),
        ({"estimator": "expected", "noise_in": "collection"}, "in the update"),
        ({"alpha_schedule": "std", "noise_on": "parameters"}, "another schedule"),
        ({"log_std_min": -1.0, "distribution": "beta", "noise": "none"}, "leave it out"),
        ({"scale_low": 1.3}, "scale_high=1.2"),
        ({"num_draws": 0}, "num_draws=0"),
        ({"alpha": 1e7}, "alpha=1"),
        ({"log_std_min": math.nan}, "log_std_min=nan"),
    ],
    ids=str,
)
def test_what_makes_no_sense_together_is_refused_with_what_to_do(options, words):
    with pytest.raises(ConfigError, match=words):
        make_config(TASK, **options)


def test_methods_are_named_once_described_and_differ():
    configs = [make_config(TASK, name) for name in METHODS]
    assert len({(config.settings, config.shape) for config in configs}) == len(METHODS)
    for name, method in METHODS.items():
        assert method.name == name and method.summary and method.source
        assert make_config(TASK, name).variant == name
    assert {"rpo", "ppo", "ppo-entropy", "rpo-annealed", "rad-ppo", "drac-ppo"} <= set(METHODS)


def test_where_the_noise_acts():
    acting: dict[Any, tuple[str, str, str]] = {
        ("location", "update"): ("uniform", "none", "none"),
        ("location", "collection"): ("none", "uniform", "none"),
        ("location", "both"): ("uniform", "uniform", "none"),
        ("parameters", "update"): ("none", "none", "uniform"),
    }
    for (on, inside), expected in acting.items():
        shape = Shape(noise_on=on, noise_in=inside)
        found = (shape.update_noise, shape.collection_noise, shape.parameter_noise)
        assert found == expected
    assert Shape(num_draws=7).draws == 1
    assert Shape(num_draws=7, estimator="sampled-k").draws == 7


def test_runs_longer_than_their_counters_are_refused():
    longest = 10**12 - 1
    assert make_config("Pendulum-v1", steps=longest).total_steps == longest // 2048 * 2048
    with pytest.raises(ConfigError, match=r"steps=1000000000000 .*at most 999999999999"):
        make_config("Pendulum-v1", steps=longest + 1)
    with pytest.raises(ConfigError, match=r"makes 2500000000 iterations .*at most 2147483647"):
        make_config("Pendulum-v1", steps=10**10, num_steps=4, num_minibatches=1)
