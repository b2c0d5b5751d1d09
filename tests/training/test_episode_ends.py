"""What the moments and the scale of rewards make of an episode's end, against Gymnasium's own."""

from functools import partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers.utils import RunningMeanStd

from robustpo.algorithm.normalization import RunningMoments
from robustpo.config.run import make_config
from robustpo.environments.base import Step
from robustpo.environments.jax_environment import HostJaxEnvironment, JaxEnvironment
from robustpo.environments.jax_task import JaxStep, JaxTask
from robustpo.errors import SimulatorError
from robustpo.training.collectors import make_collector
from robustpo.training.digest import digest
from robustpo.training.population import (
    coefficients_at,
    init_collector,
    init_population,
    stack,
)
from robustpo.training.replay import ReplayLog
from robustpo.training.rollout import Flags, RawRow, observe_ends
from robustpo.training.trainer import Trainer


class Count(JaxTask):
    """Shows and pays the number of its steps, and ends after three of them."""

    observation_size, episode_limit = 1, 3
    action_low, action_high = (-1.0,), (1.0,)

    def reset(self, *, key):
        return jnp.zeros(1), jnp.zeros(1)

    def step(self, state, action, *, key):
        return JaxStep(state + 1, state + 1, state[0], False)


class Far(JaxTask):
    """Wanders far from zero whatever is done; ends by itself or after five steps."""

    observation_size, episode_limit = 2, 5
    action_low, action_high = (-1.0,), (1.0,)

    def reset(self, *, key):
        start = jnp.array([1e5, -2e5]) + jax.random.normal(key, (2,))
        return start, start

    def step(self, state, action, *, key):
        after = state + 0.5 * jax.random.normal(key, (2,))
        return JaxStep(after, after, 1.0, after[0] > 1e5 + 1)


class Paying(gymnasium.Env):
    """Pays what it is told, and is cut off after four steps."""

    observation_space = action_space = spaces.Box(-1, 1, (1,))

    def __init__(self, rewards):
        self.rewards = iter(rewards)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.zeros(1, np.float32), next(self.rewards), False, self.count == 4, {}


def start(num_envs=1):
    return init_collector(stack([RunningMoments.create((1,))]), 1, num_envs)


def test_moments_take_in_every_observation_once_as_gymnasiums_do():
    # Episodes of one step from 1 to 3: half of what is seen is a start, half an end.
    shape = make_config("Count", num_envs=2).shape
    gymnasiums = RunningMeanStd(epsilon=1e-4, shape=(1,))
    rng = np.random.default_rng(0)
    moments = jax.tree.map(lambda x: x[None], RunningMoments.create((1,)))
    first = final = obs = final_obs = np.zeros(0)
    ended = np.zeros(2, bool)
    for _ in range(50):
        final, first = rng.normal([[3.0], [4.0]]), rng.normal([[1.0], [0.0]])
        ended = rng.random(2) < 0.5
        raw = np.where(ended[:, None], first, final)
        given = (jnp.float32(raw)[None], jnp.float32(final)[None], jnp.asarray(ended)[None])
        moments, obs, final_obs = observe_ends(moments, *given, shape)
        gymnasiums.update(final)
        if ended.any():
            gymnasiums.update(first[ended])
    np.testing.assert_allclose(moments.mean[0], gymnasiums.mean, rtol=1e-5)
    np.testing.assert_allclose(moments.variance[0], gymnasiums.var, rtol=1e-5)
    scale = np.sqrt(gymnasiums.var + 1e-8)
    np.testing.assert_allclose(final_obs[0], (final - gymnasiums.mean) / scale, rtol=1e-4)
    np.testing.assert_allclose(obs[0][ended], (first[ended] - gymnasiums.mean) / scale, rtol=1e-4)


