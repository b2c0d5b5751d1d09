"""Intervals of proportions against published and independent numbers, and what they cover."""

import math

import numpy as np
import pytest
from scipy import stats

from robustpo.statistics.means import permutation_p
from robustpo.statistics.proportions import (
    effective_trials,
    proportion_difference,
    proportion_interval,
    wilson,
)


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (3, 5), (5, 5), (17, 60), (99, 100)])
def test_wilson_is_scipys(successes, trials):
    found = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes / trials, trials) == pytest.approx((found.low, found.high), abs=1e-12)


def test_newcombes_table():
    """Newcombe (1998), table II, method 10: 56/70 − 48/80 is 0.0524 to 0.3339, and others.

    Runs of one episode each, of which some succeed, are worth as many trials as there are.
    """
    for (a, n), (b, m), ends in (
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
    ):
        difference = proportion_difference([1] * a + [0] * (n - a), [1] * b + [0] * (m - b), 1)
        assert difference.mean == pytest.approx(a / n - b / m)
        assert (difference.low, difference.high) == pytest.approx(ends, abs=5e-5)


def test_effective_trials_by_hand():
    values = [0.4, 0.5, 0.6]
    # Variance 0.01 of a run, 0.01/3 of the mean; p (1 − p) = 0.25; (1.9600 / 4.3027)² = 0.20750.
    assert effective_trials(values, 100) == pytest.approx(75 * 0.20750, rel=1e-4)
    # No fewer than the runs: none or all of a run's episodes is the widest there is.
    assert effective_trials([0.0, 1.0], 100) == 2
    # No more than the episodes.
    assert effective_trials([0.5, 0.5, 0.5], 100) == 300
    assert effective_trials([1.0, 1.0], 100) == 200


def test_intervals_stay_within_what_a_proportion_can_be():
    interval = proportion_interval([1.0] * 5, 100)
    assert interval.high == 1 and 0.98 < interval.low < 1
    assert proportion_interval([0.0] * 5, 100).low == 0
    one = proportion_interval([0.5], 100)
    assert one.mean == 0.5 and math.isnan(one.low)
    assert math.isnan(proportion_interval([], 100).mean)
    assert math.isnan(proportion_difference([], [1.0], 100).mean)


def test_the_test_is_over_runs_and_not_over_episodes():
    """Five runs of none against five of all: 2 of 252 divisions are as far apart."""
    difference = proportion_difference([1.0] * 5, [0.0] * 5, 100)
    assert difference.p_value == pytest.approx(2 / 252)
    a, b = [0.9, 1.0, 0.8, 0.95, 0.9], [0.5, 0.9, 0.7, 0.6, 1.0]
    assert proportion_difference(a, b, 100).p_value == permutation_p(a, b)


@pytest.mark.parametrize(("centre", "spread"), [(0.5, 5.0), (0.8, 20.0), (0.95, 10.0)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(centre, spread):
    """Runs whose success rates are Beta around `centre`, of 100 episodes each, five of them."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        rates = rng.beta(centre * spread, (1 - centre) * spread, 5)
        interval = proportion_interval((rng.binomial(100, rates) / 100).tolist(), 100)
        held += interval.low <= centre <= interval.high
    # 2,000 draws err by 0.01.
    assert 0.90 <= held / 2000 <= 0.99
