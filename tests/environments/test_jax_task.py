"""Environments written in JAX: resets, limits, seeds, and what is said of those that are wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustpo.environments.jax_environment import HostJaxEnvironment, JaxEnvironment
from robustpo.environments.jax_task import JaxStep, JaxTask
from robustpo.errors import ConfigError


class Walk(JaxTask):
    """Counts up by the action and noise; terminal above 3, truncated after five steps."""

    observation_size, episode_limit = 2, 5
    action_low, action_high = (-1.0,), (1.0,)

    def reset(self, *, key):
        start = jax.random.uniform(key)
        return start, jnp.stack([start, 0.0])

    def step(self, state, action, *, key):
        noise = 0.01 * jax.random.uniform(key)
        after = state + action[0] + noise
        return JaxStep(after, jnp.stack([after, noise]), action[0], after > 3)


class Holds(JaxTask):
    """A walk that holds an array without a number in it, as simulators of what a robot lacks do."""

    observation_size, episode_limit = 2, 5
    action_low, action_high = (-1.0,), (1.0,)

    def reset(self, *, key):
        start, obs = Walk().reset(key=key)
        return (start, jnp.zeros((2, 0))), obs

    def step(self, state, action, *, key):
        result = Walk().step(state[0], action, key=key)
        return result._replace(state=(result.state, state[1]))


def test_a_state_may_hold_what_is_empty():
    environment = JaxEnvironment(Holds(), [1, 2, 3])
    state, _ = environment.init()
    state, _ = environment.step(state, constant(0.5, 1, 3)[0])
    state, obs = environment.begin(state)
    assert state.task[1].shape == (3, 2, 0) and obs.shape == (3, 2)


def play(seeds, actions):
    """Step through `lax.scan`; return the first observation and the steps, as NumPy arrays."""
    environment = JaxEnvironment(Walk(), seeds)
    state, first = environment.init()
    _, steps = jax.jit(lambda s, a: jax.lax.scan(environment.step, s, a))(state, actions)
    return np.asarray(first), jax.tree.map(np.asarray, steps)


def constant(value, num_steps, num_envs):
    return jnp.full((num_steps, num_envs, 1), value, jnp.float32)


def test_the_step_that_reaches_the_limit_resets_and_keeps_the_final_observation():
    first, steps = play([1, 2], constant(0.0, 11, 2))
    np.testing.assert_array_equal(np.argwhere(steps.truncated)[:, 0], [4, 4, 9, 9])
    assert not steps.terminated.any() and steps.valid.all()
    going = ~steps.truncated
    np.testing.assert_array_equal(steps.final_obs[going], steps.obs[going])
    # Five noises of at most 0.01 have moved the state; a reset's observation has noise 0.
    moved = steps.final_obs[4, :, 0] - first[:, 0]
    assert ((moved > 0) & (moved <= 0.05)).all()
    assert (steps.obs[4, :, 1] == 0).all() and (steps.final_obs[4, :, 1] > 0).all()
    assert (steps.obs[4, :, 0] != first[:, 0]).all()  # the next episode begins elsewhere


def test_a_terminal_state_at_the_limit_is_terminated():
    # From U(0, 1) in steps of 0.6: above 3 in step 4 (from 0.6 on) or 5, which is the limit.
    _, steps = play(range(16), constant(0.6, 5, 16))
    ends = steps.terminated.argmax(0)
    assert steps.terminated.sum() == 16 and not steps.truncated.any()
    assert set(ends) == {3, 4}
    assert (steps.final_obs[ends, np.arange(16), 0] > 3).all()
    assert (steps.obs[ends, np.arange(16), 0] < 1).all()


def test_an_environment_depends_on_its_own_seed_alone_to_the_bit():
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (40, 11, 1)).astype(np.float32)
    first, steps = play(range(11), actions)
    for which in ([4], [0, 4, 7], range(8)):
        which = list(which)
        alone_first, alone = play(which, actions[:, which])
        np.testing.assert_array_equal(first[which], alone_first)
        for name, all_, own in zip(steps._fields, steps, alone, strict=True):
            np.testing.assert_array_equal(all_[:, which], own, err_msg=name)
    assert len(np.unique(first[:, 0])) == 11


def test_the_host_adapter_returns_the_same_steps():
    actions = constant(0.3, 12, 3)
    first, traced = play([5, 6, 7], actions)
    host = HostJaxEnvironment(JaxEnvironment(Walk(), [5, 6, 7]))
    np.testing.assert_array_equal(host.reset(), first)
    for t in range(12):
        step = host.step(np.asarray(actions[t]))
        for name, left, right in zip(step._fields, step, traced, strict=True):
            np.testing.assert_allclose(left, right[t], rtol=1e-6, err_msg=name)


def test_without_a_limit_nothing_is_truncated():
    class Endless(Walk):
        episode_limit = None

    environment = JaxEnvironment(Endless(), [1])
    state, _ = environment.init()
    for _ in range(7):
        state, step = environment.step(state, jnp.zeros((1, 1)))
        assert not step.truncated.any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"action_low": (1.0,), "action_high": (1.0,)}, "each low below its high"),
        ({"episode_limit": 0}, "at least 1"),
        ({"observation_size": 3}, "the observation of reset has shape"),
        ({"reset": lambda self, *, key: (0, jnp.zeros(2))}, "have to be the same"),
        ({"reset": lambda self, *, key: 1 / 0}, "cannot be traced by JAX .*ZeroDivisionError"),
        (
            {"step": lambda self, s, a, *, key: JaxStep(s, jnp.zeros(2), a, s > 3)},
            r"the reward has shape \(1,\), expected \(\)",
        ),
    ],
)
def test_what_is_wrong_with_a_task_is_said(changed, message):
    wrong = type("Wrong", (Walk,), changed)
    with pytest.raises(ConfigError, match=message):
        JaxEnvironment(wrong(), [1])


@pytest.mark.parametrize("seeds", [[], [-1], [2**32]])
def test_seeds_out_of_range_are_refused(seeds):
    with pytest.raises(ConfigError, match="env_seeds="):
        JaxEnvironment(Walk(), seeds)