def rewards_of(rewards, config):
    """Return normalised rewards of one environment that is cut after four steps, phantoms out."""
    paid, valid, cut = [], [], []
    for index, reward in enumerate(rewards):
        paid, valid, cut = [*paid, reward], [*valid, True], [*cut, index % 4 == 3]
        if cut[-1]:
            paid, valid, cut = [*paid, 1e3], [*valid, False], [*cut, False]
    flags = (np.array(paid, np.float32), np.zeros(len(paid), bool), np.array(cut), np.array(valid))
    zeros = jnp.zeros((len(paid), 8, 1, 1))
    rows = RawRow(zeros, zeros, None, Flags(*(jnp.asarray(x)[:, None] for x in flags)), None)
    _, rollout = digest(start(), rows, None, coefficients_at([config], [0]), config.shape)
    return np.asarray(rollout.transitions.reward)[0, :, 0][np.array(valid)]


def test_the_return_that_scales_rewards_follows_the_time_limit_if_asked():
    rewards = np.random.default_rng(1).normal(1.0, 0.3, 60)
    env = gymnasium.wrappers.NormalizeReward(Paying(rewards), gamma=0.99)
    expected = []
    for _ in rewards:
        if len(expected) % 4 == 0:
            env.reset()
        expected.append(env.step(np.zeros(1))[1])
    asked: dict[str, Any] = {"preset": "paper", "reward_return_reset": "time-limit"}
    found = rewards_of(rewards, make_config("Count", time_limit="bootstrap", **asked))
    np.testing.assert_allclose(found, np.clip(expected, -10, 10), rtol=1e-4)
    # Published: anew at every end, whatever a truncation bootstraps; so also with terminal limits.
    published = rewards_of(rewards, make_config("Count", preset="paper", time_limit="bootstrap"))
    statistics, total = RunningMeanStd(epsilon=1e-4), 0.0
    for index, reward in enumerate(rewards):
        total = (0.0 if index % 4 == 0 else total) * 0.99 + reward
        statistics.update(np.array([total]))
        scaled = np.clip(reward / np.sqrt(statistics.var + 1e-8), -10, 10)
        np.testing.assert_allclose(published[index], scaled, rtol=1e-3)
    terminal = rewards_of(rewards, make_config("Count", **asked))
    np.testing.assert_array_equal(terminal, published)


class WithoutFinal(HostJaxEnvironment):
    """Resets in the same step and forgets what the episode ended on."""

    def step(self, action) -> Step:
        return super().step(action)._replace(final_obs=None)


@pytest.mark.parametrize("method", ["rpo", "rad-ppo"])
def test_on_the_host_a_reset_in_the_same_step_is_what_it_is_in_the_program(method):
    config = make_config(
        "Count", method, num_steps=8, num_minibatches=1, hidden_sizes=(4,), steps=8
    )

    def collect(environment):
        population = init_population([config], 1, 1)
        collector = make_collector(environment, config.shape, 1)
        state = collector.start(population.collector)
        numbers = coefficients_at([config], [0])
        return collector.collect(population.learners.params, state, population.keys, numbers, [0])

    traced = collect(JaxEnvironment(Count(), [0]))
    hosted = collect(HostJaxEnvironment(JaxEnvironment(Count(), [0])))
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, traced, hosted)
    state, rollout = hosted
    # 0 1 2 3 0 1 2 3 0 1 2: eight steps and the starts of three episodes.
    seen = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2])
    assert int(state.obs_moments.count[0]) == len(seen)
    np.testing.assert_allclose(state.obs_moments.mean[0], seen.mean(), rtol=1e-4)
    np.testing.assert_allclose(state.obs_moments.variance[0], seen.var(), rtol=1e-3)
    assert rollout.transitions.final_obs is not None
    with pytest.raises(SimulatorError, match="returned no final_obs"):
        collect(WithoutFinal(JaxEnvironment(Count(), [0])))


