"""Every adapter's episodes against advantages known from elsewhere: ends, limits, phantom rows.

A hand-made world is put behind each adapter that can take one. EnvPool and BallBalance step their
own simulators only: there, rewards and ends follow from the state by the tasks' definitions.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probes
from algorithm.reference import random_params
from robustpo.algorithm.experience import make_batch
from robustpo.config.run import make_config
from robustpo.environments.base import HostEnvironment
from robustpo.environments.envpool import EnvPoolEnvironment
from robustpo.environments.isaac.ball_balance import BallBalance
from robustpo.environments.isaac.ball_balance_model import BALL, BALL_VELOCITY
from robustpo.training.collectors import make_collector
from robustpo.training.population import coefficients_at, init_population

pytest.importorskip("dm_env", reason="pip install 'robustpo[dm-control]'")
pytest.importorskip("mujoco", reason="pip install 'robustpo[mujoco]'")
from training.adapter_worlds import ADAPTERS, FALLS, LIMIT, pay, see

GAMMA, LAMBDA = 0.9, 0.8
NUM_ENVS = 2
TIME_LIMITS = ("terminal", "bootstrap")


class Rows(NamedTuple):
    """What one environment must have shown, row by row.

    Attributes:
        obs: what each action was chosen on, and in the end what would come next, `[T + 1, O]`.
        final_obs: what each action led to, `[T, O]`.
        reward: `[T]`, read nowhere in a phantom row.
        terminated: `[T]`.
        truncated: `[T]`.
        valid: `[T]`.
    """

    obs: Any
    final_obs: Any
    reward: Any
    terminated: Any
    truncated: Any
    valid: Any


class Collected(NamedTuple):
    """One rollout of one agent.

    Attributes:
        critic: layers of its critic.
        columns: rows as collected, `[T, E, ...]`.
        obs: what each action was chosen on, and what would come next, `[T + 1, E, O]`.
        batches: what is learned from in either time limit's mode, `[T, E, ...]`.
    """

    critic: Any
    columns: Any
    obs: Any
    batches: dict[str, Any]


def collect(environment, num_steps):
    """Collect one rollout.

    Observations and rewards are not normalised, so that they are those of the simulator.
    """
    config = make_config(
        "probe",
        preset="paper",
        steps=num_steps * NUM_ENVS,
        num_envs=NUM_ENVS,
        num_steps=num_steps,
        num_minibatches=1,
        hidden_sizes=(8,),
        normalize_observations=False,
        normalize_rewards=False,
        gamma=GAMMA,
        gae_lambda=LAMBDA,
    )
    spec = environment.spec
    population = init_population([config], spec.observation_size, spec.action_size)
    one = random_params(spec.observation_size, spec.action_size, (8,), seed=0)
    params = jax.tree.map(lambda x: x[None], one)
    coefficients = coefficients_at([config], [0])
    collector = make_collector(environment, config.shape, 1)
    state = collector.start(population.collector)
    _, rollout = collector.collect(params, state, population.keys, coefficients, [0])
    if isinstance(environment, HostEnvironment):
        environment.close()
    rows, numbers = jax.tree.map(lambda x: x[0], (rollout, coefficients))
    batches = {}
    for mode in TIME_LIMITS:
        own = dataclasses.replace(numbers, bootstrap=jnp.asarray(mode == "bootstrap"))
        batch = make_batch(one, rows, own, shape=config.shape)
        batches[mode] = jax.tree.map(
            lambda x: np.asarray(x).reshape(num_steps, NUM_ENVS, *x.shape[1:]), batch
        )
    columns = probes.rows_of_agent(rollout)
    obs = np.concatenate([columns.obs, np.asarray(rows.last_obs)[None]])
    return Collected(one.critic, columns, obs, batches)


def value_of(critic, obs):
    """Return the critic's value in float64."""
    x = np.asarray(obs, np.float64)
    hidden = np.tanh(x @ np.asarray(critic[0].weight) + np.asarray(critic[0].bias))
    return (hidden @ np.asarray(critic[1].weight) + np.asarray(critic[1].bias))[..., 0]


