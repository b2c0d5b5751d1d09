"""Which runs a command asks for, and how they are packed into populations."""

import numpy as np
import pytest

from robustpo.config.methods import METHODS
from robustpo.config.run import make_config
from robustpo.errors import ConfigError
from robustpo.execution.packing import pack
from robustpo.studies.grid import make_grid, parse_seeds, sweep_methods
from robustpo.studies.request import left_alone, left_by_sweeps, request_notes, require_request
from robustpo.studies.study import Part, Study

TASK = "Pendulum-v1"


def labels(configs):
    return [(config.variant, config.settings.seed) for config in configs]


def test_every_method_has_every_seed():
    configs = make_grid(TASK, ["ppo", "rpo"], [4, 0])
    assert labels(configs) == [("ppo", 4), ("ppo", 0), ("rpo", 4), ("rpo", 0)]
    assert [config.settings.alpha for config in configs] == [0.0, 0.0, 0.5, 0.5]


def swept(methods, sweeps, seeds=(0,), **options):
    return make_grid(TASK, sweep_methods(methods, sweeps), seeds, **options)


def test_a_sweep_of_alpha_leaves_ppo_alone():
    configs = swept(["ppo", "ppo-entropy", "rpo"], {"alpha": (0.1, 0.5, 1)})
    assert labels(configs) == [
        ("ppo", 0),
        ("ppo-entropy", 0),
        ("rpo_alpha-0.1", 0),
        ("rpo", 0),  # 0.5 is what it has anyway
        ("rpo_alpha-1.0", 0),
    ]


def test_sweeps_are_crossed():
    sweeps = {"alpha": (0.1, 1.0), "learning_rate": (1e-4, 1e-3), "entropy_coef": ()}
    configs = swept(["ppo", "rpo"], sweeps)
    found = [(c.method, c.settings.alpha, c.settings.learning_rate) for c in configs]
    assert found == [
        ("ppo", 0.0, 1e-4),
        ("ppo", 0.0, 1e-3),
        ("rpo", 0.1, 1e-4),
        ("rpo", 0.1, 1e-3),
        ("rpo", 1.0, 1e-4),
        ("rpo", 1.0, 1e-3),
    ]
    assert len(set(labels(configs))) == 6


def test_a_sweep_leaves_out_what_would_make_another_method():
    sweeps = {"entropy_coef": (0.0, 0.5)}
    configs = swept(["ppo", "ppo-entropy"], sweeps)
    assert labels(configs) == [
        ("ppo", 0),
        ("ppo_entropy-coef-0.5", 0),
        ("ppo-entropy_entropy-coef-0.5", 0),
    ]
    assert left_by_sweeps(["ppo", "ppo-entropy"], sweeps) == [
        "entropy_coef=0.0 applies to ppo alone: ppo-entropy has entropy_coef other than 0 by "
        "definition"
    ]


@pytest.mark.parametrize(
    ("methods", "sweeps", "words"),
    [
        (["ppo"], {"alpha": (0.1,)}, "alpha=0.1 contradicts method 'ppo'.* the method rpo"),
        (["rpo:alpha=1"], {"alpha": (0.1,)}, "rpo:alpha=1 sets its own"),
        (["ppo-entropy"], {"entropy_coef": (0.1, 0.0)}, "entropy_coef=0.0 contradicts"),
        (["rpo"], {"alpha": (0.1, 0.1)}, r"alphas=\(0.1, 0.1\)"),
    ],
)
def test_a_sweep_that_sweeps_nothing_is_refused(methods, sweeps, words):
    with pytest.raises(ConfigError, match=words):
        sweep_methods(methods, sweeps)


def study_of(methods, **options):
    return Study("mine", "", (Part((TASK,), tuple(methods), (0, 1), 8_000_000, options),))


def test_an_option_that_is_shared_goes_to_the_methods_that_have_it():
    # One letter from --alphas: the comparison is of PPO with RPO, not of RPO with itself.
    study = study_of(["ppo", "ppo-beta", "rpo", "rpo:alpha=0.3"], alpha=0.1)
    require_request(study)
    assert labels(study.configs())[::2] == [
        ("ppo", 0),
        ("ppo-beta", 0),
        ("rpo_alpha-0.1", 0),
        ("rpo_alpha-0.3", 0),
    ]
    assert left_alone(study.parts[0]) == [
        "alpha=0.1 applies to rpo alone: ppo has alpha 0 by definition, ppo-beta has alpha 0 by "
        "definition and rpo:alpha=0.3 sets its own"
    ]
    assert request_notes(study) == left_alone(study.parts[0])