@pytest.mark.parametrize("collected", ["in the program", "on the host"])
def test_moments_of_several_environments_far_from_zero_are_those_of_all_that_was_seen(collected):
    agents, envs, steps = 2, 4, 32
    options = {"num_envs": envs, "num_steps": steps, "num_minibatches": 1, "hidden_sizes": (4,)}
    configs = [make_config("Far", seed=s, steps=envs * steps, **options) for s in range(agents)]
    seeds = range(agents * envs)
    environment = JaxEnvironment(Far(), seeds)
    if collected == "on the host":
        environment = HostJaxEnvironment(environment)
    population = init_population(configs, 2, 1)
    collector = make_collector(environment, configs[0].shape, agents)
    state = collector.start(population.collector)
    numbers = coefficients_at(configs, [0, 0])
    state, rollout = collector.collect(
        population.learners.params, state, population.keys, numbers, [0, 0]
    )
    # The same walks once more, on their own: what is done does not change them.
    again = HostJaxEnvironment(JaxEnvironment(Far(), seeds))
    seen = [[[obs] for obs in agent] for agent in again.reset().reshape(agents, envs, 2)]
    ends = 0
    for _ in range(steps):
        step = again.step(np.zeros((agents * envs, 1), np.float32))
        for index in range(agents * envs):
            own = seen[index // envs][index % envs]
            own.append(step.final_obs[index])
            if step.terminated[index] or step.truncated[index]:
                ends += 1
                own.append(step.obs[index])
    assert ends > 40 and bool(np.asarray(rollout.transitions.terminated).any())
    for agent in range(agents):
        samples = np.concatenate(seen[agent]).astype(np.float64)
        assert int(state.obs_moments.count[agent]) == len(samples)
        # A float32 of 2e5 is known to 0.016, whatever is spread by 1.
        np.testing.assert_allclose(state.obs_moments.mean[agent], samples.mean(0), atol=0.02)
        np.testing.assert_allclose(state.obs_moments.variance[agent], samples.var(0), rtol=2e-3)


class Clocked(gymnasium.Env):
    """Pays by its clock; cuts twelve episodes off, and from then on terminates every other one."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Box(0.0, 5.0, (1,))

    def __init__(self):
        self.clock = self.episode = 0

    def reset(self, *, seed=None, options=None):
        self.episode += 1
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.clock, self.count = self.clock + 1, self.count + 1
        terminal = self.episode > 12 and self.episode % 2 == 1
        ended = self.count == 4
        reward = 1.0 + np.sin(float(self.clock))
        return np.zeros(1, np.float32), reward, ended and terminal, ended and not terminal, {}


def test_a_run_of_the_preset_own_scales_rewards_as_gymnasium_does():
    options = {"num_steps": 64, "steps": 128, "num_minibatches": 2, "hidden_sizes": (4,)}
    config = make_config("Clocked", preset="own", update_epochs=1, **options)
    rows = []

    def inspect(iterations, population, rollout, coefficients):
        own = rollout.transitions
        rows.append(np.asarray(own.reward)[0, :, 0][np.asarray(own.valid)[0, :, 0]])

    Trainer([config], constructor=Clocked, inspect=inspect).run()
    found = np.concatenate(rows)
    plain, gamma = Clocked(), config.settings.gamma
    wrapped = gymnasium.wrappers.NormalizeReward(Clocked(), gamma=gamma)
    _ = plain.reset(), wrapped.reset()
    statistics, total, expected, gymnasiums = RunningMeanStd(epsilon=1e-4), 0.0, [], []
    for _ in found:
        _, reward, terminated, truncated, _ = plain.step(np.zeros(1))
        gymnasiums.append(wrapped.step(np.zeros(1))[1])
        total = gamma * total + reward
        statistics.update(np.array([total]))
        expected.append(reward / np.sqrt(statistics.var + 1e-8))
        total = 0.0 if terminated else total
        if terminated or truncated:
            _ = plain.reset(), wrapped.reset()
    assert plain.episode > 20
    np.testing.assert_allclose(found, np.clip(expected, -10, 10), rtol=1e-4)
    # Gymnasium's begins anew a step earlier than a terminated episode ends; up to there:
    np.testing.assert_allclose(found[:48], np.clip(gymnasiums[:48], -10, 10), rtol=1e-4)


def test_resets_in_the_same_step_are_counted_where_they_happen():
    log = ReplayLog(1, (-1.0,), (1.0,))
    actions = np.linspace(-1, 1, 5, dtype=np.float32)[:, None, None]
    log.add(actions, np.array([0, 1, 0, 1, 0], bool)[:, None])
    assert log.resets == 3
    np.testing.assert_array_equal(log.tails()[0], actions[4:, 0])
