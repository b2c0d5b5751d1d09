"""What is checked, and said, before runs are carried out."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustpo.algorithm.networks import init_params
from robustpo.algorithm.normalization import RunningMoments
from robustpo.config.run import make_config
from robustpo.environments.base import TaskSpec
from robustpo.environments.bounds import bounds_to_try, describe_bounds, far_bounds, off_centre
from robustpo.environments.make import resolve
from robustpo.errors import ConfigError
from robustpo.execution.preflight import check_policies, starting_notes
from robustpo.policy.policy import Policy, save_policy
from robustpo.studies.preset_choice import preset_notes, settle_study
from robustpo.studies.study import Part, Study
from robustpo.training.snapshot import make_policy
from robustpo.training.trainer import Trainer

CARTPOLE = "isaac/Cartpole-v0"


def write_policy(file, **options):
    """Write a fresh policy of a task as its runs would."""
    config = make_config(CARTPOLE, **options)
    spec, shape = resolve(CARTPOLE), config.shape
    params = init_params(
        spec.observation_size,
        spec.action_size,
        shape.hidden_sizes,
        rng=np.random.default_rng(0),
        shared=shape.shared_network,
    )
    moments = RunningMoments.create((spec.observation_size,))
    policy = make_policy(config, spec, params, moments)
    save_policy(file, policy)
    return policy


def check(file, **options):
    config = make_config(CARTPOLE, init_policy=str(file), **options)
    check_policies([config], {CARTPOLE: resolve(CARTPOLE)})
    return config


def test_a_policy_with_a_shared_network_is_gone_on_from(tmp_path):
    policy = write_policy(tmp_path / "p")
    config = check(tmp_path / "p")
    config = check(tmp_path / "p", num_envs=8, num_steps=16)
    trainer = Trainer([config])
    params = trainer.population.learners.params
    np.testing.assert_array_equal(params.critic[0].weight[0], policy.tensors["critic.0.weight"])
    np.testing.assert_array_equal(params.actor[1].weight[0], policy.tensors["actor.1.weight"])


@pytest.mark.parametrize(
    ("stored", "asked", "choose"),
    [
        (
            {},
            {"preset": "paper"},
            "--hidden-sizes 32 32 --activation elu --shared-network on",
        ),
        ({"preset": "paper"}, {"preset": "paper", "shared_network": True}, "--shared-network off"),
        ({}, {"hidden_sizes": (64,)}, "--hidden-sizes 32 32"),
        ({}, {"normalize_observations": False}, "--normalize-observations on"),
        ({"normalize_observations": False}, {}, "--normalize-observations off"),
        ({}, {"distribution": "laplace"}, "--distribution gaussian"),
    ],
)
def test_what_a_policy_has_and_an_agent_has_not_is_named_with_the_options(
    tmp_path, stored, asked, choose
):
    write_policy(tmp_path / "p", **stored)
    with pytest.raises(ConfigError) as refused:
        check(tmp_path / "p", **asked)
    assert str(refused.value).endswith(f"choose {choose}")


def test_a_policy_without_a_critic_is_not_trained_on(tmp_path):
    policy = write_policy(tmp_path / "p")
    actor = {k: v for k, v in policy.tensors.items() if not k.startswith("critic")}
    save_policy(tmp_path / "p", Policy(actor, policy.metadata))
    with pytest.raises(ConfigError, match="critic layers None"):
        check(tmp_path / "p")


def test_bounds_far_from_one_are_told_in_standard_deviations():
    assert far_bounds([-1, -0.01], [1, 0.01], 0.5) == (
        "bounds of ±0.01: a standard deviation of 1 is 100 times half the range and alpha 0.5 is "
        "50 times it"
    )
    assert far_bounds([0], [5000], 0.0) == (
        "bounds of 0..5000: a standard deviation of 1 is 0.0004 times half the range"
    )
    for low, high in ((-0.4, 0.4), (-3, 3), (0, 5), (-math.inf, math.inf), (2, 2)):
        assert far_bounds([low], [high], 0.5) is None
    assert "at an end" in str(off_centre([0], [5])) and "outside" in str(off_centre([1], [3]))
    assert off_centre([-1, 0], [2, math.inf]) is None
    assert describe_bounds([-1, -1, 0, -math.inf], [1, 1, 5, math.inf]) == "±1, 0..5, none"
    low, high = bounds_to_try([-1, 20, -math.inf, -math.inf], [5000, math.inf, -50, math.inf])
    assert low.tolist() == [-1, 20, -60, -10] and high.tolist() == [5000, 30, -50, 10]


def notes_of(spec, *configs):
    return starting_notes(configs, {"my:make": spec}, {}, workers=1)


def test_what_a_persons_own_task_gets_is_announced():
    spec = TaskSpec("my:make", "Custom", 2, (0.0, -0.01), (5.0, 0.01), 30, "gymnasium")
    default, raw = make_config("my:make"), make_config("my:make", preset="paper")
    assert notes_of(spec, default)[0] == (
        "task my:make gets the preset own: actions scaled to the bounds (0..5, ±0.01), time limits "
        "bootstrapped; --preset paper is the published protocol"
    )
    assert not any("bounds of" in note for note in notes_of(spec, default))
    # On a page, where the bounds are not known, once for all methods.
    assert preset_notes([default, make_config("my:make", "ppo"), raw]) == [
        "Task my:make gets the preset own: actions scaled to the bounds, time limits bootstrapped; "
        "--preset paper is the published protocol."
    ]
    (warning,) = [note for note in notes_of(spec, raw) if "bounds of" in note]
    assert "±0.01" in warning and "--action-scale bounds" in warning
    offset = replace(spec, action_low=(0.0,), action_high=(5.0,))
    (warning,) = [note for note in notes_of(offset, raw) if "bounds of" in note]
    assert "clipped" in warning
    free = replace(spec, action_low=(-math.inf,), action_high=(3.5e38,))
    assert "raw units for want of finite bounds" in notes_of(free, default)[0]


def test_a_study_keeps_the_preset_of_its_records(tmp_path):
    tasks = ("my:old", "my:new", "Pendulum-v1", "my:both")
    study = Study("s", "S", (Part(tasks, ("rpo",)), Part(("my:old",), ("ppo",), (0,), 4096)))

    def record(task, variant, identity):
        run = Path(tmp_path, task.replace(":", "_"), variant, "seed-3")
        run.mkdir(parents=True)
        (run / "config.json").write_text(json.dumps({"identity": identity}))

    assert settle_study(study, tmp_path) == (study, ())
    record("my:old", "rpo", {"task": "my:old"})
    record("my:old", "rpo_isaac", {"task": "my:old", "preset": "isaac"})
    record("my:both", "rpo", {"preset": "paper"})
    record("my:both", "rpo_own", {"preset": "own"})
    (tmp_path / "my_new" / "odd" / "seed-0").mkdir(parents=True)
    (tmp_path / "my_new" / "comparison").mkdir()
    record("my:new", "strange", {"preset": ["paper"]})
    settled, notes = settle_study(study, tmp_path)
    assert [(part.tasks, part.options) for part in settled.parts] == [
        (("my:new", "Pendulum-v1", "my:both"), {}),
        (("my:old",), {"preset": "paper"}),
        (("my:old",), {"preset": "paper"}),
    ]
    assert len(notes) == 1 and "my:old keeps the preset paper" in notes[0]
    assert settle_study(settled, tmp_path) == (settled, ())
