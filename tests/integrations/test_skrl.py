"""RPO in skrl as its users use it, and what skrl's own is found to be."""

import pytest
import torch
from skrl.agents.torch.ppo import PPO
from skrl.models.torch import DeterministicMixin
from skrl.resources.schedulers.torch import KLAdaptiveLR

from integrations.skrl_subject import Perturbing, Policy, Skrl, Value, Watched, learn, make
from robustpo.conformance import Runs, conformance
from robustpo.conformance.report import FAILED
from robustpo.conformance.update import kl_control
from robustpo.errors import ConfigError
from robustpo.integrations.skrl import RPO

STEERED = {
    "learning_rate_scheduler": KLAdaptiveLR,
    "learning_rate_scheduler_kwargs": {"kl_threshold": 0.01},
}


def trained(kind, iterations=3, **options):
    agent, env = make(kind, **options)
    learn(agent, env, iterations)
    return agent


def parameters(agent):
    return {name: x.clone() for name, x in agent.policy.state_dict().items()}


@pytest.mark.parametrize("options", [{}, {"kl_threshold": 0.005}, STEERED])
def test_alpha_zero_is_ppo_bit_for_bit_and_alpha_is_not(options):
    plain, zero = trained(PPO, **options), trained(RPO, alpha=0.0, **options)
    noisy = parameters(trained(RPO, alpha=0.5, **options))
    for name, array in parameters(plain).items():
        assert torch.equal(array, parameters(zero)[name]), name
    assert any(not torch.equal(x, noisy[name]) for name, x in parameters(plain).items())
    rates = [agent.optimizer.param_groups[0]["lr"] for agent in (plain, zero)]
    assert rates[0] == rates[1]


def test_it_is_saved_loaded_and_plain_after_an_update(tmp_path):
    agent = trained(RPO, iterations=1, kl_threshold=0.01, alpha=0.4)
    agent.save(str(tmp_path / "agent.pt"))
    other, _ = make(RPO, seed=6, alpha=0.1)
    other.load(str(tmp_path / "agent.pt"))
    # Of the second update, so that a session that goes on draws other noise than the first.
    assert (other.alpha, other.updates) == (0.4, 1)
    mine, _ = make(RPO, seed=6, alpha=lambda left: 0.1 * left)
    mine.load(str(tmp_path / "agent.pt"))
    assert callable(mine.alpha) and mine.updates == 1
    for name, array in parameters(agent).items():
        assert torch.equal(array, parameters(other)[name])
    assert agent.cfg.kl_threshold == 0.01
    assert "act" not in vars(agent.policy) and "sample" not in vars(agent.memory)


def test_a_schedule_is_a_function_of_what_is_left():
    seen = []

    def alpha(left):
        seen.append(left)
        return 0.5 * left

    trained(RPO, iterations=3, alpha=alpha)
    assert seen == sorted(seen, reverse=True) and seen[0] < 1 and len(seen) == 3


class NoGaussian(DeterministicMixin, Policy):
    """Has no distribution."""


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="alpha=-1"):
        make(RPO, alpha=-1.0)
    with pytest.raises(ConfigError, match="Value has no location"):
        make(RPO, policy=Value)


class Naive(Watched, PPO):
    """The actions are shifted, and so the divergence that steers the rate sees the noise."""

    def __init__(self, *arguments, alpha, **options):
        super().__init__(*arguments, **options)
        self.alpha = alpha

    def update(self, *, timestep, timesteps):
        act = self.policy.act

        def shifted(inputs, *, role=""):
            if "taken_actions" in inputs:
                actions = inputs["taken_actions"]
                noise = self.alpha * (2 * torch.rand_like(actions) - 1)
                inputs = {**inputs, "taken_actions": actions - noise}
            return act(inputs, role=role)

        self.policy.act = shifted
        super().update(timestep=timestep, timesteps=timesteps)
        del self.policy.act


def test_without_the_plain_divergence_the_learning_rate_falls():
    kl_control(Runs(Skrl()))

    def rate(kind):
        agent = trained(kind, alpha=0.5, action_size=1, **STEERED)
        return agent.optimizer.param_groups[0]["lr"]

    assert rate(Naive) < rate(RPO) / 3


def test_skrls_own_rpo_is_not_rpo():
    """With the policy that it documents noise is everywhere; with PPO's policy it is nowhere."""

    def failed(policy):
        return {one.check.name for one in conformance(Skrl(policy)) if one.outcome == FAILED}

    assert failed(Perturbing) == {
        "first-rollout",
        "stored-log-prob",
        "rollout-actions",
        "evaluation",
        "alpha-zero",
        "kl-control",
    }
    assert failed(Policy) >= {
        "uniform",
        "fresh-rows",
        "fresh-epochs",
        "first-moment",
        "second-moment",
        "alpha-acts",
    }
