"""Tasks of suites that EnvPool does not have: made, reset and stepped, against their entries."""

import importlib

import jax
import numpy as np
import pytest

from robustpo.environments import catalog
from robustpo.environments.availability import is_installed
from robustpo.environments.catalog import CATALOG
from robustpo.environments.make import make_host_environment, resolve

OTHERS = [task for task, entry in CATALOG.items() if entry.simulator != "envpool"]
PLAYGROUND = [task for task in OTHERS if task.startswith("playground/")]
QUICK = [task for task in OTHERS if task not in PLAYGROUND]


def step_hundred_times(task):
    entry = CATALOG[task]
    if entry.extra and not is_installed(entry.extra):
        pytest.skip(f"pip install 'robustpo[{entry.extra}]'")
    environment = make_host_environment(task, [1, 2])
    assert environment.spec == catalog.spec(entry) == resolve(task)
    obs = environment.reset()
    rng = np.random.default_rng(0)
    size = (2, len(entry.action_low))
    for _ in range(100):
        action = rng.uniform(entry.action_low, entry.action_high, size).astype(np.float32)
        step = environment.step(action)
        assert np.isfinite(step.obs).all() and np.isfinite(step.reward).all()
        assert obs.shape == step.obs.shape == (2, entry.observation_size)
        assert obs.dtype == step.obs.dtype == step.reward.dtype == np.float32
    environment.close()


@pytest.mark.parametrize("task", QUICK)
def test_entry_makes_resets_and_steps(task):
    step_hundred_times(task)


@pytest.mark.slow
def test_playground_makes_resets_and_steps():
    # One for all: the others differ in their models, and compile for up to a minute each.
    step_hundred_times("playground/PendulumSwingup")


@pytest.mark.slow
@pytest.mark.parametrize("task", PLAYGROUND)
def test_entry_agrees_with_playground(task):
    pytest.importorskip("mujoco_playground", reason="pip install 'robustpo[mjx]'")
    registry = importlib.import_module("mujoco_playground").registry
    entry = CATALOG[task]
    name = task.removeprefix("playground/")
    theirs = registry.load(name, config_overrides={"impl": "jax"})
    assert theirs.observation_size == entry.observation_size
    assert theirs.action_size == len(entry.action_low)
    np.testing.assert_array_equal(theirs.mj_model.actuator_ctrlrange[:, 0], entry.action_low)
    np.testing.assert_array_equal(theirs.mj_model.actuator_ctrlrange[:, 1], entry.action_high)
    assert registry.get_default_config(name).episode_length == entry.episode_limit
    # Nothing but the limit ends an episode: `done` is set by what is not finite alone.
    state = jax.eval_shape(theirs.reset, jax.ShapeDtypeStruct((2,), np.uint32))
    assert state.done.shape == () and not entry.ends_early
