"""Suites of tasks: scores, what is left out, and aggregates computed by hand."""

import math

import numpy as np
import pytest

from reports.summaries import returns_of
from robustpo.errors import ConfigError
from robustpo.reports.decision import decide
from robustpo.reports.scores import ScoreScale, scale_text, score_scales
from robustpo.reports.suite import suites_of_study
from robustpo.reports.suite_row import TAU

CONTROL = {"walk": "DeepMind Control", "run": "DeepMind Control"}
WALK = {("walk", "ppo"): [100.0, 200, 300, 400], ("walk", "rpo"): [500.0, 600, 700, 800]}
RUN = {("run", "ppo"): [0.0, 0, 0, 400], ("run", "rpo"): [0.0, 100, 200, 300]}


def suites_from(returns, variants, reference, suites, **options):
    decisions = decide(returns, variants, reference)
    return suites_of_study(returns, decisions, variants, reference, suites, **options)


def rows_of(returns, suites=CONTROL, variants=("ppo", "rpo"), **options):
    (suite,) = suites_from(returns, variants, "ppo", suites, **options)
    return suite, dict(zip(variants, suite.rows, strict=True))


def improvement_of(row):
    assert row.improvement is not None
    return row.improvement


def same(first, second):
    """Compare rows, in which nan equals nan and profiles are arrays."""
    for name in ("iqm", "mean", "optimality_gap"):
        one, other = getattr(first, name), getattr(second, name)
        assert (one.value, one.low, one.high) == (other.value, other.low, other.high)
    assert (first.profile.low == second.profile.low).all()


def test_aggregates_by_hand():
    suite, rows = rows_of(returns_of(WALK | RUN))
    assert set(suite.tasks) == {"walk", "run"} and suite.left_out_tasks == ()
    rpo = rows["rpo"]
    # Scores 0, .1, .2, .3, .5, .6, .7, .8: the middle four are .2, .3, .5, .6.
    assert rpo.iqm.value == pytest.approx(0.4)
    assert rpo.mean.value == pytest.approx(0.4)
    assert rpo.optimality_gap.value == pytest.approx(0.6)
    assert (rpo.tasks, rpo.runs) == (2, 8)
    assert rpo.iqm.low < 0.4 < rpo.iqm.high
    # 0, 0, 0, .1, .2, .3, .4, .4: (0 + .1 + .2 + .3) / 4.
    assert rows["ppo"].iqm.value == pytest.approx(0.15)
    # walk: all 16 pairs; run: 100, 200 and 300 beat three zeros, 0 ties with three: 10.5 of 16.
    assert improvement_of(rpo).value == pytest.approx((1 + 10.5 / 16) / 2)
    assert rows["ppo"].improvement is None
    profile = dict(zip(TAU.round(2).tolist(), rpo.profile.value.tolist(), strict=True))
    assert profile[0.0] == pytest.approx(7 / 8)
    assert profile[0.4] == pytest.approx(4 / 8)
    assert profile[1.0] == 0


def test_four_seeds_are_no_verdict():
    _, rows = rows_of(returns_of(WALK | RUN))
    rpo = rows["rpo"]
    assert (rpo.wins, rpo.ties, rpo.losses, rpo.undecided) == (0, 0, 0, 2)
    assert (rows["ppo"].wins, rows["ppo"].undecided) == (0, 0)


def test_verdicts_with_five_seeds():
    returns = {
        ("walk", "ppo"): [100.0, 110, 120, 130, 140],
        ("walk", "rpo"): [800.0, 810, 820, 830, 840],
        ("run", "ppo"): [100.0, 200, 300, 400, 500],
        ("run", "rpo"): [110.0, 190, 310, 390, 510],
    }
    _, rows = rows_of(returns_of(returns))
    rpo = rows["rpo"]
    assert (rpo.wins, rpo.ties, rpo.losses, rpo.undecided) == (1, 1, 0, 0)
    (swapped,) = suites_from(returns_of(returns), ("rpo", "ppo"), "rpo", CONTROL)
    ppo = swapped.rows[1]
    assert (ppo.wins, ppo.ties, ppo.losses) == (0, 1, 1)
    assert improvement_of(ppo).value == pytest.approx(1 - improvement_of(rpo).value)


def test_an_improvement_whose_interval_holds_a_half_is_a_tie():
    returns = {
        ("walk", "ppo"): [100.0, 200, 300, 400, 500],
        ("walk", "rpo"): [110.0, 190, 310, 390, 510],
    }
    _, rows = rows_of(returns_of(returns))
    improvement = improvement_of(rows["rpo"])
    assert improvement.low < 0.5 < improvement.high


def test_ragged_seeds_weigh_tasks_alike():
    returns = {
        ("walk", "ppo"): [1000.0] * 9,
        ("run", "ppo"): [0.0, 0.0, 0.0],
        ("walk", "rpo"): [500.0] * 2,
        ("run", "rpo"): [500.0] * 6,
    }
    _, rows = rows_of(returns_of(returns))
    assert rows["ppo"].mean.value == pytest.approx(0.5)
    assert rows["ppo"].iqm.value == pytest.approx(0.5)
    assert rows["ppo"].profile.value[50] == pytest.approx(0.5)
    assert rows["rpo"].runs == 8


def test_a_task_without_a_completed_run_of_a_variant_is_named_and_left_out():
    broken = [("run", "rpo")]
    returns = WALK | {("run", "ppo"): RUN["run", "ppo"]}
    suite, rows = rows_of(returns_of(returns, broken))
    assert (suite.tasks, suite.left_out_tasks) == (("walk",), ("run",))
    assert (rows["ppo"].tasks, rows["ppo"].runs) == (1, 4)
    assert rows["rpo"].undecided == 2
    _, only = rows_of(returns_of(WALK))
    same(rows["ppo"], only["ppo"])


