"""RPO in RLlib: held to the suite, and as its users use it."""

import pytest
import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.ppo import PPOConfig

from rllib_ppo import rllib_subject
from rllib_ppo.rllib_subject import Rllib
from robustpo.conformance import CHECKS, NotConforming, Runs
from robustpo.conformance.draws import over_learners
from robustpo.errors import ConfigError
from robustpo.integrations.rllib import RPOTorchLearner

# RLlib warns of what it does itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Overriding environment:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
RUNS = Runs(Rllib())


@pytest.fixture(scope="module", autouse=True)
def cluster():
    yield
    ray.shutdown()


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_rpo_conforms(check):
    RUNS.require(check)


def config(task="Pendulum-v1", **settings):
    return (
        PPOConfig()
        .environment(task)
        .env_runners(num_env_runners=0)
        .training(train_batch_size_per_learner=256, minibatch_size=128, num_epochs=2)
        .learners(learner_class=RPOTorchLearner, learner_config_dict=settings)
        .debugging(seed=4)
    )


def alpha_of(algorithm):
    (found,) = algorithm.learner_group.foreach_learner(lambda x: float(x.alpha))
    return found.get()


def seed_of(algorithm):
    (found,) = algorithm.learner_group.foreach_learner(lambda x: x._noise.initial_seed())
    return found.get()


def test_a_schedule_runs_by_steps_and_goes_on_after_a_checkpoint(tmp_path):
    algorithm = config(rpo_alpha=[[0, 0.5], [1024, 0.1]]).build_algo()
    seen = []
    for _ in range(3):
        result = algorithm.train()
        seen.append(alpha_of(algorithm))
        shown = result["learners"]["default_policy"]["rpo_alpha"]
        assert shown == pytest.approx(seen[-1])
    # The 256, 512 and 768 steps of which each update is made.
    assert seen == pytest.approx([0.4, 0.3, 0.2])
    again = Algorithm.from_checkpoint(algorithm.save_to_path(str(tmp_path / "kept")))
    for one in (algorithm, again):
        one.train()
        assert alpha_of(one) == pytest.approx(0.1)
    # The noise of that update is what it would have been.
    assert seed_of(again) == seed_of(algorithm)
    for one in (algorithm, again):
        one.stop()


@pytest.mark.parametrize(
    ("task", "settings", "words"),
    [
        ("Pendulum-v1", {"rpo_alpha": -1.0}, "alpha=-1"),
        ("Pendulum-v1", {"rpo_alpha": "0.5"}, "alpha='0.5'"),
        ("Pendulum-v1", {"rpo_alpha": [[0, 0.5], [10, -0.5]]}, "alpha=-0.5"),
        ("Pendulum-v1", {"rpo_alpha": [[5, 0.5], [10, 0.1]]}, "first timestep must be 0"),
        ("Pendulum-v1", {"rpo_alpha": [0, 0.5]}, r"rpo_alpha=\[0, 0.5\] is not valid"),
        ("Pendulum-v1", {"alpha": 0.1}, "has 'alpha'; did you mean 'rpo_alpha'"),
        ("CartPole-v1", {}, "Discrete"),
    ],
)
def test_what_cannot_be_is_refused(task, settings, words):
    with pytest.raises(ConfigError, match=words):
        config(task, **settings).build_algo()


def test_noise_from_the_seed_alone_is_alike_in_all_learners(monkeypatch):
    monkeypatch.setattr(rllib_subject, "WatchedRPO", rllib_subject.AlikeRPO)
    with pytest.raises(NotConforming, match="learners"):
        over_learners(Runs(Rllib()))