def advantages_of(rows, critic, bootstrap):
    """Return `Σ_k (γλ)^k δ_{t+k}` up to the episode's or the rollout's end, row by row, NaN where
    the row is a phantom.
    """
    value, successor = value_of(critic, rows.obs), value_of(critic, rows.final_obs)
    delta = np.full(len(rows.reward), np.nan)
    for t in np.flatnonzero(rows.valid):
        worth = not rows.terminated[t] and (bootstrap or not rows.truncated[t])
        delta[t] = rows.reward[t] + GAMMA * worth * successor[t] - value[t]
    found = np.full(len(rows.reward), np.nan)
    for t in np.flatnonzero(rows.valid):
        end = t
        while end + 1 < len(delta) and not (rows.terminated[end] or rows.truncated[end]):
            end += 1
        found[t] = sum((GAMMA * LAMBDA) ** (k - t) * delta[k] for k in range(t, end + 1))
    return found


def world_rows(firsts, num_rows, autoreset):
    """Play the world out from the kinds of its episodes, in the order in which they come."""
    kinds = iter(firsts)
    rows, steps, kind = [], 0, next(kinds)
    while len(rows) < num_rows:
        obs, reward, steps = see(steps, kind), pay(steps, kind), steps + 1
        fallen = kind > 0 and steps == FALLS
        late = steps == LIMIT
        rows.append((obs, see(steps, kind), reward, fallen, late, True))
        if fallen or late:
            last = see(steps, kind)
            steps, kind = 0, next(kinds)
            if autoreset == "next_step":
                rows.append((last, see(0, kind), np.nan, False, False, False))
    rows = rows[: num_rows + 1]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    following = rows[num_rows][0] if len(rows) > num_rows else see(steps, kind)
    cut = [column[:num_rows] for column in columns]
    return Rows(np.concatenate([cut[0], following[None]]), *cut[1:])


def require_advantages(expected, collected, index):
    """Hold one environment's rows and advantages against what is expected of it."""
    columns, valid = collected.columns, expected.valid
    np.testing.assert_array_equal(columns.valid[:, index], valid)
    for name in ("terminated", "truncated"):
        found = getattr(columns, name)[:, index] & valid
        np.testing.assert_array_equal(found, getattr(expected, name) & valid, name)
    reward = columns.reward[:, index]
    np.testing.assert_allclose(reward[valid], expected.reward[valid], rtol=1e-4, atol=1e-5)
    assert (reward[~valid] == 0).all()
    value = value_of(collected.critic, expected.obs[:-1])
    for mode, batch in collected.batches.items():
        np.testing.assert_array_equal(batch.valid[:, index], valid)
        advantage = advantages_of(expected, collected.critic, mode == "bootstrap")
        for name, wanted in (("advantage", advantage), ("value_target", advantage + value)):
            found = getattr(batch, name)[valid, index]
            np.testing.assert_allclose(found, wanted[valid], rtol=1e-3, atol=1e-4, err_msg=mode)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_hand_made_world(adapter):
    environment = ADAPTERS[adapter]([3, 4])
    collected = collect(environment, 61)
    for index in range(NUM_ENVS):
        obs = collected.obs[:, index]
        kinds = obs[obs[:, 0] == 0, 1]
        # Both kinds of end, or it would say little.
        assert set(kinds) == {-1, 1}
        expected = world_rows([*kinds, 1], 61, environment.autoreset)
        np.testing.assert_array_equal(obs, expected.obs)
        require_advantages(expected, collected, index)


