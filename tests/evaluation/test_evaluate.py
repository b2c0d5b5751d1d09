"""Evaluation on environments whose every return can be said in advance."""

import dataclasses
import functools
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from scipy import stats

from environments import hostile
from environments.test_jax_task import Walk
from robustpo.environments.jax_environment import HostJaxEnvironment, JaxEnvironment
from robustpo.errors import ConfigError, SimulatorError
from robustpo.evaluation.episodes import MAX_STEPS, Stopped, step_limit
from robustpo.evaluation.evaluate import MAX_ENVS, evaluate_policy
from robustpo.policy.policy import Policy


class Drawn(gymnasium.Env):
    """Draws its length at the start; every step pays the same, and the actions are kept."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Box(-1, 1, (1,))
    made: ClassVar[list["Drawn"]] = []

    def __init__(self, lengths=(5,), reward=1.0):
        self.lengths, self.reward = lengths, reward
        self.seeds, self.actions, self.episodes = [], [], 0
        self.made.append(self)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds += [seed] if seed is not None else []
        self.length, self.count = int(self.np_random.choice(self.lengths)), 0
        return self._observe(), {}

    def step(self, action):
        self.actions.append(float(action[0]))
        self.count += 1
        done = self.count == self.length
        self.episodes += done
        return self._observe(), self.reward, bool(done), False, {}

    def _observe(self):
        return np.array([self.count, 0.3], np.float32)


class Paid(Drawn):
    """Pays the action, so that a return says what was done."""

    def step(self, action):
        obs, _, terminated, truncated, info = super().step(action)
        return obs, float(action[0]), terminated, truncated, info


@pytest.fixture(autouse=True)
def forget_environments():
    Drawn.made.clear()


def make_policy(std=0.0, observation_size=2, **tensors):
    """A linear policy that answers with a tenth of the (normalised) step count."""
    weight = np.zeros((observation_size, 1), np.float32)
    weight[0] = 0.1
    return Policy(
        {
            "actor.0.weight": weight,
            "actor.0.bias": np.zeros(1, np.float32),
            "log_std": np.log(np.full(1, max(std, 1e-30), np.float32)),
            "action.low": np.full(1, -1, np.float32),
            "action.high": np.full(1, 1, np.float32),
            **tensors,
        },
        {"activation": "tanh", "distribution": "gaussian"},
    )


def test_returns_are_sums_over_whole_episodes():
    result = evaluate_policy(make_policy(), functools.partial(Drawn, (5,), 0.5), episodes=7)
    assert result.returns == (2.5,) * 7
    assert result.lengths == (5,) * 7
    assert (result.mean, result.std, result.interval) == (2.5, 0.0, (2.5, 2.5))


@pytest.mark.parametrize("episodes", [1, 3, MAX_ENVS, MAX_ENVS + 1, 50])
def test_exactly_as_many_episodes_as_asked_shared_out_evenly(episodes):
    result = evaluate_policy(make_policy(), functools.partial(Drawn, (2, 9)), episodes=episodes)
    assert len(result.returns) == len(result.lengths) == episodes
    assert result.returns == tuple(float(length) for length in result.lengths)
    assert len(Drawn.made) >= min(episodes, MAX_ENVS)
    assert all(env.episodes >= episodes // MAX_ENVS for env in Drawn.made[-MAX_ENVS:])


def test_short_episodes_are_not_favoured():
    # Lengths 1 and 100 are equally likely: 50.5 on average. Whoever takes the first 1,000
    # episodes to end, wherever they end, would see short ones only.
    result = evaluate_policy(make_policy(), functools.partial(Drawn, (1, 100)), episodes=1000)
    # The standard deviation is 49.5, so that of the mean of 1,000 is 1.57; five of them allowed.
    assert result.mean == pytest.approx(50.5, abs=5 * 49.5 / 1000**0.5)
    assert np.mean(np.array(result.lengths) == 1) == pytest.approx(0.5, abs=5 * 0.5 / 1000**0.5)


def test_the_interval_is_students():
    result = evaluate_policy(make_policy(), functools.partial(Drawn, range(1, 30)), episodes=12)
    values = np.array(result.returns)
    sd = np.sqrt(((values - values.mean()) ** 2).sum() / 11)
    # t(0.975; 11) = 2.20099, from any table.
    half = 2.20099 * sd / np.sqrt(12)
    assert result.std == pytest.approx(sd)
    assert result.interval == pytest.approx((values.mean() - half, values.mean() + half), rel=1e-5)
    assert result.interval == pytest.approx(
        stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    )
    summary = result.as_dict()
    assert (summary["min"], summary["max"]) == (values.min(), values.max())
    assert (summary["interval_low"], summary["interval_high"]) == result.interval
    assert summary["episodes"] == 12
    assert summary["length_mean"] == pytest.approx(np.mean(result.lengths))


def test_one_episode_has_no_deviation():
    result = evaluate_policy(make_policy(), Drawn, episodes=1)
    assert np.isnan(result.std) and np.isnan(result.interval).all()


def test_deterministic_actions_are_the_mode():
    result = evaluate_policy(make_policy(std=0.5), functools.partial(Paid, (5,)), episodes=3)
    # A tenth of 0, 1, 2, 3 and 4.
    np.testing.assert_allclose(result.returns, [1.0] * 3, rtol=1e-6)


def test_stochastic_actions_are_samples_inside_the_bounds():
    make = functools.partial(Drawn, (100,))
    evaluate_policy(make_policy(std=0.2), make, episodes=20, deterministic=False)
    actions = np.array([env.actions[:7] for env in Drawn.made[-20:]])
    noise = actions - 0.1 * np.arange(7)
    inside = noise[:, :3].ravel()  # three standard deviations away from the bounds
    assert np.abs(inside.mean()) < 5 * 0.2 / inside.size**0.5
    assert inside.std() == pytest.approx(0.2, rel=0.35)
    everything = np.concatenate([env.actions for env in Drawn.made])
    assert np.abs(everything).max() <= 1
    assert len(set(inside.tolist())) == inside.size


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_same_seed_gives_the_same_result(deterministic):
    def run(seed):
        make = functools.partial(Paid, range(1, 30))
        policy = make_policy(std=0.3)
        return evaluate_policy(policy, make, episodes=25, deterministic=deterministic, seed=seed)

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_environments_have_seeds_of_their_own():
    evaluate_policy(make_policy(), Drawn, episodes=20, seed=0)
    seeds = [env.seeds[0] for env in Drawn.made if env.seeds]
    assert len(set(seeds)) == len(seeds) == 20
    trained = {
        int(word) & 0x7FFFFFFF
        for seed in range(200)
        for word in np.random.SeedSequence(seed).generate_state(1)
    }
    assert not trained & set(seeds)


def test_statistics_are_frozen():
    moments = {
        "observation.mean": np.array([10.0, 0.0], np.float32),
        "observation.variance": np.array([4.0, 1.0], np.float32),
        "observation.count": np.float32(100),
    }
    policy = make_policy(**moments)
    before = {name: tensor.copy() for name, tensor in policy.tensors.items()}
    make = functools.partial(Paid, (5,))
    result = evaluate_policy(policy, make, episodes=40)
    # A tenth of (t − 10) / 2 for t = 0 … 4, in the last episode as in the first.
    np.testing.assert_allclose(result.returns, [sum(0.05 * (t - 10) for t in range(5))] * 40)
    for name, tensor in before.items():
        np.testing.assert_array_equal(policy.tensors[name], tensor)


@pytest.mark.parametrize("episodes", [0, -1])
def test_no_episodes_are_refused(episodes):
    with pytest.raises(ConfigError, match=f"episodes={episodes}"):
        evaluate_policy(make_policy(), Drawn, episodes=episodes)


def test_a_policy_of_another_task_is_refused():
    with pytest.raises(ConfigError, match="takes 3 observations"):
        evaluate_policy(make_policy(observation_size=3), Drawn)


def test_a_seed_below_zero_is_refused():
    with pytest.raises(ConfigError, match="seed=-1"):
        evaluate_policy(make_policy(), Drawn, seed=-1)


def test_envpool_episodes_are_whole():
    # Pendulum-v1 is cut after 200 steps; 21 episodes in 20 environments.
    result = evaluate_policy(make_policy(observation_size=3), "Pendulum-v1", episodes=21)
    assert result.lengths == (200,) * 21
    # Its cost per step is at most π² + 0.1·8² + 0.001·2².
    assert all(-200 * (np.pi**2 + 6.4 + 0.004) <= value < 0 for value in result.returns)
    assert len(set(result.returns)) == 21


def test_episodes_that_go_on_are_cut_and_counted():
    # Half of them end after 3 steps; the others would after a million.
    make = functools.partial(Drawn, (3, 10**6))
    result = evaluate_policy(make_policy(), make, episodes=40, max_steps=50)
    assert set(result.lengths) == {3, 50} and len(result.lengths) == 40
    assert result.returns == tuple(float(length) for length in result.lengths)
    assert result.cut == result.as_dict()["cut"] == result.lengths.count(50)
    # Two episodes of each of twenty environments, each from a reset of its own.
    assert all(env.actions for env in Drawn.made[-MAX_ENVS:])
    # Of 40 fair draws, 5 standard deviations (√10) allowed.
    assert 20 - 5 * 10**0.5 < result.cut < 20 + 5 * 10**0.5


def test_an_episode_that_ends_at_the_cap_has_ended():
    result = evaluate_policy(make_policy(), functools.partial(Drawn, (5,)), episodes=3, max_steps=5)
    assert (result.lengths, result.cut) == ((5, 5, 5), 0)


def test_the_cap_is_never_below_a_tasks_own_limit():
    environment = JaxEnvironment(Walk(), [1])
    assert step_limit(environment.spec) == MAX_STEPS
    longer = dataclasses.replace(environment.spec, episode_limit=3 * MAX_STEPS)
    assert step_limit(longer) == 3 * MAX_STEPS
    assert step_limit(longer, 7) == 7


def test_tasks_in_jax_begin_another_episode_after_a_cut():
    environment = HostJaxEnvironment(JaxEnvironment(Walk(), [1, 2]))
    environment.reset()
    cut = environment.reset()
    # It is the one that begins where the first ends by itself, after five steps.
    again = HostJaxEnvironment(JaxEnvironment(Walk(), [1, 2]))
    again.reset()
    ended = [again.step(np.zeros((2, 1), np.float32)) for _ in range(5)][-1]
    assert ended.truncated.all()
    np.testing.assert_array_equal(cut, ended.obs)


def test_a_simulator_that_exists_once_is_evaluated_alone():
    result = evaluate_policy(make_policy(), hostile.Once, episodes=5, envs=1)
    assert result.lengths == (10,) * 5 and hostile.Once.alive == 0
    with pytest.raises(ConfigError, match="--envs 1"):
        evaluate_policy(make_policy(), hostile.Once, episodes=5)
    assert hostile.Once.alive == 0


def test_an_evaluation_stops_when_it_is_asked_to():
    asked = iter([False] * 30 + [True])
    with pytest.raises(Stopped):
        evaluate_policy(make_policy(), hostile.Endless, should_stop=lambda: next(asked))


class Blind(Drawn):
    """Sees nothing, and pays a finite reward all the same."""

    def _observe(self):
        return np.full(2, np.nan, np.float32)


@pytest.mark.parametrize(
    ("task", "quantity"),
    [
        (Blind, "an observation"),
        (lambda: Drawn(reward=float("nan")), "a reward"),
        (lambda: Drawn(reward=-float("inf")), "a reward"),
    ],
)
def test_what_is_not_finite_is_no_result(task, quantity):
    with pytest.raises(SimulatorError, match=f"{quantity} is not finite"):
        evaluate_policy(make_policy(), task, episodes=2)


class Far(Drawn):
    def _observe(self):
        return np.full(2, 10.0, np.float32)


@pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")
def test_weights_too_large_to_act_by_are_no_policy():
    # Ten times each is beyond the largest float32, 3.4e38, and infinity less infinity is no number.
    policy = make_policy()
    policy.tensors["actor.0.weight"][:] = [[3e38], [-3e38]]
    with pytest.raises(ConfigError, match="which is no action"):
        evaluate_policy(policy, Far, episodes=2)


@pytest.mark.parametrize("options", [{"max_steps": 0}, {"envs": 0}])
def test_caps_and_counts_below_one_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(ConfigError, match=f"{name}={value} is not valid"):
        evaluate_policy(make_policy(), Drawn, **options)
