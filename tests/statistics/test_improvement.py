"""The interval of P(better): on one task by hand, over tasks, and how often it holds the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from robustpo.statistics.improvement import improvement_interval, mean_improvement

LOW = [10.0, 11.0, 12.0, 13.0, 14.0]
HIGH = [90.0, 91.0, 92.0, 93.0, 94.0]


def test_improvement_interval_solves_newcombes_equation():
    values, others = [1.0, 4, 6, 7, 9, 9], [2.0, 3, 5, 6]
    estimate = improvement_interval(values, others)
    wins = [1.0 if x > y else 0.5 if x == y else 0.0 for x in values for y in others]
    assert estimate.value == pytest.approx(sum(wins) / 24)
    for end in (estimate.low, estimate.high):
        # Hanley and McNeil's variance with (m + n) / 2 - 1 = 4 in place of both m - 1 and n - 1.
        q1, q2 = end / (2 - end), 2 * end**2 / (1 + end)
        variance = (end * (1 - end) + 4 * (q1 - end**2) + 4 * (q2 - end**2)) / 24
        assert abs(estimate.value - end) == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-5)
    assert 0 < estimate.low < estimate.value < estimate.high < 1


def test_improvement_interval_has_width_at_the_ends_and_is_symmetric():
    best, worst = improvement_interval(HIGH, LOW), improvement_interval(LOW, HIGH)
    assert (best.value, best.high, worst.value, worst.low) == (1, 1, 0, 0)
    assert 0.5 < best.low < 0.9
    assert worst.high == pytest.approx(1 - best.low)


def test_improvement_interval_of_too_few_runs():
    assert math.isnan(improvement_interval([], LOW).value)
    one = improvement_interval([12.0], LOW)
    assert one.value == 0.5
    assert math.isnan(one.low) and math.isnan(one.high)


@pytest.mark.parametrize("runs", [5, 10])
@pytest.mark.parametrize("truth", [0.5, 0.9, 0.97, 0.995])
def test_improvement_interval_is_covered(runs, truth):
    generator, trials, hits = np.random.default_rng(runs), 800, 0
    shift = float(stats.norm.ppf(truth)) * math.sqrt(2)
    for _ in range(trials):
        estimate = improvement_interval(
            generator.normal(shift, 1, runs), generator.normal(0, 1, runs)
        )
        hits += estimate.low <= truth <= estimate.high
    # Approximate: 2% beyond the four standard errors; at the edge it may only be too wide.
    short = 0.95 - hits / trials
    assert short < 4 * math.sqrt(0.95 * 0.05 / trials) + 0.02
    assert truth > 0.97 or -short < 4 * math.sqrt(0.95 * 0.05 / trials) + 0.02


def test_over_one_task_it_is_that_tasks_own():
    assert mean_improvement([1.0], [(5, 5)]) == improvement_interval(HIGH, LOW)


def test_over_tasks_it_solves_the_equation_of_their_mean():
    found = mean_improvement([0.5, 0.9, 0.7], [(5, 5), (4, 6), (10, 10)])
    assert found.value == pytest.approx(0.7)
    for end in (found.low, found.high):
        q1, q2 = end / (2 - end), 2 * end**2 / (1 + end)
        one = [
            (end * (1 - end) + nu * (q1 - end**2) + nu * (q2 - end**2)) / pairs
            for nu, pairs in ((4, 25), (4, 24), (9, 100))
        ]
        assert abs(0.7 - end) == pytest.approx(1.959964 * math.sqrt(sum(one) / 9), rel=1e-5)


def test_it_is_never_certain():
    one, three = mean_improvement([0.0], [(5, 5)]), mean_improvement([0.0] * 3, [(5, 5)] * 3)
    assert (three.value, three.low) == (0, 0)
    # More runs narrow it, no number of them takes its width.
    assert 0.05 < three.high < one.high
    assert math.isnan(mean_improvement([], []).value)
    assert math.isnan(mean_improvement([0.5, math.nan], [(5, 5), (0, 5)]).value)
    assert math.isnan(mean_improvement([0.5, 1.0], [(5, 5), (1, 5)]).high)


@pytest.mark.slow
@pytest.mark.parametrize("shifts", [(0.0,) * 4, (0.5,) * 8, (4.0, 4.0, 4.0), (-1.0, 0.0, 3.0)])
@pytest.mark.parametrize("runs", [5, 10])
def test_over_tasks_it_is_covered(shifts, runs):
    generator, trials, hits = np.random.default_rng(len(shifts)), 800, 0
    truth = float(np.mean(stats.norm.cdf(np.array(shifts) / math.sqrt(2))))
    for _ in range(trials):
        shares = [
            improvement_interval(generator.normal(s, 1, runs), generator.normal(0, 1, runs)).value
            for s in shifts
        ]
        found = mean_improvement(shares, [(runs, runs)] * len(shifts))
        hits += found.low <= truth <= found.high
    assert hits / trials > 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)