def next_step_rows(obs, reward, terminated, limit):
    """Return rows of an environment that resets in the step after an episode's end.

    Args:
        obs: what was seen, `[T + 1, O]`.
        reward: reward of each row, if it is none that resets, `[T]`.
        terminated: whether what each row led to is terminal, `[T]`.
        limit: steps of an episode.
    """
    valid, ended, late = (np.zeros(len(reward), bool) for _ in range(3))
    steps, phantom = 0, False
    for t in range(len(reward)):
        valid[t], steps = not phantom, 0 if phantom else steps + 1
        late[t] = valid[t] and steps == limit and not terminated[t]
        ended[t] = valid[t] and terminated[t]
        phantom = ended[t] or late[t]
    return Rows(obs, obs[1:], reward, ended, late, valid)


def pendulum(obs, action):
    """Gymnasium's Pendulum: the cost of where it stood, ±2 N m at most."""
    angle = np.arctan2(obs[:-1, 1], obs[:-1, 0])
    force = np.clip(action[:, 0], -2, 2)
    reward = -(angle**2 + 0.1 * obs[:-1, 2] ** 2 + 0.001 * force**2)
    return next_step_rows(obs, reward, np.zeros(len(reward), bool), 200)


def inverted_pendulum(obs, action):
    """Gymnasium's InvertedPendulum-v4: 1 a step, also of the one that leaves ±0.2 rad."""
    return next_step_rows(obs, np.ones(len(action)), np.abs(obs[1:, 1]) > 0.2, 1000)


def cartpole_balance(obs, action):
    """dm_control's cartpole-balance, whose row after the limit repeats the last reward.

    `(cos θ + 1)/2 · (1 + g(x/2))/2 · (4 + q(u))/5 · (1 + g(θ̇/5))/2` of where the step led, with
    `g(d) = 0.1^(d²)` and `q(u) = 1 − u²` (`suite/cartpole.py`, `utils/rewards.py`).
    """
    position, cosine, velocity = obs[1:, 0], obs[1:, 1], obs[1:, 4]
    force = np.clip(action[:, 0], -1, 1)
    reward = (cosine + 1) / 2 * (1 + 0.1 ** ((position / 2) ** 2)) / 2
    reward *= (4 + (1 - force**2)) / 5 * (1 + 0.1 ** ((velocity / 5) ** 2)) / 2
    return next_step_rows(obs, reward, np.zeros(len(reward), bool), 1000)


@pytest.mark.parametrize(
    ("task", "rows_of", "num_steps", "fewest_phantoms"),
    [
        ("Pendulum-v1", pendulum, 430, 2),
        ("InvertedPendulum-v4", inverted_pendulum, 100, 3),
        ("dm_control/cartpole-balance-v0", cartpole_balance, 1030, 1),
    ],
)
def test_envpool(task, rows_of, num_steps, fewest_phantoms):
    collected = collect(EnvPoolEnvironment(task, [3, 4]), num_steps)
    for index in range(NUM_ENVS):
        expected = rows_of(collected.obs[:, index], collected.columns.action[:, index])
        assert (~expected.valid).sum() >= fewest_phantoms
        require_advantages(expected, collected, index)


class Watched(BallBalance):
    """Notes where its balls are after each step."""

    def __init__(self, seeds):
        super().__init__(seeds)
        self.seen = []

    def step(self, action):
        result = super().step(action)
        self.seen.append(self.save()["physics"])
        return result


def test_ball_balance():
    environment = Watched([3, 4])
    collected = collect(environment, 600)
    physics = np.stack(environment.seen)
    for index in range(NUM_ENVS):
        ball, velocity = physics[:, index, BALL], physics[:, index, BALL_VELOCITY]
        distance = np.linalg.norm(ball - [0, 0, 0.7], axis=1)
        reward = 1 / (1 + distance) / (1 + np.linalg.norm(velocity, axis=1))
        expected = next_step_rows(collected.obs[:, index], reward, ball[:, 2] < 0.15, 499)
        assert (~expected.valid).sum() >= 3
        require_advantages(expected, collected, index)
