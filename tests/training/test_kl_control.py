"""What `target_kl` does to a run: it goes by the plain policy, which noise does not move."""

import numpy as np

from training.populations import assert_same_bits, small, train


def learned(targets, **options):
    """Train agents that differ in `target_kl` alone; return what they learned, and their KL."""
    results = train([small("rpo", target_kl=target, **options) for target in targets])
    return [x["learner"] for x in results], [x["approx_kl"] for x in results[0]["reported"]]


def test_noise_alone_stops_no_update():
    # In the perturbed density the policy is 0.042 nats away before any step.
    (stopped, free), moved = learned([0.02, None])
    assert len(moved) == 3 and 0 < max(moved) < 0.02
    assert_same_bits(stopped, free)
    (one_epoch,), _ = learned([None], update_epochs=1)
    assert not np.array_equal(stopped.params.log_std, one_epoch.params.log_std)


def test_an_update_stops_exactly_where_the_plain_policy_has_moved_that_far():
    (one_epoch,), (kl,) = learned([None], update_epochs=1, steps=64)
    (stopped, gone_on, free), _ = learned([kl * 0.999, kl * 1.001, None], steps=64)
    assert_same_bits(stopped, one_epoch)
    assert_same_bits(gone_on, free)
    assert not np.array_equal(one_epoch.params.log_std, free.params.log_std)
