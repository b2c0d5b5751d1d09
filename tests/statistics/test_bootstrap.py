"""Estimators and bootstrap intervals against hands, loops, rliable and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from robustpo.errors import ConfigError
from robustpo.statistics.bootstrap import bootstrap_estimate, bootstrap_interval
from robustpo.statistics.estimators import (
    improvement_by_task,
    interquartile_mean,
    mean_score,
    optimality_gap,
    performance_profile,
)
from robustpo.statistics.improvement import mean_improvement

# Two methods, runs × tasks, for the comparison with rliable.
X = np.array(
    [
        [0.10, 0.52, 0.33],
        [0.25, 0.61, 0.90],
        [0.31, 0.48, 0.47],
        [0.05, 0.77, 0.62],
        [0.44, 0.58, 1.10],
        [0.19, 0.66, 0.71],
        [0.28, 0.35, 0.55],
        [0.36, 0.71, 0.84],
    ]
)
Y = np.array(
    [
        [0.12, 0.40, 0.30],
        [0.20, 0.61, 0.65],
        [0.15, 0.50, 0.42],
        [0.09, 0.55, 0.62],
        [0.33, 0.47, 0.88],
        [0.19, 0.38, 0.51],
    ]
)
TAU = np.array([0.2, 0.5, 0.8])
# rliable 1.2.0 with arch 7.2.0, NumPy 2.4.6, SciPy 1.17.1 and pandas 2.3.3 in an environment of
# its own: `get_interval_estimates({"a": X}, metrics.aggregate_iqm, reps=50000)` and so on,
# `[X, Y]` with 20,000 for the improvement, `create_performance_profile` with 50,000; percentile
# method, NumPy's global state seeded with 20240229 and, for the profile, 1.
RLIABLE = {
    interquartile_mean: (0.4975, 0.4266666666666666, 0.5775),
    mean_score: (0.5075, 0.44083333333333324, 0.5750000000000001),
    optimality_gap: (0.4966666666666667, 0.43333333333333324, 0.5604166666666668),
}
RLIABLE_IMPROVEMENT = (0.6840277777777778, 0.5104166666666666, 0.84375)
RLIABLE_PROFILE = (
    [0.875, 0.5, 0.125],
    [0.75, 0.3333333333333333, 0.041666666666666664],
    [0.9583333333333334, 0.625, 0.25],
)


def columns(matrix):
    return list(matrix.T)


def rng(seed=0):
    return np.random.default_rng(seed)


def ragged(seed=0, counts=(3, 5, 2, 7)):
    generator = rng(seed)
    return [generator.normal(0.5, 0.4, count) for count in counts]


def naive_iqm(scores):
    """Repeat every run until all tasks have as many, then keep the middle half of the copies."""
    copies = 4 * math.lcm(*(len(task) for task in scores))
    everything = sorted(x for task in scores for x in task for _ in range(copies // len(task)))
    quarter = len(everything) // 4
    middle = everything[quarter : len(everything) - quarter]
    return sum(middle) / len(middle)


def naive_improvement(first, second):
    total = 0.0
    for x in first:
        for y in second:
            total += 1.0 if x > y else 0.5 if x == y else 0.0
    return total / (len(first) * len(second))


def test_interquartile_mean_by_hand():
    # Eight runs: the middle four are 3, 4, 5, 6.
    assert interquartile_mean([np.array([8.0, 1, 6, 3]), np.array([5.0, 4, 7, 2])]) == 4.5
    # Five runs of weight 1/5: 1/4 to 3/4 takes 3/20 of the second and fourth, 4/20 of the third.
    expected = (0.15 * 2 + 0.2 * 4 + 0.15 * 100) / 0.5
    assert interquartile_mean([np.array([-50.0, 2, 4, 100, 1e6])]) == pytest.approx(expected)
    assert interquartile_mean([np.array([7.0])]) == 7.0


def test_interquartile_mean_weighs_tasks_alike():
    # One run of 0 weighs as much as three of 1, 2 and 3: half the weight lies at 0.
    scores = [np.array([0.0]), np.array([1.0, 2.0, 3.0])]
    # From 1/4 to 1/2 it is 0; then 1/6 of 1, and up to 3/4 there is 1/12 of 2.
    assert interquartile_mean(scores) == pytest.approx((0 + 1 / 6 + 2 / 12) / 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_estimators_agree_with_loops_on_ragged_seeds(seed):
    scores, others = ragged(seed), ragged(seed + 100, (4, 4, 6, 3))
    tasks = len(scores)
    assert interquartile_mean(scores) == pytest.approx(naive_iqm(scores))
    mean = sum(sum(task) / len(task) for task in scores) / tasks
    assert mean_score(scores) == pytest.approx(mean)
    gap = sum(sum(max(0.0, 0.6 - x) for x in task) / len(task) for task in scores) / tasks
    assert optimality_gap(scores, 0.6) == pytest.approx(gap)
    profile = [sum(sum(x > t for x in task) / len(task) for task in scores) / tasks for t in TAU]
    assert performance_profile(scores, TAU) == pytest.approx(profile)
    shares = [naive_improvement(a, b) for a, b in zip(scores, others, strict=True)]
    assert improvement_by_task(scores, others) == pytest.approx(shares)


def test_improvement_counts_ties_half_and_is_mann_whitneys_statistic():
    first, second = np.array([1.0, 2, 2, 5]), np.array([2.0, 2, 0])
    test = stats.mannwhitneyu(first, second)
    assert improvement_by_task([first], [second]) == pytest.approx([test.statistic / 12])
    assert improvement_by_task([second], [second]) == pytest.approx([0.5])


def test_profile_is_strictly_above():
    profile = performance_profile([np.array([0.0, 0.5, 1.0, 1.0])], np.array([0.0, 0.5, 1.0]))
    assert profile.tolist() == [0.75, 0.5, 0.0]


@pytest.mark.parametrize("statistic", RLIABLE, ids=lambda statistic: statistic.__name__)
def test_same_as_rliable(statistic):
    value, low, high = RLIABLE[statistic]
    estimate = bootstrap_estimate(statistic, columns(X), rng=rng(), resamples=20_000)
    assert estimate.value == pytest.approx(value, abs=1e-12)
    # Ends of an interval of width 0.13 to 0.15, known to about 0.001 from 20,000 samples.
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.004)


def test_same_improvement_as_rliable():
    estimate = mean_improvement(
        improvement_by_task(columns(X), columns(Y)).tolist(), [(len(X), len(Y))] * 3
    )
    assert estimate.value == pytest.approx(RLIABLE_IMPROVEMENT[0], abs=1e-12)
    # Its bootstrap is another interval, about as wide in the middle.
    assert (estimate.low, estimate.high) == pytest.approx(RLIABLE_IMPROVEMENT[1:], abs=0.06)


def test_same_profile_as_rliable():
    value, low, high = bootstrap_interval(
        lambda scores: performance_profile(scores, TAU), columns(X), rng=rng(), resamples=20_000
    )
    assert value == pytest.approx(RLIABLE_PROFILE[0], abs=1e-12)
    # Fractions of 24 runs: an end may lie one run aside.
    assert low == pytest.approx(RLIABLE_PROFILE[1], abs=1 / 24 + 1e-9)
    assert high == pytest.approx(RLIABLE_PROFILE[2], abs=1 / 24 + 1e-9)


def test_interval_agrees_with_a_loop_over_ragged_tasks():
    scores, generator = ragged(3), rng(11)
    drawn = []
    for _ in range(8_000):
        sample = [[task[generator.integers(len(task))] for _ in task] for task in scores]
        drawn.append(sum(sum(task) / len(task) for task in sample) / len(sample))
    estimate = bootstrap_estimate(mean_score, scores, rng=rng(12))
    # An end has a standard error of √(0.025 · 0.975 / 8000) over the density there, 0.06 / spread.
    error = 4 * math.sqrt(0.025 * 0.975 / 8_000) * float(np.std(drawn)) / 0.058
    assert estimate.low == pytest.approx(np.quantile(drawn, 0.025), abs=1.5 * error)
    assert estimate.high == pytest.approx(np.quantile(drawn, 0.975), abs=1.5 * error)


def test_the_spread_over_samples_is_that_of_theory():
    # A mean of K means over n_k resampled runs has variance Σ s_k² / n_k / K², s_k with ddof 0.
    scores = ragged(4)
    samples = []

    def record(drawn):
        value = mean_score(drawn)
        samples.append(np.atleast_1d(value))
        return value

    bootstrap_estimate(record, scores, rng=rng(5), resamples=40_000)
    drawn = np.concatenate(samples[1:])
    assert len(drawn) == 40_000
    variance = sum(float(task.var()) / len(task) for task in scores) / len(scores) ** 2
    # The relative error of a variance from 40,000 samples is about √(2 / 40000) = 0.7%.
    assert drawn.var() == pytest.approx(variance, rel=0.03)


def test_two_methods_are_drawn_independently():
    # The same array twice: paired draws would give 0 always.
    task = np.arange(10.0)
    estimate = bootstrap_estimate(
        lambda a, b: mean_score(a) - mean_score(b), [task], [task], rng=rng()
    )
    half = 1.96 * math.sqrt(2 * task.var() / 10)
    assert estimate.value == 0
    assert (estimate.low, estimate.high) == pytest.approx((-half, half), rel=0.05)


def test_the_same_state_gives_the_same_interval_and_another_state_another():
    def interval(seed):
        return bootstrap_estimate(interquartile_mean, ragged(), rng=rng(seed), resamples=500)

    assert interval(1) == interval(1)
    assert interval(1) != interval(2)
    # Nothing outside is drawn from or seeded.
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    interval(1)
    assert np.random.random() == expected


def test_a_task_with_one_run_leaves_no_interval():
    estimate = bootstrap_estimate(mean_score, [np.array([1.0, 3.0]), np.array([4.0])], rng=rng())
    assert estimate.value == 3.0
    assert math.isnan(estimate.low) and math.isnan(estimate.high)


def test_equal_returns_have_an_interval_without_width():
    estimate = bootstrap_estimate(interquartile_mean, [np.ones(5), np.ones(3)], rng=rng())
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([], "no task"),
        ([np.array([1.0]), np.array([])], "task 1"),
        ([np.array([1.0, math.nan])], "task 0"),
        ([np.ones((2, 2))], "task 0"),
    ],
)
def test_scores_that_cannot_be_used_are_refused(scores, said):
    with pytest.raises(ConfigError, match=said):
        bootstrap_estimate(mean_score, scores, rng=rng())


def covered(counts, statistic, truth, trials, seed, resamples=400):
    generator = rng(seed)
    hits = 0
    for _ in range(trials):
        scores = [generator.normal(0.1 * k, 1.0, count) for k, count in enumerate(counts)]
        estimate = bootstrap_estimate(statistic, scores, rng=generator, resamples=resamples)
        hits += estimate.low <= truth <= estimate.high
    return hits / trials


def test_many_seeds_are_covered_as_often_as_said():
    trials = 600
    share = covered((40, 60, 50), mean_score, 0.1, trials, seed=1)
    # Four standard errors of the share, and 1% for what 50 runs and 400 samples leave.
    assert abs(share - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials) + 0.01


@pytest.mark.parametrize("runs", [5, 10])
def test_few_seeds_are_covered_less_often_by_as_much_as_theory_says(runs):
    trials, tasks = 800, 8
    share = covered((runs,) * tasks, mean_score, 0.35, trials, seed=runs)
    # The bootstrap's spread is √((n - 1) / n) of the true one and itself estimated: a t quantile.
    shrunk = 1.959964 * math.sqrt((runs - 1) / runs)
    expected = 1 - 2 * float(stats.t.sf(shrunk, tasks * (runs - 1)))
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / trials)


def test_interquartile_mean_is_covered():
    # Symmetric about 0.35, so that is the true interquartile mean.
    trials = 600
    share = covered((10,) * 8, interquartile_mean, 0.35, trials, seed=7)
    assert 0.93 - 4 * math.sqrt(0.93 * 0.07 / trials) < share < 0.98
