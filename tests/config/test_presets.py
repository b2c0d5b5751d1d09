"""Presets: what they set, what they leave to the method, and what runs under them are called."""

from dataclasses import replace

import pytest

from robustpo.config.run import make_config
from robustpo.environments import catalog
from robustpo.errors import ConfigError

CARTPOLE, BALANCE = "isaac/Cartpole-v0", "isaac/BallBalance-v0"


def test_isaac_is_what_rl_games_was_published_with():
    config = make_config(CARTPOLE)
    settings, shape = config.settings, config.shape
    # CartpolePPO.yaml and Cartpole.yaml of IsaacGymEnvs.
    assert (shape.hidden_sizes, shape.activation, shape.shared_network) == ((32, 32), "elu", True)
    assert (shape.num_envs, shape.num_steps, shape.minibatch_size) == (512, 16, 8192)
    assert (shape.update_epochs, shape.adaptive_learning_rate) == (8, True)
    assert (settings.learning_rate, settings.kl_target) == (3e-4, 0.008)
    assert (settings.gamma, settings.gae_lambda, settings.clip_coef) == (0.99, 0.95, 0.2)
    assert (settings.max_grad_norm, settings.value_coef, settings.reward_scale) == (1.0, 4.0, 0.1)


def test_a_task_brings_its_own_numbers_in_its_own_preset_only():
    shape = make_config(BALANCE).shape
    assert (shape.hidden_sizes, shape.num_envs) == ((128, 64, 32), 4096)
    assert shape.minibatch_size == 8192
    assert make_config(BALANCE, preset="paper").shape.num_envs == 1
    assert make_config("Pendulum-v1", preset="isaac").shape.num_envs == 512


def test_methods_and_options_are_laid_over_it():
    config = make_config(CARTPOLE, "ppo", num_envs=64)
    assert config.settings.alpha == 0 and config.shape.num_envs == 64
    assert config.settings.reward_scale == 0.1


@pytest.mark.parametrize(
    ("task", "options", "variant"),
    [
        (CARTPOLE, {}, "rpo"),
        (CARTPOLE, {"preset": "paper"}, "rpo_paper"),
        (CARTPOLE, {"num_envs": 64}, "rpo_num-envs-64"),
        ("Pendulum-v1", {"preset": "isaac"}, "rpo_isaac"),
        ("Pendulum-v1", {"preset": "paper"}, "rpo"),
        ("gymnasium/Pendulum-v1", {}, "rpo"),
        ("my_robot:make", {}, "rpo_own"),
        ("my_robot:make", {"preset": "paper"}, "rpo"),
        ("my_robot:make", {"preset": "paper", "action_scale": "bounds"}, "rpo_action-scale-bounds"),
        ("my_robot:make", {"time_limit": "terminal"}, "rpo_own_time-limit-terminal"),
        ("Pendulum-v1", {"preset": "own"}, "rpo_own"),
    ],
)
def test_names_of_runs(task, options, variant):
    assert make_config(task, **options).variant == variant


@pytest.mark.parametrize(
    ("task", "preset"),
    [
        ("Pendulum-v1", "paper"),
        # The benchmark's own implementation of what is catalogued.
        ("gymnasium/Pendulum-v1", "paper"),
        ("gymnasium/dm_control/walker-walk-v0", "paper"),
        ("brax/ant", "paper" if catalog.find("brax/ant") else "own"),
        (CARTPOLE, "isaac"),
        ("my_robot:make", "own"),
        ("package:Thing-v3", "own"),
        ("InvertedPendulum-v9", "own"),
        ("gymnasium/Swimmer-v3", "own"),
        ("playground/NoSuchTask", "own"),
        ("tests.thing:<lambda>", "own"),
    ],
)
def test_tasks_that_the_catalog_does_not_have_get_the_preset_own(task, preset):
    config = make_config(task)
    assert config.preset == preset
    scaled = preset == "own"
    assert (config.shape.action_scale == "bounds") == scaled
    assert (config.settings.time_limit == "terminal") == (preset == "paper")


def test_own_is_the_paper_but_for_units_and_time_limits():
    own, paper = (make_config("my:make", preset=name) for name in ("own", "paper"))
    assert replace(own.shape, action_scale="raw") == paper.shape
    assert (own.settings.time_limit, own.settings.reward_return_reset) == (
        "bootstrap",
        "time-limit",
    )
    published = replace(own.settings, time_limit="terminal", reward_return_reset="episode")
    assert published == paper.settings


def test_an_unknown_preset_is_refused():
    with pytest.raises(ConfigError, match=r"preset='isac'.*isaac"):
        make_config(CARTPOLE, preset="isac")
