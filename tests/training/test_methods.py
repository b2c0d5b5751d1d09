"""Every method trains, and learns what a probe has to teach; schedules and alarms over a run."""

import json
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probes
from robustpo.config.methods import METHODS
from robustpo.config.run import make_config
from robustpo.config.schedules import SCHEDULES, scheduled
from robustpo.training.alarm import entropy_limits
from robustpo.training.population import coefficients_at
from robustpo.training.trainer import Trainer

OPTIONS = {
    "preset": "paper",
    "hidden_sizes": (16,),
    "num_envs": 4,
    "num_steps": 32,
    "num_minibatches": 4,
    "update_epochs": 4,
    "learning_rate": 3e-3,
    "normalize_observations": False,
    "normalize_rewards": False,
}


class BestActionInBounds(probes.BestActionByObservation):
    """The same with bounds of ±1, onto which some distributions are stretched."""

    def __init__(self, num_envs):
        super().__init__(num_envs, "next_step")
        self.spec = replace(self.spec, action_low=(-1.0,), action_high=(1.0,))


def train(method, iterations, seeds=(0, 1), events=None, inspect=None, **options):
    options = OPTIONS | options
    steps = iterations * options["num_envs"] * options["num_steps"]
    configs = [make_config("probe", method, seed=s, steps=steps, **options) for s in seeds]
    environment = BestActionInBounds(len(configs) * options["num_envs"])
    emit = (events if events is not None else []).append
    trainer = Trainer(configs, emit=emit, environment=environment, inspect=inspect)
    trainer.run()
    return trainer


# One of each kind of program; the others, of the same kinds, take two minutes more.
KINDS = ("rpo", "ppo-beta", "rpo-marginal", "rpo-parameters")
OF_EVERY_KIND = [
    pytest.param(name, marks=[] if name in KINDS else [pytest.mark.slow]) for name in METHODS
]


@pytest.mark.parametrize("method", OF_EVERY_KIND)
def test_every_method_learns_the_best_action(method):
    # The scale of a Beta policy is made of weights, not of one parameter, and falls more slowly.
    options = {"learning_rate": 1e-2} if method == "ppo-beta" else {}
    trainer = train(method, iterations=150, **options)
    assert all(agent.log.step == agent.config.total_steps for agent in trainer.agents)
    for agent in trainer.agents:
        assert agent.policy is not None
        acted = [float(agent.policy(np.array([x], np.float32))[0]) for x in (-1.0, 1.0)]
        # What is sampled is best when its mean is, and that of a Gumbel policy lies Euler's
        # constant times its scale above the mode by which it acts here.
        mean = np.array(acted)
        if "gumbel" in method:
            mean += np.euler_gamma * np.exp(agent.policy.tensors["log_std"])
        np.testing.assert_allclose(mean, [-0.5, 0.5], atol=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["laplace", "gumbel", "gumbel-centered", "gaussian"])
def test_every_noise_family_trains(noise):
    trainer = train("rpo", iterations=2, noise=noise)
    for agent in trainer.agents:
        assert agent.policy is not None and np.isfinite(agent.policy.tensors["log_std"]).all()


def test_schedules_at_their_ends_and_in_the_middle():
    # Halfway: 1 − ½, and ½(1 + cos π/2).
    expected = {
        "constant": (3.0, 3.0, 3.0),
        "linear": (3.0, 1.5, 0.0),
        "cosine": (3.0, 1.5, 0.0),
        "std": (3.0, 3.0, 3.0),
    }
    assert set(expected) == set(SCHEDULES)
    for name, values in expected.items():
        found = [scheduled(3.0, name, progress) for progress in (0.0, 0.5, 1.0)]
        np.testing.assert_allclose(found, values, atol=1e-12)
    # A quarter of the way the cosine has lost (1 − cos π/4)/2 of it.
    lost = (1 - math.sqrt(0.5)) / 2
    assert scheduled(1.0, "cosine", 0.25) == pytest.approx(1 - lost)


def test_alpha_and_entropy_are_annealed_over_the_updates_and_others_stay():
    steps = 10 * 2048
    annealed = make_config(
        "t", "rpo-annealed", steps=steps, entropy_coef=0.1, entropy_schedule="linear"
    )
    cosine = make_config("t", "rpo", steps=steps, alpha_schedule="cosine")
    own = make_config("t", "rpo", steps=steps, alpha_schedule="std", log_std_min=-1.5)
    for iteration in range(11):
        numbers = coefficients_at([annealed, cosine, own], [iteration] * 3)
        share = iteration / 10
        half = 0.5 * (1 + math.cos(math.pi * share))
        np.testing.assert_allclose(
            numbers.alpha, [0.5 * (1 - share), 0.5 * half, 0.5], rtol=1e-6, atol=1e-8
        )
        np.testing.assert_allclose(
            numbers.entropy_coef, [0.1 * (1 - share), 0, 0], rtol=1e-6, atol=1e-8
        )
        assert numbers.alpha_relative.tolist() == [False, False, True]
        assert numbers.log_std_min.tolist() == [-math.inf, -math.inf, -1.5]


