"""Training on BallBalance, whose simulators are saved and put back as they are."""

import pytest

from robustpo.config.run import make_config
from training.populations import assert_same_bits, train
from training.test_resume import run

pytest.importorskip("mujoco", reason="pip install 'robustpo[mujoco]'")
OPTIONS = {"num_envs": 16, "num_minibatches": 2, "steps": 6 * 16 * 16, "hidden_sizes": (8, 8)}


def configs(*seeds):
    return [make_config("isaac/BallBalance-v0", seed=seed, **OPTIONS) for seed in seeds]


@pytest.mark.slow
def test_an_agent_does_not_depend_on_the_population_it_is_in():
    assert_same_bits(train(configs(0, 1, 2))[1], train(configs(1))[0])


def test_a_run_that_was_stopped_ends_like_one_that_was_not(tmp_path):
    # Balls fall within 60 steps, so episodes end on either side of where it is stopped.
    run(tmp_path / "whole", configs(0, 1))
    run(tmp_path / "halves", configs(0, 1), iterations=3)
    run(tmp_path / "halves", configs(0, 1))
    for seed in range(2):
        whole, halves = (
            (tmp_path / name / f"seed-{seed}" / "policy.safetensors").read_bytes()
            for name in ("whole", "halves")
        )
        assert whole == halves