def test_a_variant_without_any_completed_run_takes_nothing_from_the_others():
    broken = [("walk", "new")]
    suite, rows = rows_of(returns_of(WALK | RUN, broken), variants=("ppo", "rpo", "new"))
    assert len(suite.tasks) == 2
    new = rows["new"]
    assert (new.tasks, new.runs) == (0, 0)
    assert np.isnan(new.profile.value).all()
    assert math.isnan(new.iqm.value) and math.isnan(improvement_of(new).value)
    assert new.undecided == 2


def test_a_reference_without_runs_leaves_the_others_their_scores():
    suite, rows = rows_of(returns_of({("walk", "rpo"): [100.0, 200.0]}))
    assert suite.tasks == ("walk",)
    assert rows["rpo"].mean.value == pytest.approx(0.15)
    assert math.isnan(improvement_of(rows["rpo"]).value)
    assert rows["rpo"].undecided == 1


def test_a_suite_of_which_nothing_is_completed():
    suite, rows = rows_of(returns_of({}, [("walk", "ppo")]))
    assert (suite.tasks, suite.left_out_tasks) == ((), ("walk",))
    assert math.isnan(rows["ppo"].iqm.value)
    assert suites_from(returns_of({}), ("ppo", "rpo"), "ppo", CONTROL) == []


def test_a_single_seed_has_a_value_and_no_interval():
    _, rows = rows_of(returns_of({("walk", "ppo"): [100.0], ("walk", "rpo"): [300.0]}))
    assert rows["rpo"].iqm.value == pytest.approx(0.3)
    assert math.isnan(rows["rpo"].iqm.low)
    assert np.isnan(rows["rpo"].profile.low).all()
    assert improvement_of(rows["rpo"]).value == 1
    assert math.isnan(improvement_of(rows["rpo"]).high)


def test_other_suites_are_scaled_between_worst_and_best():
    returns = {("Ant", "ppo"): [-10.0, 20.0], ("Ant", "rpo"): [30.0, 10.0]}
    _, rows = rows_of(returns_of(returns), {"Ant": "MuJoCo v4"})
    # Scores (0, .75) and (1, .5).
    assert rows["ppo"].mean.value == pytest.approx(0.375)
    assert rows["rpo"].mean.value == pytest.approx(0.75)
    scales = score_scales({"Ant": {"ppo": np.array([-10.0, 20.0])}}, {"Ant": "MuJoCo v4"})
    assert scales == {"Ant": ScoreScale(-10.0, 20.0)}
    assert "worst" in scale_text("MuJoCo v4") and "/ 1000" in scale_text("DeepMind Control")


def test_equal_returns_all_score_one():
    returns = {("Ant", "ppo"): [5.0, 5.0], ("Ant", "rpo"): [5.0, 5.0]}
    _, rows = rows_of(returns_of(returns), {"Ant": "MuJoCo v4"})
    assert (rows["ppo"].mean.value, rows["rpo"].mean.value) == (1, 1)
    assert rows["rpo"].optimality_gap.value == 0
    assert improvement_of(rows["rpo"]).value == 0.5


def test_scales_and_suites_can_be_given():
    _, rows = rows_of(returns_of(WALK), scales={"walk": ScoreScale(0.0, 100.0)})
    assert rows["rpo"].mean.value == pytest.approx(6.5)
    assert rows["rpo"].optimality_gap.value == 0
    with pytest.raises(ConfigError, match="no scale is given for walk"):
        rows_of(returns_of(WALK), scales={})
    with pytest.raises(ConfigError, match="no suite is given for run"):
        rows_of(returns_of(WALK | RUN), {"walk": "DeepMind Control"})


def test_suites_come_apart_and_share_the_correction():
    low, high = [0.0, 1, 2, 3, 4], [3.0, 4, 5, 6, 7]
    returns = {("Ant", "ppo"): low, ("Ant", "rpo"): high}
    alone, _ = rows_of(returns_of(returns), {"Ant": "MuJoCo v4"})
    # Welch's p is 0.017: below 0.05 alone, above with four comparisons.
    assert alone.rows[1].wins == 1
    for task in ("a", "b", "c"):
        returns |= {(task, "ppo"): low, (task, "rpo"): low}
    names = {"c": "Other", "Ant": "MuJoCo v4", "a": "Other", "b": "Other"}
    suites = suites_from(returns_of(returns), ("ppo", "rpo"), "ppo", names)
    assert [(suite.name, len(suite.tasks)) for suite in suites] == [("Other", 3), ("MuJoCo v4", 1)]
    assert (suites[1].rows[1].wins, suites[1].rows[1].ties) == (0, 1)


def test_intervals_come_again_and_do_not_depend_on_other_variants_or_the_reference():
    summary = returns_of(WALK | RUN | {("walk", "x"): [1.0, 2], ("run", "x"): [3.0, 4]})
    _, rows = rows_of(summary)
    _, again = rows_of(summary)
    _, more = rows_of(summary, variants=("ppo", "x", "rpo"))
    (swapped,) = suites_from(summary, ("rpo", "ppo"), "rpo", CONTROL)
    for other in (again["rpo"], more["rpo"], swapped.rows[0]):
        same(rows["rpo"], other)


def test_the_seed_is_that_of_the_bootstrap():
    # Real numbers: with few distinct returns another seed may well find the same ends.
    returns = np.random.default_rng(3).uniform(0, 1000, 10).tolist()
    summary = returns_of({("walk", "ppo"): returns, ("walk", "rpo"): returns})
    ends = [rows_of(summary, seed=seed)[1]["rpo"].mean.low for seed in (0, 0, 1)]
    assert ends[0] == ends[1] != ends[2]
