"""From a rollout to a batch: values, densities and advantages of the rows as collected."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithm.reference import (
    advantages,
    coefficients,
    evaluate,
    log_density,
    random_params,
    to_leaves,
)
from robustpo.algorithm.experience import Rollout, Transition, make_batch
from robustpo.config.shape import Shape

STEPS, ENVS, OBS, ACTIONS = 24, 2, 3, 2
SHAPE = Shape(hidden_sizes=(8,), num_envs=ENVS, num_steps=STEPS, num_minibatches=1)
PARAMS = random_params(OBS, ACTIONS, (8,), seed=0)


def random_rollout(seed, same_step):
    rng = np.random.default_rng(seed)

    def normal(*size):
        return jnp.float32(rng.normal(size=(STEPS, ENVS, *size)))

    flags = rng.random((2, STEPS, ENVS)) < 0.15
    rows = Transition(
        obs=normal(OBS),
        action=normal(ACTIONS),
        reward=normal(),
        terminated=jnp.asarray(flags[0]),
        truncated=jnp.asarray(flags[1] & ~flags[0]),
        valid=jnp.ones((STEPS, ENVS), bool),
        final_obs=normal(OBS) if same_step else None,
        episode_return=normal(),
        episode_length=jnp.ones((STEPS, ENVS), jnp.int32),
        fault=jnp.zeros((STEPS, ENVS), jnp.int8),
    )
    return Rollout(rows, normal(OBS)[0])


@pytest.mark.parametrize("same_step", [False, True])
@pytest.mark.parametrize("bootstrap", [False, True])
def test_a_batch_is_what_a_loop_over_environments_computes(same_step, bootstrap):
    rollout = random_rollout(1, same_step)
    numbers = coefficients(bootstrap=bootstrap, gamma=0.9, gae_lambda=0.8)
    batch = make_batch(PARAMS, rollout, numbers, SHAPE)
    leaves = to_leaves(PARAMS)
    rows = jax.tree.map(np.asarray, rollout.transitions)
    for e in range(ENVS):
        location, log_std, value = evaluate(leaves, rows.obs[:, e])
        last_value = evaluate(leaves, rollout.last_obs)[2][e]
        next_value = np.append(value[1:], last_value)
        if same_step:
            done = rows.terminated[:, e] | rows.truncated[:, e]
            next_value[done] = evaluate(leaves, rows.final_obs[:, e])[2][done]
        advantage = advantages(
            rows.reward[:, e],
            value,
            next_value,
            rows.terminated[:, e],
            rows.truncated[:, e],
            gamma=0.9,
            lam=0.8,
            bootstrap=bootstrap,
        )
        expected = {
            "obs": rows.obs[:, e],
            "action": rows.action[:, e],
            "log_prob": log_density(location, log_std, rows.action[:, e]),
            "value": value,
            "advantage": advantage,
            "value_target": advantage + value,
        }
        for name, column in expected.items():
            mine = getattr(batch, name).reshape(STEPS, ENVS, *column.shape[1:])[:, e]
            np.testing.assert_allclose(mine, column, rtol=1e-4, atol=1e-5, err_msg=name)


EPISODE = 5  # rows of one episode, the last of which is truncated


def _episodes(same_step):
    """One process of episodes, told with its resets in the ending row or in a row of their own."""
    rng = np.random.default_rng(7)
    obs = rng.normal(size=(4, EPISODE + 1, OBS))  # the last observation of each is the final one
    action, reward = rng.normal(size=(4, EPISODE, ACTIONS)), rng.normal(size=(4, EPISODE))
    rows = []
    for i in range(4):
        for t in range(EPISODE):
            last = t == EPISODE - 1
            rows.append((obs[i, t], action[i, t], reward[i, t], last, True, obs[i, t + 1]))
        if not same_step:
            rows.append((obs[i, -1], 1e3 * action[0, 0], 1e3, False, False, obs[i, 0]))
    obs_, action_, reward_, truncated, valid, final_obs = (
        np.array(column)[:, None] for column in zip(*rows, strict=True)
    )
    steps = len(rows)
    return Rollout(
        Transition(
            obs=jnp.float32(obs_),
            action=jnp.float32(action_),
            reward=jnp.float32(reward_),
            terminated=jnp.zeros((steps, 1), bool),
            truncated=jnp.asarray(truncated),
            valid=jnp.asarray(valid),
            final_obs=jnp.float32(final_obs) if same_step else None,
            episode_return=jnp.zeros((steps, 1)),
            episode_length=jnp.zeros((steps, 1), jnp.int32),
            fault=jnp.zeros((steps, 1), jnp.int8),
        ),
        last_obs=jnp.float32(obs[0, 0])[None],
    )


@pytest.mark.parametrize("bootstrap", [False, True])
def test_both_ways_to_reset_give_the_same_advantages(bootstrap):
    batches = []
    for same_step in (True, False):
        rollout = _episodes(same_step)
        steps = len(rollout.transitions.reward)
        shape = replace(SHAPE, num_envs=1, num_steps=steps)
        batch = make_batch(PARAMS, rollout, coefficients(bootstrap=bootstrap), shape)
        valid = np.asarray(batch.valid)
        batches.append(jax.tree.map(lambda x, v=valid: np.asarray(x)[v], batch))
    assert len(batches[0].value) == len(batches[1].value) == 4 * EPISODE
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *batches)
