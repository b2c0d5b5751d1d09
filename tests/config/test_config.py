"""Settings, shapes, methods, lengths and names of runs."""

import dataclasses
import json
import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustpo.base.naming import fit
from robustpo.base.validation import suggest
from robustpo.config.methods import METHODS
from robustpo.config.run import RunConfig, build_config, make_config
from robustpo.config.settings import MAX_SEED, SETTING_NAMES, Settings
from robustpo.config.shape import Shape
from robustpo.errors import ConfigError
from robustpo.runs.identity import config_from_identity
from robustpo.runs.record import run_directory
from robustpo.studies.grid import parse_method, parse_seeds

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


# What would make another method of each, and which to take for it.
CONTRADICTIONS = [
    ("ppo", {"alpha": 0.3}, "choose the method rpo"),
    ("ppo", {"noise_location": 0.3}, "choose the method rpo"),
    ("ppo-entropy", {"alpha": 0.3}, "choose the method rpo:entropy_coef=0.01"),
    ("ppo-entropy", {"entropy_coef": 0}, "choose the method ppo"),
    ("ppo-laplace", {"alpha": 0.3}, "choose the method rpo-laplace"),
    ("ppo-gumbel", {"alpha": 0.3}, "choose the method rpo-gumbel"),
    ("ppo-tanh", {"alpha": 0.3}, "choose the method rpo-tanh"),
    ("ppo-tanh", {"distribution": "gaussian"}, "choose the method ppo"),
    ("rad-ppo", {"alpha": 0.3}, "choose the method rpo:augmentation=rad"),
    ("rad-ppo", {"augmentation": "drac"}, "choose the method drac-ppo"),
    ("drac-ppo", {"augmentation": "none"}, "choose the method ppo"),
    ("drac-ppo", {"drac_coef": 0.0}, "choose the method ppo"),
    ("ppo-std-floor", {"alpha": 0.3}, "choose the method rpo:log_std_min=-1"),
    ("ppo-std-floor", {"log_std_min": None}, "choose the method ppo"),
    ("ppo-beta", {"alpha": 0.3}, "no location to shift"),
    ("ppo-beta", {"noise": "uniform"}, "no location to shift"),
    ("ppo-beta", {"distribution": "laplace"}, "choose the method ppo-laplace"),
    ("rpo-laplace", {"distribution": "gumbel"}, "choose the method rpo-gumbel"),
    ("rpo-laplace", {"distribution": "beta"}, "choose the method ppo-beta"),
    ("rpo-annealed", {"alpha_schedule": "constant"}, "choose the method rpo"),
    ("rpo-annealed", {"alpha_schedule": "std"}, "choose the method rpo"),
    ("rpo-sampled-k", {"estimator": "marginal"}, "choose the method rpo-marginal"),
    ("rpo-marginal", {"estimator": "expected"}, "choose the method rpo-expected"),
    ("rpo-expected", {"estimator": "sampled"}, "choose the method rpo"),
    ("rpo-parameters", {"noise_on": "location"}, "choose the method rpo"),
    ("ppo-noisy-collection", {"noise_in": "update"}, "choose the method rpo"),
    ("rpo-both", {"noise_in": "collection"}, "choose the method ppo-noisy-collection"),
]


@pytest.mark.parametrize(("method", "option", "words"), CONTRADICTIONS, ids=str)
def test_an_option_does_not_make_another_method(method, option, words):
    ((name, value),) = option.items()
    with pytest.raises(ConfigError) as caught:
        make_config(TASK, method, **option)
    assert f"{name}={value!r} contradicts method {method!r}" in str(caught.value)
    assert str(caught.value).endswith(words) or "so leave it out" in str(caught.value)
    # Whoever follows the advice and keeps the option gets what was asked for.
    if advised := re.search(r"choose the method (\S+)", str(caught.value)):
        chosen, own = parse_method(advised[1])
        config = make_config(TASK, chosen, **own | option)
        assert getattr(config.settings if name in SETTING_NAMES else config.shape, name) == value


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("ppo", {"alpha": 0, "noise_location": 0.0}),
        ("ppo", {"entropy_coef": 0.01}),
        ("ppo", {"distribution": "laplace"}),
        ("ppo", {"augmentation": "rad"}),
        ("ppo", {"noise": "none"}),
        ("ppo-entropy", {"entropy_coef": 0.5}),
        ("ppo-std-floor", {"log_std_min": 0.0}),
        ("rpo", {"alpha": 0.0}),
        ("rpo", {"noise_in": "collection"}),
        ("rpo-annealed", {"alpha_schedule": "cosine", "alpha": 1.0}),
        ("rpo-laplace", {"noise": "laplace"}),
        ("rpo-parameters", {"alpha": 0.03}),
    ],
)
def test_what_a_method_leaves_open_is_taken(method, options):
    config = make_config(TASK, method, **options)
    found = dataclasses.asdict(config.settings) | dataclasses.asdict(config.shape)
    assert {name: found[name] for name in options} == options


