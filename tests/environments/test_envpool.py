"""The EnvPool adapters: one pool, two ways to step it, the same bits."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustpo.environments import catalog
from robustpo.environments.envpool import EnvPoolEnvironment, HostEnvPool
from robustpo.errors import ConfigError

WALKER = "dm_control/walker-walk-v0"


def _actions(task, num_steps, num_envs):
    spec = catalog.spec(catalog.CATALOG[task])
    shape = (num_steps, num_envs, spec.action_size)
    generator = np.random.default_rng(0)
    return generator.uniform(spec.action_low, spec.action_high, shape).astype(np.float32)


def _trace(task, seeds, actions, num_threads=1):
    """Step through `lax.scan`; return the first observation and the steps, as NumPy arrays."""
    env = EnvPoolEnvironment(task, seeds, num_threads)
    state, first = env.init()
    _, steps = jax.jit(lambda s, a: jax.lax.scan(env.step, s, a))(state, actions)
    return np.asarray(first), jax.tree.map(np.asarray, steps)


def _host(task, seeds, actions):
    env = HostEnvPool(task, seeds)
    first = env.reset()
    steps = [env.step(action) for action in actions]
    return first, type(steps[0])(*(np.stack(field) for field in zip(*steps, strict=True)))


@pytest.mark.parametrize(
    ("task", "num_steps"),
    [
        (WALKER, 40),
        ("dm_control/quadruped-fetch-v0", 10),
        ("Hopper-v4", 100),  # ends by falling
        ("Pendulum-v1", 205),  # float32, ends by its time limit
        ("LunarLanderContinuous-v3", 150),
    ],
)
def test_traced_and_host_steps_are_equal_to_the_bit(task, num_steps):
    actions = _actions(task, num_steps, 3)
    first, traced = _trace(task, [5, 6, 7], actions)
    host_first, host = _host(task, [5, 6, 7], actions)
    np.testing.assert_array_equal(first, host_first)
    for name, left, right in zip(traced._fields, traced, host, strict=True):
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)


def test_x64_stays_off_and_everything_leaves_in_float32():
    env = EnvPoolEnvironment(WALKER, [1])
    state, obs = env.init()
    state, step = env.step(state, jnp.zeros((1, 6)))
    assert obs.dtype == step.obs.dtype == step.reward.dtype == jnp.float32
    assert step.terminated.dtype == step.valid.dtype == jnp.bool_
    assert jnp.arange(3.0).dtype == jnp.float32 and not jax.config.read("jax_enable_x64")


def test_the_row_after_an_episode_is_a_phantom_that_repeats_the_reward():
    _, steps = _trace(WALKER, [1, 2], _actions(WALKER, 1002, 2))
    limit = 1000
    assert steps.truncated[limit - 1].all() and not steps.terminated.any()
    assert steps.truncated.sum() == 2
    np.testing.assert_array_equal(np.argwhere(~steps.valid)[:, 0], [limit, limit])
    np.testing.assert_array_equal(steps.reward[limit], steps.reward[limit - 1])
    # Walkers start the episode at rest, so the reset observation's 9 velocities vanish.
    assert (steps.obs[limit, :, 15:] == 0).all() and (steps.obs[limit - 1, :, 15:] != 0).any()


def test_a_terminal_state_is_terminated_not_truncated():
    _, steps = _trace("Hopper-v4", [1], _actions("Hopper-v4", 200, 1))
    ends = np.flatnonzero(steps.terminated[:, 0])
    assert len(ends) > 1 and not steps.truncated.any()
    ends = ends[ends < 199]
    np.testing.assert_array_equal(np.flatnonzero(~steps.valid[:, 0]), ends + 1)


def test_an_environment_depends_on_its_own_seed_only():
    actions = _actions(WALKER, 30, 3)
    first, among_three = _trace(WALKER, [9, 3, 4], actions, num_threads=2)
    alone_first, alone = _trace(WALKER, [3], actions[:, 1:2])
    np.testing.assert_array_equal(first[1:2], alone_first)
    np.testing.assert_array_equal(among_three.obs[:, 1:2], alone.obs)
    np.testing.assert_array_equal(among_three.reward[:, 1:2], alone.reward)
    assert (first[0] != first[1]).any() and (first[1] != first[2]).any()


def test_a_second_init_begins_the_next_episodes_of_the_same_streams():
    env, host = EnvPoolEnvironment(WALKER, [1]), HostEnvPool(WALKER, [1])
    firsts = [np.asarray(env.init()[1]) for _ in range(2)]
    np.testing.assert_array_equal(firsts, [host.reset(), host.reset()])
    assert (firsts[0] != firsts[1]).any()


def test_parts_are_selected_in_dm_controls_order():
    import envpool

    raw, _ = envpool.make(
        "FishSwim-v1", env_type="gymnasium", num_envs=2, env_seed=[4, 5], num_threads=1
    ).reset()
    expected = np.concatenate(
        [raw["joint_angles"], raw["upright"][:, None], raw["target"], raw["velocity"]], axis=1
    )
    got = HostEnvPool("dm_control/fish-swim-v0", [4, 5]).reset()
    np.testing.assert_array_equal(got, expected.astype(np.float32))


@pytest.mark.parametrize("task", ["Humanoid-v4", "HumanoidStandup-v4"])
def test_contact_forces_are_computed(task):
    env = HostEnvPool(task, [1])
    env.reset()
    forces = []
    for _ in range(20):
        # The last 84 numbers are six forces and torques on each of 14 bodies.
        forces.append(env.step(np.zeros((1, 17), np.float32)).obs[0, -84:])
    assert np.abs(forces).max() > 0


@pytest.mark.parametrize("adapter", [EnvPoolEnvironment, HostEnvPool])
@pytest.mark.parametrize("seeds", [[], [-1], [2**31]])
def test_seeds_out_of_range_are_refused(adapter, seeds):
    with pytest.raises(ConfigError, match="env_seeds="):
        adapter("Pendulum-v1", seeds)


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(ConfigError, match="choose dm_control/walker-walk-v0"):
        HostEnvPool("walker-walk", [0])


def test_other_platforms_are_told(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigError, match=r"darwin.*only on Linux"):
        EnvPoolEnvironment("Pendulum-v1", [0])
