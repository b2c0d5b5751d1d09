"""Probe environments through the trainer: each has one thing to learn and a known answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probes
from robustpo.algorithm.experience import make_batch
from robustpo.algorithm.networks import mlp
from robustpo.config.run import make_config
from robustpo.environments.base import Autoreset
from robustpo.training.collectors import make_collector
from robustpo.training.population import coefficients_at, init_population
from robustpo.training.trainer import Trainer

# Twenty rows are whole episodes of the probes with a time limit: five of four rows, or four of five
# if resets have a row of their own.
OPTIONS = {
    "hidden_sizes": (16,),
    "num_envs": 4,
    "num_steps": 20,
    "num_minibatches": 4,
    "update_epochs": 4,
    "learning_rate": 3e-3,
    "normalize_observations": False,
    "preset": "paper",
    "normalize_rewards": False,
    "gamma": 0.7,
}


def configs_of(agents, iterations, **options):
    options = OPTIONS | options
    steps = iterations * options["num_envs"] * options["num_steps"]
    return [make_config("probe", "rpo", steps=steps, **(options | agent)) for agent in agents]


def train(make_probe, agents, iterations=150, **options):
    """Train one population on a probe; `agents` are the settings in which they differ."""
    configs = configs_of(agents, iterations, **options)
    environment = make_probe(len(configs) * configs[0].shape.num_envs)
    trainer = Trainer(configs, environment=environment)
    trainer.run()
    return trainer


def outputs(trainer, name, observations):
    """Return what every agent's network says to each observation, `[P, observations]`."""
    layers = getattr(trainer.population.learners.params, name)
    obs = jnp.float32(observations)[:, None]
    return np.asarray(jax.vmap(lambda network: mlp(network, obs, "tanh")[:, 0])(layers))


PPO_AND_RPO = [{"seed": seed, "alpha": alpha} for seed in (0, 1) for alpha in (0.0, 0.5)]


@pytest.mark.parametrize("autoreset", ["same_step", "next_step"])
@pytest.mark.parametrize(
    ("probe", "observations", "values"),
    [
        (probes.ConstantValue, [1.0], [1.0]),
        (probes.ObservedValue, [-1.0, 1.0], [-1.0, 1.0]),
        (probes.DelayedReward, [-3.0, 0.0, 3.0], [0.7**2, 0.7, 1.0]),
    ],
    ids=["constant", "observed", "delayed"],
)
def test_values_are_learned(probe, observations, values, autoreset):
    trainer = train(lambda n: probe(n, autoreset), PPO_AND_RPO)
    # Targets are free of noise once learned. One power of γ too few or too many differs by 0.15.
    found = outputs(trainer, "critic", observations)
    np.testing.assert_allclose(found, np.tile(values, (4, 1)), atol=0.03)


@pytest.mark.parametrize(
    ("probe", "observations", "actions"),
    [
        (probes.BestAction, [1.0], [0.5]),
        (probes.BestActionByObservation, [-1.0, 1.0], [-0.5, 0.5]),
    ],
    ids=["action", "conditional"],
)
def test_the_best_action_is_learned_with_and_without_perturbation(probe, observations, actions):
    trainer = train(probe, PPO_AND_RPO, iterations=200)
    # The noise is even around zero, so it moves nothing on average. A location 0.1 off costs
    # 0.01, a twenty-fifth of what doing nothing costs.
    found = outputs(trainer, "actor", observations)
    np.testing.assert_allclose(found, np.tile(actions, (4, 1)), atol=0.1)
    acted = []
    for agent in trainer.agents:
        assert agent.policy is not None
        acted.append([float(agent.policy(np.array([x], np.float32))[0]) for x in observations])
    np.testing.assert_allclose(acted, found, atol=1e-5)