def test_what_earlier_versions_recorded_under_a_contradiction_is_read():
    identity = make_config(TASK, "ppo").identity()
    identity["settings"] = identity["settings"] | {"alpha": 0.5}
    config = config_from_identity(identity)
    assert (config.variant, config.settings.alpha) == ("ppo_alpha-0.5", 0.5)


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
    return build_config(TASK, draw(st.sampled_from(sorted(METHODS))), **options)


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


def test_numbers_of_numpy_are_those_that_people_write():
    written = make_config(
        TASK, seed=3, steps=4096, alpha=0.1, gamma=1, hidden_sizes=(8, 4), clip_value_loss=False
    )
    made = make_config(
        TASK,
        seed=np.int64(3),
        steps=np.uint16(4096),
        alpha=np.float64(0.1),
        gamma=np.int32(1),
        hidden_sizes=np.array([8, 4]),
        clip_value_loss=np.bool_(False),
    )
    assert made == written and made.variant == written.variant
    # Not only equal: JSON writes, and names show, the same signs.
    assert json.dumps(made.identity()) == json.dumps(written.identity())
    assert all(type(x) in (int, float, str, bool) for x in vars(made.settings).values() if x)
    assert Settings(alpha=np.float32(0.1)).alpha == 0.10000000149011612  # pyright: ignore
    assert Settings(alpha=Fraction(1, 4)).alpha == 0.25  # pyright: ignore
    assert Shape(num_envs=np.array(2)).num_envs == 2  # pyright: ignore


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", np.bool_(True)),
        ("alpha", np.float64("nan")),
        ("alpha", np.array([0.1, 0.2])),
        ("alpha", Fraction(10**400)),
        ("steps", np.float64(4096)),
        ("seed", np.int64(-1)),
        ("clip_value_loss", np.int64(1)),
        ("hidden_sizes", np.array([[8, 4]])),
        ("hidden_sizes", np.array([8.0, 4.0])),
    ],
    ids=str,
)
def test_numbers_of_numpy_are_refused_like_others(name, value):
    with pytest.raises(ConfigError, match=name):
        make_config(TASK, **{name: value})


# As many ordinary options as one command may have.
MANY = {
    "alpha": 0.123456,
    "learning_rate": 0.000123456,
    "gamma": 0.98765,
    "gae_lambda": 0.91234,
    "clip_coef": 0.212345,
    "value_coef": 0.412345,
    "max_grad_norm": 0.612345,
    "entropy_coef": 0.00123456,
    "hidden_sizes": (128, 128, 64),
    "activation": "swish",
    "noise_location": 0.012345,
    "time_limit": "bootstrap",
}


def test_names_longer_than_a_file_may_be_are_cut_and_stay_apart(tmp_path):
    one = make_config(TASK, **MANY)
    other = make_config(TASK, **MANY | {"time_limit": "terminal", "num_envs": 2})
    assert one.variant != other.variant and one.variant[:150] == other.variant[:150]
    run_directory(tmp_path, one).mkdir(parents=True)
    # Signs are counted as a file system counts them: each of these takes three bytes.
    task = f"{'模' * 200}:{'型' * 200}/{'x' * 300}"
    run_directory(tmp_path, dataclasses.replace(one, task=task)).mkdir(parents=True)
    names = [part for path in tmp_path.rglob("*") for part in path.relative_to(tmp_path).parts]
    assert max(len(name.encode()) for name in names) <= 255


def test_names_that_fit_are_whole():
    # Runs of earlier versions lie under them.
    assert fit("x" * 255) == "x" * 255
    assert len(fit("x" * 256)) < 200
    assert Path("a", fit("b" * 256)) != Path("a", fit("b" * 257))
    assert fit("é" * 128) != "é" * 128  # 256 bytes


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
