"""Running moments against the formula over all samples at once, and against Gymnasium's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.wrappers.utils import RunningMeanStd

from robustpo.algorithm.normalization import (
    MAX_SAMPLES,
    RunningMoments,
    normalize_observation,
    normalize_reward,
)

PRIOR = 1e-4


@jax.jit
def take_in(moments, samples, valid):
    """Update step by step with `[T, E, ...]`."""

    def step(moments, row):
        return moments.update_valid(*row), None

    return jax.lax.scan(step, moments, (samples, valid))[0]


@jax.jit
def take_in_all(moments, samples):
    """Update step by step with `[T, E, ...]`, all of them valid."""
    return jax.lax.scan(lambda m, row: (m.update(row), None), moments, samples)[0]


def at_once(samples, first=0):
    """Mean and variance of all samples and a prior N(mean of the first, 1) that weighs 1e-4."""
    samples = np.asarray(samples, np.float64)
    start = samples[:first].mean(0) if first else 0.0
    count = len(samples) + PRIOR
    mean = (samples.sum(0) + PRIOR * start) / count
    square = ((samples - mean) ** 2).sum(0) + PRIOR * (1 + (start - mean) ** 2)
    return mean, square / count


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("size", [(), (4,)])
def test_moments_are_those_of_all_valid_samples(num_envs, size):
    rng = np.random.default_rng(0)
    samples = rng.normal(3.0, 2.0, (300, num_envs, *size)).astype(np.float32)
    valid = rng.random((300, num_envs)) < 0.8
    valid[[0, 5, 299]] = False
    moments = take_in(RunningMoments.create(size), samples, valid)
    mean, variance = at_once(samples[valid])
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(moments.variance, variance, rtol=1e-4)
    assert int(moments.count) == valid.sum()


@pytest.mark.parametrize("num_envs", [1, 3])
def test_moments_of_all_samples_are_those_with_every_sample_valid(num_envs):
    samples = np.random.default_rng(6).normal(3.0, 2.0, (300, num_envs, 4)).astype(np.float32)
    moments = take_in_all(RunningMoments.create((4,)), samples)
    mean, variance = at_once(samples.reshape(-1, 4), num_envs)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(moments.variance, variance, rtol=1e-4)
    assert int(moments.count) == 300 * num_envs


def test_moments_are_gymnasiums():
    rng = np.random.default_rng(1)
    samples = rng.normal([0, 5, -100], [1, 0.1, 30], (500, 4, 3)).astype(np.float32)
    gymnasiums = RunningMeanStd(epsilon=PRIOR, shape=(3,))
    # Gymnasium's prior has mean 0, which far from zero adds to the variance.
    gymnasiums.mean = np.float64(samples[0]).mean(0)
    ours = RunningMoments.create((3,))
    for step, row in enumerate(samples):
        gymnasiums.update(np.float64(row))
        ours = take_in_all(ours, row[None])
        if step in (0, 1, 10, 499):
            np.testing.assert_allclose(ours.mean, gymnasiums.mean, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(ours.variance, gymnasiums.var, rtol=1e-4)


def test_samples_that_are_not_valid_leave_no_trace():
    rng = np.random.default_rng(2)
    samples = rng.normal(size=(50, 3, 2)).astype(np.float32)
    valid = rng.random((50, 3)) < 0.6
    clean = take_in(RunningMoments.create((2,)), samples, valid)
    for poison in (1e30, np.nan, np.inf):
        poisoned = np.where(valid[..., None], samples, np.float32(poison))
        jax.tree.map(
            np.testing.assert_array_equal,
            take_in(RunningMoments.create((2,)), poisoned, valid),
            clean,
        )


def test_before_any_sample_the_moments_are_the_prior():
    moments = take_in(RunningMoments.create((2,)), np.ones((3, 2, 2)), np.zeros((3, 2), bool))
    np.testing.assert_array_equal(moments.mean, [0, 0])
    np.testing.assert_array_equal(moments.variance, [1, 1])
    assert int(moments.count) == 0


def test_small_increments_are_not_lost_after_millions_of_samples():
    rng = np.random.default_rng(3)
    before = 3_000_000
    samples = rng.normal(100.5, 2.0, (20_000, 1)).astype(np.float32)
    zero = jnp.float32(0)
    start = RunningMoments(jnp.float32(100), jnp.float32(1), zero, zero, jnp.int32(before))
    found = take_in_all(start, samples)
    exact = RunningMeanStd(epsilon=before + PRIOR)
    exact.mean = np.float64(100)
    for sample in np.asarray(samples, np.float64):
        exact.update(sample)
    # One increment to the mean is 2e-7 and the last bit of a float32 near 100 is 8e-6: a plain
    # sum stays at 100, where the true mean moves by 0.0033.
    assert exact.mean - 100 > 0.003
    np.testing.assert_allclose(found.mean, exact.mean, atol=8e-6)
    np.testing.assert_allclose(found.variance, exact.var, rtol=1e-6)


def test_moments_stay_exact_over_a_long_stream_far_from_zero():
    rng = np.random.default_rng(4)
    samples = rng.normal([1000, -0.001], [1, 1e-3], (200_000, 1, 2)).astype(np.float32)
    moments = take_in_all(RunningMoments.create((2,)), samples)
    mean, variance = at_once(samples[:, 0], 1)
    np.testing.assert_allclose(moments.mean, mean, rtol=2e-6, atol=1e-8)
    np.testing.assert_allclose(moments.variance, variance, rtol=1e-3)


def test_the_count_stops_where_its_type_ends_and_what_is_written_can_be_read():
    zero, one = jnp.float32(0), jnp.float32(1)
    moments = RunningMoments(zero, one, zero, zero, jnp.int32(2**31 - 131))
    counts = []
    for _ in range(3):
        moments = take_in_all(moments, jnp.full((1, 2), 1e6))
        counts.append(int(moments.count))
    assert counts == [2**31 - 129, MAX_SAMPLES, MAX_SAMPLES]
    # Policy files keep it as float32, and read whole numbers below 2³¹.
    assert int(np.float32(MAX_SAMPLES)) == MAX_SAMPLES < 2**31
    # Each pair of samples has a weight of 2/2³¹ still.
    np.testing.assert_allclose(moments.mean, 3 * 2 * 1e6 / 2**31, rtol=1e-5)
    np.testing.assert_allclose(moments.variance, 1 + 3 * 2 * 1e12 / 2**31, rtol=1e-4)


@pytest.mark.parametrize("offset", [1e3, 1e5, -1e6])
def test_how_far_from_zero_samples_lie_adds_nothing_to_their_variance(offset):
    rng = np.random.default_rng(7)
    samples = (offset + rng.normal(0, 0.5, (1000, 1, 1))).astype(np.float32)
    moments = take_in_all(RunningMoments.create((1,)), samples)
    # A prior mean of 0 would add 1e-4 · offset²/1000: 0.1 to 1e5 where 0.25 is right.
    np.testing.assert_allclose(moments.variance, samples.var(dtype=np.float64), rtol=1e-2)
    constant = take_in_all(RunningMoments.create((1,)), np.full((100, 1, 1), offset, np.float32))
    np.testing.assert_allclose(constant.variance, PRIOR / (100 + PRIOR), rtol=1e-3)
    assert normalize_observation(jnp.float32([offset]), constant) == 0


def some_moments(mean, variance):
    mean, variance = jnp.float32(mean), jnp.float32(variance)
    zero = jnp.zeros_like(mean)
    return RunningMoments(mean, variance, zero, zero, jnp.int32(10))


def test_observations_become_standard_scores_clipped_at_ten():
    moments = some_moments([1.0, -2.0, 0.0], [4.0, 0.25, 0.0])
    obs = jnp.array([[3.0, -2.5, 0.0], [100.0, -100.0, 1e-3]])
    # With variance 0 the scale is √1e-8 = 1e-4, and 1e-3 lies exactly at the clip.
    expected = [[1.0, -1.0, 0.0], [10.0, -10.0, 10.0]]
    np.testing.assert_allclose(normalize_observation(obs, moments), expected, rtol=1e-5, atol=1e-6)


def test_rewards_are_scaled_clipped_and_keep_their_mean():
    moments = some_moments(50.0, 16.0)
    reward = jnp.array([0.0, 2.0, -4.0, 1e6, -1e6])
    expected = [0.0, 0.5, -1.0, 10.0, -10.0]
    np.testing.assert_allclose(normalize_reward(reward, moments), expected, rtol=1e-5)