@pytest.mark.parametrize(
    ("methods", "options", "words"),
    [
        (["ppo"], {"alpha": 0.3}, "alpha=0.3 contradicts method 'ppo'.* the method rpo$"),
        (["ppo-beta"], {"alpha": 0.3}, "no location to shift"),
        (["ppo", "ppo-laplace"], {"noise_location": 1.0}, "noise_location=1.0"),
        (["rpo:alpha=0.3"], {"alpha": 0.1}, "rpo:alpha=0.3 sets its own"),
        (["rpo-laplace"], {"distribution": "gumbel"}, "the method rpo-gumbel"),
        (["rpo", "ppo:alpha=0.3"], {}, "alpha=0.3 contradicts method 'ppo'"),
        (["rpo", "rpo"], {}, "rpo twice, as 'rpo' and as 'rpo'"),
        (["rpo", "ppo", "rpo:alpha=0.5"], {}, "rpo twice, as 'rpo' and as 'rpo:alpha=0.5'"),
        (["rpo", "rpo:alpha=0.2"], {"alpha": 0.2}, "rpo_alpha-0.2 twice"),
        (["rpo", "rpo:alpha=0.2,alpha=0.3"], {}, "alpha once"),
    ],
    ids=str,
)
def test_requests_that_contradict_a_method_or_themselves_are_refused(methods, options, words):
    with pytest.raises(ConfigError, match=words):
        require_request(study_of(methods, **options))


@pytest.mark.parametrize(
    ("methods", "options", "notes"),
    [
        (["ppo", "rpo"], {"gamma": 0.9, "eval_episodes": 3}, []),
        (
            ["rpo", "rpo-sampled-k"],
            {"num_draws": 8},
            ["rpo_num-draws-8: num_draws=8 has no effect, since the estimator is not sampled-k"],
        ),
        (
            ["ppo", "rpo"],
            {"noise": "laplace"},
            [
                "ppo_noise-laplace: noise=laplace has no effect, since alpha is 0 and nothing is "
                "perturbed"
            ],
        ),
        (
            ["ppo", "drac-ppo"],
            {"drac_coef": 0.2, "scale_low": 0.5},
            [
                "ppo_drac-coef-0.2_scale-low-0.5: drac_coef=0.2 has no effect, since the "
                "augmentation is not drac",
                "ppo_drac-coef-0.2_scale-low-0.5: scale_low=0.5 has no effect, since the "
                "augmentation is none",
            ],
        ),
        (
            ["rpo"],
            {"kl_target": 0.02, "entropy_schedule": "linear"},
            [
                "rpo_entropy-schedule-linear_kl-target-0.02: entropy_schedule=linear has no "
                "effect, since entropy_coef is 0",
                "rpo_entropy-schedule-linear_kl-target-0.02: kl_target=0.02 has no effect, since "
                "adaptive_learning_rate is off",
            ],
        ),
        (
            ["ppo-noisy-collection"],
            {"estimator": "sampled-k"},
            [
                "ppo-noisy-collection_estimator-sampled-k: estimator=sampled-k has no effect, "
                "since the location is not perturbed in the update"
            ],
        ),
        (
            ["rpo:noise=none,alpha=0.1"],
            {},
            [
                "rpo_alpha-0.1_noise-none: alpha=0.1 has no effect, since the noise is none",
                "rpo_alpha-0.1_noise-none: nothing is perturbed, which makes it PPO",
            ],
        ),
        (
            ["ppo", "rpo"],
            {"alpha": 0.0},
            [
                "rpo_alpha-0.0: nothing is perturbed, which makes it PPO",
                "ppo and rpo_alpha-0.0 have the same numbers: they are one experiment",
            ],
        ),
        (
            ["ppo:entropy_coef=0.01", "ppo-entropy"],
            {},
            [
                "ppo_entropy-coef-0.01 and ppo-entropy have the same numbers: they are one "
                "experiment"
            ],
        ),
    ],
    ids=str,
)
def test_options_without_effect_are_noted(methods, options, notes):
    require_request(study_of(methods, **options))
    assert request_notes(study_of(methods, **options)) == notes


def test_no_method_has_options_without_effect():
    assert request_notes(study_of(METHODS)) == []


def test_shared_options_reach_every_run():
    configs = make_grid(TASK, ["ppo", "rpo"], [0], gamma=0.9, num_envs=2, steps=10_000)
    assert {(c.settings.gamma, c.shape.num_envs, c.steps) for c in configs} == {(0.9, 2, 10_000)}


@pytest.mark.parametrize(
    ("methods", "options", "words"),
    [
        (["rp"], {}, "did you mean rpo"),
        (["ppo"], {"alhpa": 1.0}, "did you mean alpha"),
        (["ppo"], {"learning_rate": -1.0}, "learning_rate=-1.0"),
    ],
)
def test_names_and_values_are_checked(methods, options, words):
    with pytest.raises(ConfigError, match=words):
        make_grid(TASK, methods, [0], **options)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", (3,)),
        (" 0, 4,7 ", (0, 4, 7)),
        ("2:5", (2, 3, 4)),
        (3, (3,)),
        (range(2), (0, 1)),
        ([9, 1], (9, 1)),
        (np.int64(3), (3,)),
        (np.arange(2), (0, 1)),
        ((np.uint8(k) for k in (4, 2)), (4, 2)),
    ],
)
def test_seeds(text, seeds):
    found = parse_seeds(text)
    assert found == seeds and all(type(seed) is int for seed in found)


