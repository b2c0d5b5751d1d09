"""Learning on real simulators: short runs beat the random policy by a stated margin."""

import numpy as np
import pytest

import robustpo
from robustpo.environments.make import make_host_environment

SEEDS = "0:2"


def random_return(task, episodes=10):
    """Mean return of uniform random actions over whole episodes."""
    environment = make_host_environment(task, range(100, 100 + episodes))
    rng = np.random.default_rng(0)
    spec = environment.spec
    environment.reset()
    totals = np.zeros(episodes)
    for _ in range(spec.episode_limit):
        action = rng.uniform(spec.action_low, spec.action_high, (episodes, spec.action_size))
        step = environment.step(action.astype(np.float32))
        totals += step.reward
    assert step.truncated.all()
    environment.close()
    return totals.mean()


@pytest.fixture(scope="module", params=["CARTPOLE", "CHEETAH"])
def study(request, tmp_path_factory):
    task, steps, margin = {
        "CARTPOLE": ("dm_control/cartpole-balance-v0", 100_000, 150),
        "CHEETAH": ("dm_control/cheetah-run-v0", 150_000, 30),
    }[request.param]
    out = tmp_path_factory.mktemp(request.param.lower())
    robustpo.compare(
        task, methods=["ppo", "rpo"], seeds=SEEDS, steps=steps, out=out, progress=False
    )
    return task, robustpo.load_summary(out), random_return(task), margin


def test_training_beats_random_actions(study):
    _, summary, at_random, margin = study
    assert summary["status"].to_list() == ["completed"] * 4
    by_method = summary.group_by("method").mean()
    for method, final in by_method.select("method", "final_return").rows():
        print(f"{method}: {final:.0f}, random {at_random:.0f}, margin {margin}")
        assert final > at_random + margin


def test_policies_act_as_well_as_they_trained(study):
    task, summary, at_random, margin = study
    for path in summary["path"].to_list():
        result = robustpo.evaluate(path, episodes=10)
        print(f"{path}: {result.mean:.0f}, random {at_random:.0f}")
        assert result.mean > at_random + margin