def test_the_recorded_alpha_is_the_one_in_force():
    events = []
    train("rpo-annealed", iterations=4, seeds=(0,), events=events)
    alphas = [event["alpha"] for event in events if event["kind"] == "iteration"]
    np.testing.assert_allclose(alphas, [0.5, 0.375, 0.25, 0.125], rtol=1e-6)


def test_rad_scales_all_that_enters_the_agent_and_leaves_its_ratios_at_one():
    seen = []

    def inspect(iterations, population, rollout, coefficients):
        seen.append(jax.tree.map(np.array, rollout))

    events = []
    options = {"update_epochs": 1, "num_minibatches": 1}
    train("rad-ppo", iterations=3, seeds=(0,), events=events, inspect=inspect, **options)
    for rollout in seen:
        # The probe shows −1 or 1, so what enters is the factor, with its sign.
        rows = rollout.transitions
        factor = np.abs(rows.obs[rows.valid])
        assert factor.min() >= 0.6 and factor.max() <= 1.2 and factor.std() > 0.1
        last = np.abs(rollout.last_obs)
        assert last.min() >= 0.6 and last.max() <= 1.2
        assert len(np.unique(np.concatenate([factor.ravel(), last.ravel()]))) > 60
    # One minibatch, one epoch: the ratio is taken at the policy that collected, on the same rows.
    for event in events:
        if event["kind"] == "iteration":
            assert event["clip_fraction"] == 0 and abs(event["approx_kl"]) < 1e-6


def test_drac_leaves_collection_alone():
    plain, regularised = (train(method, iterations=1, seeds=(0,)) for method in ("ppo", "drac-ppo"))
    for name in ("obs", "episode_return"):
        np.testing.assert_array_equal(
            getattr(plain.population.collector, name),
            getattr(regularised.population.collector, name),
        )
    one, other = (t.population.learners.params.log_std for t in (plain, regularised))
    assert not np.array_equal(one, other)


def test_entropy_limits_by_hand():
    # Two dimensions, 2 and 4 wide, and one without bounds, taken to be 2 wide: volume 16.
    limits = entropy_limits((-1.0, 0.0, -math.inf), (1.0, 4.0, math.inf))
    np.testing.assert_allclose(limits.low, math.log(16 * 0.01**3))
    np.testing.assert_allclose(limits.high, math.log(16 * 10.0**3))
    assert limits.judge(limits.low - 1e-6) == "collapsed"
    assert limits.judge(limits.high + 1e-6) == "exploded"
    assert limits.judge(0.0) is None and limits.judge(math.nan) is None


@pytest.mark.parametrize(("entropy_coef", "kind"), [(10.0, "exploded"), (0.0, None)])
def test_an_exploding_entropy_is_reported_once_and_kept(entropy_coef, kind):
    events = []
    trainer = train(
        "ppo",
        iterations=60,
        seeds=(3,),
        events=events,
        entropy_coef=entropy_coef,
        learning_rate=0.05,
    )
    notes = [event for event in events if event["kind"] == "note"]
    alarms = trainer.agents[0].log.alarms
    if kind is None:
        assert notes == [] and alarms == {}
        return
    (note,) = notes
    assert kind in note["text"] and f"{alarms[kind]:,}" in note["text"]
    # The step at which the recorded entropy first passed log(10 · 2), the bounds being 2 apart.
    first = next(
        event["step"]
        for event in events
        if event["kind"] == "iteration" and event["entropy"] > math.log(20)
    )
    assert alarms == {kind: first}
    assert json.loads(json.dumps(trainer.agents[0].log.state()))["alarms"] == alarms


def test_a_floor_keeps_the_scale_where_plain_ppo_falls_below():
    floor = -0.5
    plain, kept = (
        train("ppo", iterations=60, log_std_min=least, learning_rate=1e-2)
        for least in (None, floor)
    )
    assert (np.asarray(plain.population.learners.params.log_std) < floor).all()
    assert (np.asarray(kept.population.learners.params.log_std) >= floor).all()
    assert jnp.isclose(kept.population.learners.params.log_std, floor, atol=0.1).any()
