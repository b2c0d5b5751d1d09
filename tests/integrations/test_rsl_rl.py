"""RPO in rsl_rl as its users use it."""

import pytest
import torch
from rsl_rl.algorithms import PPO
from rsl_rl.runners import OnPolicyRunner

from integrations import rsl_rl_subject
from integrations.rsl_rl_subject import Contexts, RslRl, WatchedPPO, config
from robustpo.conformance import NotConforming, Runs
from robustpo.conformance.update import kl_control
from robustpo.errors import ConfigError

NAME = "robustpo.integrations.rsl_rl:RPO"


def train(kind=NAME, iterations=3, compiled=None, settings=None, **options):
    torch.manual_seed(5)
    settings = settings or config(kind, 0.01, **options)
    settings |= {"torch_compile_mode": compiled} if compiled else {}
    runner = OnPolicyRunner(Contexts(2, 5), settings, log_dir=None, device="cpu")
    runner.learn(iterations)
    return runner


def parameters(runner):
    return {name: x.clone() for name, x in runner.alg.get_policy().state_dict().items()}


def test_it_is_named_in_a_config_and_alpha_zero_is_ppo_bit_for_bit():
    plain, zero = parameters(train("PPO")), parameters(train(rpo_alpha=0.0))
    noisy = parameters(train(rpo_alpha=0.5))
    assert all(torch.equal(x, zero[name]) for name, x in plain.items())
    assert any(not torch.equal(x, noisy[name]) for name, x in plain.items())


def test_a_schedule_is_saved_and_loaded(tmp_path):
    schedule = {"rpo_alpha": 0.4, "rpo_alpha_schedule": "linear", "rpo_alpha_updates": 4}
    runner = train(iterations=1, **schedule)
    assert runner.alg.rpo_alpha == pytest.approx(0.3)
    runner.save(str(tmp_path / "model.pt"))
    other = train(iterations=0, **schedule)
    assert other.alg.rpo_alpha == 0.4
    other.load(str(tmp_path / "model.pt"))
    assert other.alg.rpo_alpha == pytest.approx(0.3)
    other.learn(9)
    assert other.alg.rpo_alpha == 0.0
    # What PPO has saved is loaded too.
    train("PPO", iterations=1).save(str(tmp_path / "ppo.pt"))
    other.load(str(tmp_path / "ppo.pt"))


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")
def test_compiled_networks_are_perturbed_too():
    options = {"compiled": "default", "iterations": 1}
    noisy, zero = (parameters(train(rpo_alpha=alpha, **options)) for alpha in (0.5, 0.0))
    assert any(not torch.equal(x, noisy[name]) for name, x in zero.items())


def test_what_cannot_be_is_refused():
    for options, words in (
        ({"rpo_alpha": -1.0}, "rpo_alpha=-1"),
        ({"rpo_alpha_schedule": "std"}, "rpo_alpha_schedule='std' is unknown; choose one of"),
        ({"rpo_alpha_schedule": "linear"}, "rpo_alpha_updates=0"),
    ):
        with pytest.raises(ConfigError, match=words):
            train(**options)
    settings = config(NAME)
    settings["actor"]["distribution_cfg"] = {"class_name": "BetaDistribution"}
    with pytest.raises(ConfigError, match="BetaDistribution has no location"):
        train(settings=settings)


def test_after_an_update_the_policy_is_plain():
    runner = train(iterations=1)
    actor = runner.alg.get_policy()
    assert "get_output_log_prob" not in vars(actor)
    observations = runner.env.get_observations()
    actor(observations, stochastic_output=True)
    actions = torch.zeros(48, 2)
    mean, std = actor.output_distribution_params
    wanted = torch.distributions.Normal(mean, std).log_prob(actions).sum(-1)
    torch.testing.assert_close(actor.get_output_log_prob(actions), wanted)


class Naive(WatchedPPO):
    """The mean is shifted in the update, and so the divergence that steers it sees the noise."""

    def __init__(self, *arguments, rpo_alpha, **options):
        super().__init__(*arguments, **options)
        self.rpo_alpha = rpo_alpha

    def update(self):
        family = self._raw_actor.distribution
        plain = family.update

        def shifted(output):
            plain(output + self.rpo_alpha * (2 * torch.rand_like(output) - 1))

        family.update = shifted
        try:
            return super().update()
        finally:
            del family.update


def test_without_the_plain_divergence_the_learning_rate_falls(monkeypatch):
    kl_control(Runs(RslRl()))
    monkeypatch.setattr(rsl_rl_subject, "WatchedRPO", Naive)
    with pytest.raises(NotConforming, match="it sees the noise"):
        kl_control(Runs(RslRl()))
    assert issubclass(Naive, PPO)
