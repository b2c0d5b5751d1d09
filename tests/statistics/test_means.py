"""Statistics against numbers derived by hand and against simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from robustpo.statistics.means import (
    coverage_of_two_outcomes,
    holm,
    mean_interval,
    permutation_p,
    welch,
)


def test_mean_interval_by_hand():
    interval = mean_interval([1, 2, 3])
    # t_{0.975, 2} = 4.302653 from any table; s = 1.
    half = 4.302653 / math.sqrt(3)
    assert (interval.count, interval.mean, interval.std) == (3, 2.0, 1.0)
    assert interval.low == pytest.approx(2 - half, abs=1e-6)
    assert interval.high == pytest.approx(2 + half, abs=1e-6)


def test_mean_interval_of_too_few_values_is_unknown():
    one = mean_interval([7.0])
    assert one.mean == 7.0
    assert all(math.isnan(x) for x in (one.std, one.low, one.high))
    none = mean_interval([])
    assert none.count == 0
    assert math.isnan(none.mean)


def test_mean_interval_covers_the_mean_as_often_as_it_says():
    rng, trials = np.random.default_rng(1), 2000
    intervals = [mean_interval(rng.normal(3.0, 2.0, size=5).tolist()) for _ in range(trials)]
    covered = np.mean([i.low <= 3.0 <= i.high for i in intervals])
    # Four standard deviations of a binomial share.
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials)


def test_welch_by_hand_with_equal_variances():
    difference = welch([10, 12], [0, 2])
    # Variances 2 and 2: se² = 2/2 + 2/2 = 2, df = 2² / (1²/1 + 1²/1) = 2, t = 10/√2.
    half = 4.302653 * math.sqrt(2)
    t = 10 / math.sqrt(2)
    assert difference.mean == 10
    assert difference.low == pytest.approx(10 - half, abs=1e-5)
    assert difference.high == pytest.approx(10 + half, abs=1e-5)
    # With two degrees of freedom the two-sided p-value is 1 - t / √(2 + t²).
    assert difference.p_value == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-9)


def test_welch_by_hand_with_unequal_variances():
    difference = welch([1, 2, 3, 4, 5], [2, 4, 6, 8, 10])
    # Variances 2.5 and 10: se² = 0.5 + 2 = 2.5, df = 2.5² / (0.5²/4 + 2²/4) = 6.25 / 1.0625.
    df, error = 6.25 / 1.0625, math.sqrt(2.5)
    half = stats.t.ppf(0.975, df) * error
    assert difference.mean == -3
    assert difference.low == pytest.approx(-3 - half)
    assert difference.high == pytest.approx(-3 + half)
    assert difference.p_value == pytest.approx(2 * stats.t.sf(3 / error, df))


def test_welch_covers_the_difference_about_as_often_as_it_says():
    rng, trials = np.random.default_rng(2), 1000
    pairs = [
        welch(rng.normal(5, 1, 5).tolist(), rng.normal(2, 4, 5).tolist()) for _ in range(trials)
    ]
    covered = np.mean([d.low <= 3.0 <= d.high for d in pairs])
    # Welch's interval is approximate: a share of 1% beyond the binomial's four deviations.
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials) + 0.01


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("a", "b", "mean", "p_value"),
    [
        ([5, 5, 5], [5, 5, 5], 0.0, 1.0),
        ([1000, 1000], [0, 0], 1000.0, math.nan),
        ([0.1 + 0.2] * 5, [0.3] * 5, 0.0, 1.0),
        ([4.0], [1.0, 2.0, 3.0], 2.0, math.nan),
        ([4.0], [4.0], 0.0, math.nan),
    ],
)
def test_welch_without_an_estimate_of_error_has_no_interval(a, b, mean, p_value):
    difference = welch(a, b)
    assert difference.mean == pytest.approx(mean, abs=1e-12)
    assert math.isnan(difference.low)
    assert math.isnan(difference.high)
    assert difference.p_value == pytest.approx(p_value, nan_ok=True)


def test_welch_with_variance_in_one_sample_only():
    # se² = 1/3 with the two degrees of freedom of the sample that varies.
    difference = welch([1, 2, 3], [7, 7, 7])
    half = 4.302653 / math.sqrt(3)
    assert (difference.low, difference.high) == pytest.approx((-5 - half, -5 + half), abs=1e-5)


def test_holm_by_hand():
    # Ordered: 0.005·4, 0.01·3, 0.03·2, 0.04·1, each at least its predecessor.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    first, undefined = holm([0.02, math.nan])
    assert first == pytest.approx(0.04)
    assert math.isnan(undefined)


def test_permutation_test_by_hand():
    # Of 20 divisions of 1…6 into threes, only 1 2 3 | 4 5 6 and its mirror are 9 apart.
    assert permutation_p([1, 2, 3], [4, 5, 6]) == pytest.approx(2 / 20)
    assert permutation_p([1, 2], [1, 2]) == 1
    assert permutation_p(range(5), range(10, 15)) == pytest.approx(2 / 252)
    assert math.isnan(permutation_p([], [1.0]))


def test_permutation_test_of_many_runs_draws_the_same_divisions_again():
    numbers = np.random.default_rng(5)
    first, second = numbers.normal(0.5, 1, 10), numbers.normal(0, 1, 10)
    found = permutation_p(first.tolist(), second.tolist())
    assert found == permutation_p(first.tolist(), second.tolist())
    # All 184,756 divisions, as sums.
    both = np.concatenate([first, second])
    sums = np.array([sum(c) for c in itertools.combinations(both, 10)])
    distance = np.abs(sums - both.sum() / 2)
    exact = float((distance >= abs(first.sum() - both.sum() / 2) - 1e-9).mean())
    assert found == pytest.approx(exact, abs=5 * math.sqrt(exact * (1 - exact) / 9_999))


def test_two_outcomes_are_covered_as_often_as_simulated():
    # 7 in 10 solve it: all five do in 0.7⁵ = 16.8% and none in 0.2%, where there is no width; the
    # other intervals hold 0.7, the shortest being 0.2 + 2.776 · 0.2 = 0.755.
    assert coverage_of_two_outcomes(5, 0.7) == pytest.approx(1 - 0.7**5 - 0.3**5)
    numbers, trials = np.random.default_rng(1), 20_000
    solved = numbers.random((trials, 5)) < 0.7
    returns = np.where(solved, 800.0, 20.0) + numbers.normal(0, 20, solved.shape)
    half = stats.t.ppf(0.975, 4) * returns.std(axis=1, ddof=1) / math.sqrt(5)
    hits = np.abs(returns.mean(axis=1) - (0.7 * 800 + 0.3 * 20)) <= half
    assert hits.mean() == pytest.approx(0.83, abs=0.01)
