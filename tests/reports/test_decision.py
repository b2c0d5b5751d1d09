"""Wins, ties and losses by hand, and when there is no verdict."""

import math
from itertools import combinations
from typing import Any

import pytest
from scipy import stats

from reports.summaries import returns_of
from robustpo.errors import ConfigError
from robustpo.reports.decision import decide, decision_rule

LOW = [10.0, 11.0, 12.0, 13.0, 14.0]
HIGH = [90.0, 91.0, 92.0, 93.0, 94.0]
ALIKE = [9.0, 12.0, 12.5, 13.0, 15.0]


def decisions_of(returns, variants=("ppo", "rpo"), broken=()):
    return decide(returns_of(returns, broken), variants, variants[0])


def by_task(decisions):
    return {one.task: one.outcome for one in decisions}


def test_win_tie_loss_and_no_verdict():
    decisions = decisions_of(
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
    assert by_task(decisions) == {"above": "win", "alike": "tie", "below": "loss", "few": "none"}
    few = next(one for one in decisions if one.task == "few")
    assert (few.seeds, few.reference_seeds) == (4, 5)
    assert math.isnan(few.difference.p_value)
    assert few.difference.mean == 91.5 - 12


def test_correction_is_over_all_tasks_and_variants():
    # One task alone is significant; with as many comparisons as needed it is not.
    first, second = [0.0, 1, 2, 3, 4], [3.0, 4, 5, 6, 7]
    test: Any = stats.ttest_ind(first, second, equal_var=False)
    p = float(test.pvalue)
    assert 0.01 < p < 0.025
    alone = decisions_of({("a", "ppo"): first, ("a", "rpo"): second})
    assert alone[0].outcome == "win"
    assert alone[0].difference.p_adjusted == pytest.approx(p)
    returns = {("a", "ppo"): first, ("a", "rpo"): second}
    for task in "bcd":
        returns |= {(task, "ppo"): LOW, (task, "rpo"): LOW}
    several = decisions_of(returns)
    assert by_task(several)["a"] == "tie"
    assert several[0].difference.p_adjusted == pytest.approx(4 * p)
    # The same with three more variants on the one task.
    names = ("ppo", "rpo", "x", "y", "z")
    variants = {("a", name): first for name in names} | {("a", "rpo"): second}
    assert decisions_of(variants, names)[0].difference.p_adjusted == pytest.approx(4 * p)


def test_comparisons_without_a_verdict_count_in_the_correction():
    first, second = [0.0, 1, 2, 3, 4], [3.0, 4, 5, 6, 7]
    returns = {("a", "ppo"): first, ("a", "rpo"): second}
    for task in "bcd":
        returns |= {(task, "ppo"): LOW[:2], (task, "rpo"): LOW[:2]}
    assert by_task(decisions_of(returns)) == {"a": "tie", "b": "none", "c": "none", "d": "none"}


def test_returns_without_any_variation():
    decisions = decisions_of(
        {
            ("equal", "ppo"): [5.0] * 5,
            ("equal", "rpo"): [5.0] * 5,
            ("apart", "ppo"): [5.0] * 5,
            ("apart", "rpo"): [6.0] * 5,
        }
    )
    assert by_task(decisions) == {"equal": "tie", "apart": "none"}


def test_a_task_that_one_side_never_ran_is_no_comparison_and_a_broken_one_is():
    decisions = decisions_of(
        {("a", "ppo"): LOW, ("b", "ppo"): LOW},
        broken=[("b", "rpo")],
    )
    assert [(one.task, one.outcome, one.seeds) for one in decisions] == [("b", "none", 0)]
    assert math.isnan(decisions[0].improvement.value)


def test_an_unknown_reference_is_refused():
    with pytest.raises(ConfigError, match="reference='dqn'"):
        decide({}, ("ppo", "rpo"), "dqn")


def test_the_rule_states_its_numbers():
    rule = decision_rule("ppo", 61)
    assert "p < 0.05" in rule and "all 61 comparisons" in rule and "fewer than 5" in rule


def test_both_tests_must_agree():
    # Of the 252 divisions only this one and its mirror are as far apart.
    (one,) = decisions_of({("a", "ppo"): LOW, ("a", "rpo"): HIGH})
    assert one.permutation == pytest.approx(2 / 252)
    assert one.outcome == "win" and not one.is_disputed
    # Welch's test alone would show the first, the permutation test alone the second.
    for rpo, ppo in (
        ([6.0, 7, 3, 4, 7], [0.0, 4, 2, 1, 5]),
        ([7.0, 5, 5, 5, 5], [3.0, 4, 4, 5, 0]),
    ):
        (one,) = decisions_of({("a", "ppo"): ppo, ("a", "rpo"): rpo})
        welch: Any = stats.ttest_ind(rpo, ppo, equal_var=False)
        divisions = [abs(2 * sum(c) - sum(rpo + ppo)) for c in combinations(rpo + ppo, 5)]
        observed = abs(sum(rpo) - sum(ppo))
        exact = sum(d >= observed for d in divisions) / 252
        assert one.difference.p_value == pytest.approx(welch.pvalue)
        assert one.permutation == pytest.approx(exact)
        assert (welch.pvalue < 0.05) != (exact < 0.05)
        assert one.outcome == "tie" and one.is_disputed


def test_a_method_with_too_few_finished_seeds_takes_nothing_from_the_others():
    decisions = decisions_of(
        {("a", "ppo"): LOW, ("a", "rpo"): HIGH, ("a", "x"): HIGH[:4]},
        ("ppo", "rpo", "x"),
        [("a", "x")],
    )
    assert [one.outcome for one in decisions] == ["win", "none"]
    assert decisions[1].missing({"x": "x", "ppo": "ppo"}) == (
        "a verdict takes at least 5 finished seeds on either side, and x has 4 seeds"
    )


def test_a_reference_with_too_few_finished_seeds_leaves_no_verdict():
    decisions = decisions_of(
        {("a", "ppo"): LOW[:4], ("a", "rpo"): HIGH, ("a", "x"): HIGH}, ("ppo", "rpo", "x")
    )
    assert [one.outcome for one in decisions] == ["none", "none"]
    assert "ppo has 4 seeds" in decisions[0].missing({"rpo": "rpo", "ppo": "ppo"})
