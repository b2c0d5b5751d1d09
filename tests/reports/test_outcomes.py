"""Wins, ties and losses by hand, and the interval of one task's probability of improvement."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from reports.summaries import summary_of
from robustpo.errors import ConfigError
from robustpo.reports.outcomes import improvement_interval, outcome_rule, task_outcomes
from robustpo.reports.scores import study_returns

LOW = [10.0, 11.0, 12.0, 13.0, 14.0]
HIGH = [90.0, 91.0, 92.0, 93.0, 94.0]
ALIKE = [9.0, 12.0, 12.5, 13.0, 15.0]


def outcomes_of(returns, variants=("ppo", "rpo"), broken=()):
    returns = study_returns(summary_of(returns, broken), variants)
    return task_outcomes(returns, variants, variants[0])


def by_task(outcomes):
    return {one.task: one.outcome for one in outcomes}


def test_win_tie_loss_and_no_verdict():
    outcomes = outcomes_of(
        {
            ("above", "ppo"): LOW,
            ("above", "rpo"): HIGH,
            ("alike", "ppo"): LOW,
            ("alike", "rpo"): ALIKE,
            ("below", "ppo"): HIGH,
            ("below", "rpo"): LOW,
            ("few", "ppo"): LOW,
            ("few", "rpo"): HIGH[:4],
        }
    )
    assert by_task(outcomes) == {"above": "win", "alike": "tie", "below": "loss", "few": "none"}
    few = next(one for one in outcomes if one.task == "few")
    assert (few.seeds, few.reference_seeds) == (4, 5)
    assert math.isnan(few.difference.p_value)
    assert few.difference.mean == 91.5 - 12


def test_correction_is_over_all_tasks_and_variants():
    # One task alone is significant; with as many comparisons as needed it is not.
    first, second = [0.0, 1, 2, 3, 4], [3.0, 4, 5, 6, 7]
    test: Any = stats.ttest_ind(first, second, equal_var=False)
    p = float(test.pvalue)
    assert 0.01 < p < 0.025
    alone = outcomes_of({("a", "ppo"): first, ("a", "rpo"): second})
    assert alone[0].outcome == "win"
    assert alone[0].difference.p_adjusted == pytest.approx(p)
    returns = {("a", "ppo"): first, ("a", "rpo"): second}
    for task in "bcd":
        returns |= {(task, "ppo"): LOW, (task, "rpo"): LOW}
    several = outcomes_of(returns)
    assert by_task(several)["a"] == "tie"
    assert several[0].difference.p_adjusted == pytest.approx(4 * p)
    # The same with three more variants on the one task.
    names = ("ppo", "rpo", "x", "y", "z")
    variants = {("a", name): first for name in names} | {("a", "rpo"): second}
    assert outcomes_of(variants, names)[0].difference.p_adjusted == pytest.approx(4 * p)


def test_comparisons_without_a_verdict_count_in_the_correction():
    first, second = [0.0, 1, 2, 3, 4], [3.0, 4, 5, 6, 7]
    returns = {("a", "ppo"): first, ("a", "rpo"): second}
    for task in "bcd":
        returns |= {(task, "ppo"): LOW[:2], (task, "rpo"): LOW[:2]}
    assert by_task(outcomes_of(returns)) == {"a": "tie", "b": "none", "c": "none", "d": "none"}


def test_returns_without_any_variation():
    outcomes = outcomes_of(
        {
            ("equal", "ppo"): [5.0] * 5,
            ("equal", "rpo"): [5.0] * 5,
            ("apart", "ppo"): [5.0] * 5,
            ("apart", "rpo"): [6.0] * 5,
        }
    )
    assert by_task(outcomes) == {"equal": "tie", "apart": "none"}


def test_a_task_that_one_side_never_ran_is_no_comparison_and_a_broken_one_is():
    outcomes = outcomes_of(
        {("a", "ppo"): LOW, ("b", "ppo"): LOW},
        broken=[("b", "rpo", 0, "failed", None)],
    )
    assert [(one.task, one.outcome, one.seeds) for one in outcomes] == [("b", "none", 0)]
    assert math.isnan(outcomes[0].improvement.value)


def test_an_unknown_reference_is_refused():
    with pytest.raises(ConfigError, match="reference='dqn'"):
        task_outcomes({}, ("ppo", "rpo"), "dqn")


def test_the_rule_states_its_numbers():
    rule = outcome_rule("ppo", 61)
    assert "p < 0.05" in rule and "all 61 comparisons" in rule and "fewer than 5" in rule


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
@pytest.mark.parametrize("truth", [0.5, 0.9, 0.97])
def test_improvement_interval_is_covered(runs, truth):
    generator, trials, hits = np.random.default_rng(runs), 800, 0
    shift = float(stats.norm.ppf(truth)) * math.sqrt(2)
    for _ in range(trials):
        estimate = improvement_interval(
            generator.normal(shift, 1, runs), generator.normal(0, 1, runs)
        )
        hits += estimate.low <= truth <= estimate.high
    # Approximate: 2% beyond the four standard errors.
    assert abs(hits / trials - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials) + 0.02
