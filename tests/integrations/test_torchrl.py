"""RPO in TorchRL as its users use it."""

import pytest
import torch
from tensordict import TensorDict
from torchrl.modules import ValueOperator
from torchrl.objectives import ClipPPOLoss

from integrations.torchrl_subject import make_actor
from robustpo.errors import ConfigError
from robustpo.integrations.torchrl import ClipRPOLoss
from robustpo.torch import perturbed_log_prob

ROWS = 512


def make(kind=ClipRPOLoss, **options):
    torch.manual_seed(0)
    actor = make_actor(2)
    critic = ValueOperator(torch.nn.Linear(3, 1), in_keys=["observation"])
    loss = kind(actor, critic, entropy_coeff=0.01, **options)
    given = TensorDict({"observation": torch.randn(ROWS, 3)}, [ROWS])
    with torch.no_grad():
        data = actor(given)
    data["advantage"], data["value_target"] = torch.randn(ROWS, 1), torch.randn(ROWS, 1)
    kept = ("observation", "action", "action_log_prob", "advantage", "value_target")
    return loss, data.select(*kept)


def test_alpha_zero_is_ppo_bit_for_bit_and_alpha_is_not():
    wanted, data = make(ClipPPOLoss)
    zero, _ = make(alpha=0.0)
    noisy, _ = make(alpha=0.5)
    plain, found, moved = (loss(data) for loss in (wanted, zero, noisy))
    for name in ("loss_objective", "loss_critic", "loss_entropy", "entropy", "kl_approx"):
        assert torch.equal(plain[name], found[name]), name
    assert not torch.equal(plain["loss_objective"], moved["loss_objective"])
    # Neither knows of the noise.
    for name in ("entropy", "loss_critic"):
        assert torch.equal(plain[name], moved[name])
    assert abs(float(moved["kl_approx"] - plain["kl_approx"])) < 1e-5


def test_the_order_of_minibatches_is_left_alone():
    loss, data = make()
    state = torch.random.get_rng_state()
    loss(data)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_alpha_is_a_buffer_that_is_saved_and_annealed():
    loss, data = make(alpha=0.3)
    loss.alpha.copy_(0.1)
    other, _ = make(alpha=0.5)
    other.load_state_dict(loss.state_dict())
    assert float(other.alpha) == pytest.approx(0.1)
    loss.alpha.copy_(0.0)
    plain, _ = make(ClipPPOLoss)
    assert torch.equal(loss(data)["loss_objective"], plain(data)["loss_objective"])


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="alpha=-1"):
        make(alpha=-1)
    # Whatever its shape: that is not what is wrong with it.
    policy = torch.distributions.OneHotCategorical(torch.ones(5, 2))
    with pytest.raises(ConfigError, match="OneHotCategorical has no location"):
        perturbed_log_prob(policy, torch.ones(5), 0.5)