@pytest.mark.parametrize(
    "text",
    [2.0, None, [[]], [np.zeros(2)], "", "a", "1.5", "-1", "3:3", "5:2", "1,1", "1,", "0:10:2", []],
)
def test_what_is_not_seeds(text):
    with pytest.raises(ConfigError, match="0:10"):
        parse_seeds(text)


@pytest.mark.parametrize("text", [-1, [0, -1], [1.5], ["a"], [True], "99999999999"])
def test_seeds_that_no_generator_takes_are_refused_before_training(text):
    with pytest.raises(ConfigError, match="seed"):
        make_grid(TASK, ["rpo"], parse_seeds(text))


@pytest.mark.parametrize(
    ("runs", "workers", "sizes"),
    [
        (1, 2, [1]),
        (2, 2, [1, 1]),
        (5, 1, [5]),
        (6, 1, [3, 3]),
        (6, 2, [3, 3]),
        (10, 2, [5, 5]),
        (11, 2, [3, 3, 3, 2]),  # two rounds for two workers
        (12, 4, [3, 3, 3, 3]),
        (20, 2, [5, 5, 5, 5]),
        (3, 8, [1, 1, 1]),
    ],
)
def test_shards_are_balanced_and_never_above_five(runs, workers, sizes):
    configs = make_grid(TASK, ["rpo"], range(runs))
    shards = pack(configs, workers)
    assert sorted(map(len, shards), reverse=True) == sizes
    assert sorted(c.settings.seed for shard in shards for c in shard) == list(range(runs))


def test_many_shards_are_as_large_as_they_may_be():
    # Six tasks of six runs want 12 shards at least. That is 4 for each of three workers, so every
    # task has 2 of 3; for four workers it is too few, and every task is spread over all of them.
    tasks = [f"dm_control/{name}-run-v0" for name in ("walker", "cheetah", "dog", "humanoid")]
    tasks += ["Pendulum-v1", "HalfCheetah-v4"]
    configs = [config for task in tasks for config in make_grid(task, ["rpo"], range(6))]
    assert [len(shard) for shard in pack(configs, 3)] == [3, 3] * 6
    assert [len(shard) for shard in pack(configs, 4)] == [2, 2, 1, 1] * 6


def test_only_equal_shapes_and_tasks_share_a_population():
    small = make_grid(TASK, ["ppo", "rpo"], [0, 1], num_steps=512)
    others = [make_config(TASK, "rpo"), make_config("HalfCheetah-v4", "rpo")]
    shards = pack(small + others, 1)
    assert sorted(map(len, shards)) == [1, 1, 4]
    assert all(len({(c.task, c.shape) for c in shard}) == 1 for shard in shards)


def test_nothing_to_train_needs_no_shard():
    assert pack([], 2) == []


def test_a_method_may_have_options_of_its_own():
    text = "rpo:noise=laplace,alpha=0.1,hidden-sizes=32x16,clip_value_loss=off,target_kl=none"
    own, shared = swept([text, "rpo"], {"gamma": (0.9,)}, [3], alpha=2.0)
    assert (own.method, own.settings.seed, own.settings.gamma) == ("rpo", 3, 0.9)
    assert (own.shape.noise, own.settings.alpha, own.settings.target_kl) == ("laplace", 0.1, None)
    assert (own.shape.hidden_sizes, own.shape.clip_value_loss) == ((32, 16), False)
    assert own.variant.startswith("rpo_alpha-0.1_gamma-0.9_hidden-sizes-32x16_noise-laplace")
    assert (shared.shape.noise, shared.settings.alpha) == ("uniform", 2.0)


def test_a_sweep_does_not_touch_what_a_method_sets_for_itself():
    configs = swept(["rpo:alpha=0.3", "rpo"], {"alpha": (0.1, 1.0)})
    assert [config.settings.alpha for config in configs] == [0.3, 0.1, 1.0]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("rpo:", "rpo:noise=laplace"),
        ("rpo:noise", "rpo:noise=laplace"),
        ("rpo:nois=laplace", "did you mean noise"),
        ("rpo:seed=3", "'seed' is unknown"),
        ("rpo:alpha=x", "alpha='x'"),
        ("rpo:num_envs=1.5", "num_envs='1.5'"),
        ("rpo:clip_value_loss=true", "clip_value_loss='true'"),
        ("rpo:noise=laplac", "did you mean laplace"),
        ("rpp:alpha=1", "did you mean"),
    ],
)
def test_options_that_cannot_be_read_are_named(method, words):
    with pytest.raises(ConfigError, match=words):
        make_grid(TASK, [method], [0])
