"""RPO in Brax's PPO: held to the suite, and as its users use it."""

import jax
import pytest

pytest.importorskip("brax", reason="pip install 'robustpo[mjx]'")

from brax.training.agents.ppo import losses

from brax_ppo.brax_subject import Brax, settings
from robustpo.conformance import CHECKS, Runs
from robustpo.errors import ConfigError
from robustpo.integrations import brax

RUNS = Runs(Brax())


@pytest.mark.stacks
@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_rpo_conforms(check):
    RUNS.require(check)


@pytest.mark.stacks
def test_alpha_may_be_a_function_and_brax_is_left_as_it_was():
    plain, had = losses.compute_ppo_loss, hasattr(jax, "device_put_replicated")
    seen = []

    def alpha(left):
        jax.debug.callback(lambda value: seen.append(float(value)), left)
        return 0.5 * left

    brax.train(**settings(1, 0, 3), alpha=alpha)
    jax.effects_barrier()
    # The observations of an iteration are counted before its update.
    assert sorted({round(value, 3) for value in seen}) == [0.0, 0.333, 0.667]
    assert losses.compute_ppo_loss is plain and hasattr(jax, "device_put_replicated") == had


def test_what_cannot_be_is_refused():
    plain = losses.compute_ppo_loss
    with pytest.raises(ConfigError, match="alpha=-1"):
        brax.train(**settings(1, 0, 1), alpha=-1)
    with pytest.raises(ConfigError, match="normalize_until_count=5 ends the count"):
        brax.train(**settings(1, 0, 1), alpha=lambda left: left, normalize_until_count=5)
    with pytest.raises(ConfigError, match="restore_params brings a count of its own"):
        brax.train(**settings(1, 0, 1), alpha=lambda left: left, restore_params=())
    with pytest.raises(TypeError):
        brax.train(**settings(1, 0, 1), no_such_option=1)
    assert losses.compute_ppo_loss is plain