@pytest.mark.parametrize("autoreset", ["same_step", "next_step"])
def test_a_time_limit_is_or_is_not_the_end(autoreset):
    gamma, lam = 0.8, 0.9
    trainer = train(
        lambda n: probes.TimeLimited(n, autoreset),
        [{"time_limit": mode, "seed": s} for mode in ("bootstrap", "terminal") for s in (0, 1)],
        gamma=gamma,
        gae_lambda=lam,
    )
    with_future = probes.bootstrapped_value(gamma)
    without = probes.terminal_value(gamma, lam)
    assert with_future == pytest.approx(5.0)
    assert 1.5 < without < 2.5
    found = outputs(trainer, "critic", [1.0])[:, 0]
    # An episode one step longer or shorter would change the second value by 0.2 or more.
    for length in (3, 5):
        assert abs(probes.terminal_value(gamma, lam, length) - without) > 0.2
    np.testing.assert_allclose(found, [with_future] * 2 + [without] * 2, atol=0.1)


@pytest.mark.parametrize(
    ("worlds", "options"),
    [
        # What a phantom row pays, and its `final_obs`, are read nowhere.
        (({"poison": 1e3}, {"poison": -5e4}), {"normalize_observations": True}),
        # Nothing is learned about the observation that a phantom row's action was chosen on.
        (({"mark": 4.0}, {"mark": -7.0}), {}),
    ],
    ids=["poison", "final observation"],
)
def test_phantom_rows_change_no_bit_of_what_is_learned(worlds, options):
    results = []
    for world in worlds:
        trainer = train(
            lambda n, world=world: probes.MarkedEnd(n, "next_step", **world),
            PPO_AND_RPO,
            iterations=3,
            normalize_rewards=True,
            **options,
        )
        collector = trainer.population.collector
        results.append(
            (trainer.population.learners, collector.return_moments, collector.episode_return)
        )
    jax.tree.map(np.testing.assert_array_equal, *results)


def _collect(probe, num_steps, **options):
    """Collect one rollout of one agent and turn it into a batch."""
    configs = configs_of([{}], 1, num_steps=num_steps, num_envs=2, num_minibatches=1, **options)
    population = init_population(configs, 1, 1)
    coefficients = coefficients_at(configs, [0])
    params = jax.tree.map(lambda x: x + 0.1, population.learners.params)  # values that differ
    collector = make_collector(probe, configs[0].shape, 1)
    state = collector.start(population.collector)
    state, rollout = collector.collect(params, state, population.keys, coefficients, [0])
    one = jax.tree.map(lambda x: x[0], (params, rollout, coefficients))
    return state, probes.rows_of_agent(rollout), make_batch(*one, shape=configs[0].shape)


@pytest.mark.parametrize("time_limit", ["terminal", "bootstrap"])
def test_both_ways_to_reset_give_the_same_experience(time_limit):
    columns, moments = [], []
    ways: list[tuple[Autoreset, int]] = [("same_step", 4), ("next_step", 5)]
    for autoreset, rows_per_episode in ways:
        state, rows, batch = _collect(
            probes.MarkedEnd(2, autoreset),
            4 * rows_per_episode,
            time_limit=time_limit,
            normalize_rewards=True,
        )
        ended = rows.valid & rows.truncated
        assert ended.sum() == 2 * 4
        # Two environments of opposite context: 1 + c·t for t = 0 … 3 sums to 4 + 6c.
        assert sorted(set(rows.episode_return[ended].tolist())) == [-2.0, 10.0]
        assert set(rows.episode_length[ended].tolist()) == {4}
        assert not rows.fault.any()
        valid = np.asarray(batch.valid)
        names = ("obs", "value", "advantage", "value_target")
        columns.append({name: np.asarray(getattr(batch, name))[valid] for name in names})
        moments.append(jax.tree.map(lambda x: np.asarray(x[0]), state.return_moments))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *columns)
    jax.tree.map(np.testing.assert_array_equal, *moments)
    assert moments[0].count == 2 * 16
