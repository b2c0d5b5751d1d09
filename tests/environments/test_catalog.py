"""The catalog against the simulators, against dm_control, and against what was published."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robustpo.config.published import CLEANRL, TABLE_3, published_tables
from robustpo.environments import catalog
from robustpo.environments.catalog import CATALOG
from robustpo.environments.envpool import HostEnvPool

ENVPOOL = [task for task, entry in CATALOG.items() if entry.simulator == "envpool"]
DM_CONTROL = json.loads(Path(__file__).with_name("dm_control_tasks.json").read_text())["tasks"]


@pytest.mark.parametrize("task", ENVPOOL)
def test_entry_agrees_with_its_simulator(task):
    import envpool

    entry = CATALOG[task]
    pool = envpool.make_spec(entry.source)
    prefix = "obs" if entry.observation[0][0] == "obs" else "obs:"
    for key, size in entry.observation:
        name = prefix if prefix == "obs" else f"{prefix}{key}"
        assert math.prod(pool.state_array_spec[name].shape) == size, key
    action = pool.action_array_spec["action"]
    shape = tuple(side for side in action.shape if side != -1)
    for ours, theirs in ((entry.action_low, action.minimum), (entry.action_high, action.maximum)):
        np.testing.assert_array_equal(ours, np.broadcast_to(theirs, shape))
    assert pool.config.max_episode_steps == entry.episode_limit


@pytest.mark.parametrize("task", ENVPOOL)
def test_entry_makes_resets_and_steps(task):
    entry = CATALOG[task]
    env = HostEnvPool(entry, [1])
    generator = np.random.default_rng(0)
    obs = env.reset()
    actions = generator.uniform(entry.action_low, entry.action_high, (20, 1, len(entry.action_low)))
    steps = [env.step(action.astype(np.float32)) for action in actions]
    assert all(np.isfinite(step.obs).all() and np.isfinite(step.reward).all() for step in steps)
    step = steps[-1]
    assert obs.shape == step.obs.shape == (1, catalog.spec(entry).observation_size)
    assert obs.dtype == step.obs.dtype == step.reward.dtype == np.float32
    assert step.terminated.dtype == step.truncated.dtype == step.valid.dtype == bool
    env.close()
    del env  # a dog takes 86 MiB


@pytest.mark.parametrize("task", DM_CONTROL)
def test_deepmind_control_parts_are_those_of_dm_control_in_its_order(task):
    parts, action_size = DM_CONTROL[task]
    assert list(CATALOG[task].observation) == list(parts.items())
    assert catalog.spec(CATALOG[task]).action_size == action_size


@pytest.mark.parametrize(
    ("task", "size"),
    [
        ("dog-stand", 223),
        ("finger-spin", 9),
        ("fish-upright", 21),
        ("humanoid-walk", 67),
        ("humanoid-run_pure_state", 55),
        ("quadruped-walk", 78),
        ("quadruped-escape", 101),
        ("quadruped-fetch", 90),
        ("walker-walk", 24),
    ],
)
def test_observation_sizes_known_by_heart(task, size):
    assert CATALOG[f"dm_control/{task}-v0"].observation_size == size


def test_suites_are_complete():
    names = [entry.suite for entry in CATALOG.values()]
    dm_control = {task for task in CATALOG if task.startswith("dm_control/")}
    assert dm_control == set(DM_CONTROL)
    assert (names.count("MuJoCo v4"), names.count("MuJoCo v5")) == (11, 11)
    # CleanRL's tables: 48 tasks of DeepMind Control, 11 of MuJoCo v4, Pendulum and BipedalWalker.
    assert sum(CLEANRL in published_tables(entry) for entry in CATALOG.values()) == 48 + 11 + 2
    assert sum(TABLE_3 in published_tables(entry) for entry in CATALOG.values()) == 11
    assert published_tables(CATALOG["dm_control/humanoid_CMU-walk-v0"]) == ()


def test_quadruped_bounds_are_per_dimension():
    spec = catalog.spec(CATALOG["dm_control/quadruped-walk-v0"])
    # Yaw ±1, lift -1 to 1.1, extend ±0.8 in quadruped.xml, for each of four legs.
    assert spec.action_low[:3] == (-1.0, -1.0, -0.8)
    assert spec.action_high[:3] == (1.0, 1.1, 0.8)
    assert spec.action_size == 12 and spec.bounded


@pytest.mark.parametrize(
    "task",
    [
        "dm_control/walker-walk-v0",
        "Hopper-v4",
        "Pendulum-v1",
        "MountainCarContinuous-v0",
        "BipedalWalker-v3",
        "BipedalWalkerHardcore-v3",
        "LunarLanderContinuous-v2",
        "LunarLanderContinuous-v3",
    ],
)
def test_random_step_says_whether_earlier_steps_move_the_random_stream(task):
    entry = CATALOG[task]
    busy, idle = HostEnvPool(entry, [7]), HostEnvPool(entry, [7])
    action = np.zeros((1, len(entry.action_low)), np.float32)
    busy.reset()
    idle.reset()
    for _ in range(3):
        busy.step(action)
    equal = np.array_equal(busy.reset(), idle.reset())
    for _ in range(3):
        equal &= np.array_equal(busy.step(action).obs, idle.step(action).obs)
    assert equal == (not entry.random_step)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("walker-walk", ["dm_control/walker-walk-v0", "playground/WalkerWalk"]),
        ("dm_control/waker-walk-v0", ["dm_control/walker-walk-v0", "playground/WalkerWalk"]),
        ("halfcheetah-v4", ["HalfCheetah-v5", "HalfCheetah-v4"]),
        ("BipedalWalker-v2", ["BipedalWalker-v3"]),
        ("no such thing at all", []),
    ],
)
def test_nearest_names(typed, meant):
    assert catalog.nearest(typed) == meant


def test_catalogued_tasks_resolve_without_importing_a_simulator():
    program = (
        "import sys; from robustpo.environments import make\n"
        "for spec in make.list_tasks(): assert make.resolve(spec.id) == spec\n"
        "print(sorted({'jax', 'envpool', 'gymnasium'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr
