"""dm_control itself behind Gymnasium's interface."""

import numpy as np
import pytest

from robustpo.environments.catalog import CATALOG
from robustpo.environments.make import make_host_environment, resolve

pytest.importorskip("dm_control", reason="pip install 'robustpo[dm-control]'")
from dm_control import suite

TASKS = ["cartpole-three_poles", "fish-swim", "humanoid-run_pure_state", "quadruped-walk"]


@pytest.mark.parametrize("name", TASKS)
def test_steps_are_those_of_a_task_loaded_with_the_same_seed(name):
    entry = CATALOG[f"dm_control/{name}-v0"]
    ours = make_host_environment(f"gymnasium/{entry.id}", [7])
    assert ours.spec.observation_size == entry.observation_size
    assert (ours.spec.action_low, ours.spec.action_high) == (entry.action_low, entry.action_high)
    assert ours.spec.episode_limit == 1000
    domain, _, task = name.partition("-")
    theirs = suite.load(domain, task, task_kwargs={"random": 7})
    found, expected = ours.reset(), theirs.reset()
    for action in np.random.default_rng(0).uniform(-0.5, 0.5, (5, len(entry.action_low))):
        flat = np.concatenate([np.ravel(part) for part in expected.observation.values()])
        np.testing.assert_allclose(found[0], flat, rtol=1e-5, atol=1e-6)
        step = ours.step(action[None].astype(np.float32))
        found, expected = step.obs, theirs.step(action.astype(np.float32))
        assert step.reward[0] == pytest.approx(expected.reward, abs=1e-6)


def test_the_time_limit_truncates():
    environment = make_host_environment("gymnasium/dm_control/point_mass-easy-v0", [1])
    environment.reset()
    action = np.zeros((1, 2), np.float32)
    steps = [environment.step(action) for _ in range(1001)]
    ends = [t for t, step in enumerate(steps) if step.truncated[0]]
    assert ends == [999] and not any(step.terminated[0] for step in steps)
    assert not steps[1000].valid[0]


def test_it_is_a_task_like_any_other():
    spec = resolve("gymnasium/dm_control/quadruped-escape-v0")
    assert (spec.simulator, spec.observation_size) == ("gymnasium", 101)
