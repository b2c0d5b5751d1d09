"""Steps to the reference's return and areas under curves, by hand."""

import math

import numpy as np
import polars as pl
import pytest

from reports.runs import write_run
from reports.summaries import summary_of
from robustpo.errors import ConfigError
from robustpo.reports.alignment import Curve
from robustpo.reports.efficiency import (
    area_under_curve,
    recent_return,
    sample_efficiency,
    steps_to_reach,
)
from robustpo.reports.scores import study_returns
from robustpo.studies.store import RESULTS_SCHEMA, load_results, load_summary


def results_of(curves, episodes_per_row=100):
    """Make results from `{(task, variant, seed): [return per row]}`, rows 10 steps apart."""
    rows = [
        {
            "task": task,
            "variant": variant,
            "method": variant,
            "seed": seed,
            "step": 10 * (i + 1),
            "episodes": episodes_per_row * (i + 1),
            "return_mean": value,
        }
        for (task, variant, seed), values in curves.items()
        for i, value in enumerate(values)
    ]
    columns = {name: RESULTS_SCHEMA[name] for name in rows[0]}
    missing = [
        pl.lit(None, dtype=t).alias(n) for n, t in RESULTS_SCHEMA.items() if n not in columns
    ]
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(missing)


def efficiency_of(results, summary, variants=("ppo", "rpo")):
    return sample_efficiency(results, summary, study_returns(summary, variants), variants, "ppo")


def measure(curves, *, broken=(), variants=("ppo", "rpo"), **options):
    """Measure curves whose last value is the run's final return."""
    returns = {}
    for (task, variant, _), values in curves.items():
        returns.setdefault((task, variant), []).append(values[-1])
    measured = efficiency_of(results_of(curves, **options), summary_of(returns, broken), variants)
    return {(one.task, one.variant): one for one in measured}


def test_steps_of_the_mean_and_of_each_seed_by_hand():
    measured = measure(
        {
            ("walk", "ppo", 0): [0.0, 10, 20, 30],
            ("walk", "ppo", 1): [0.0, 20, 40, 50],
            ("walk", "rpo", 0): [0.0, 40, 50, 60],
            ("walk", "rpo", 1): [0.0, 30, 39, 44],
            ("walk", "rpo", 2): [0.0, 20, 40, 90],
        }
    )
    ppo, rpo = measured["walk", "ppo"], measured["walk", "rpo"]
    # The reference ends at (30 + 50) / 2 = 40, which its own mean reaches at its last row.
    assert (ppo.target, ppo.reached) == (40, 40)
    assert ppo.seed_steps == (None, 30)
    # Means 0, 30, 43, 64.7; single seeds at 20, 40 and 30 steps.
    assert rpo.reached == 30
    assert rpo.seed_steps == (20, 40, 30)
    assert (rpo.seeds_reached, rpo.median_steps) == (3, 30)


def test_never_reached_is_none_and_the_median_counts_it_as_late():
    measured = measure(
        {
            ("walk", "ppo", 0): [0.0, 50],
            ("walk", "rpo", 0): [60.0, 10],
            ("walk", "rpo", 1): [0.0, 10],
            ("walk", "rpo", 2): [0.0, 55],
        }
    )
    rpo = measured["walk", "rpo"]
    # Means 20 and 25 stay below 50; two of three seeds got there, one of them only at times.
    assert rpo.reached is None
    assert rpo.seed_steps == (10, None, 20)
    assert (rpo.seeds_reached, rpo.median_steps) == (2, 20)


def test_half_of_the_seeds_have_no_median():
    measured = measure(
        {
            ("walk", "ppo", 0): [0.0, 50],
            ("walk", "rpo", 0): [0.0, 60],
            ("walk", "rpo", 1): [0.0, 10],
        }
    )
    assert measured["walk", "rpo"].seed_steps == (20, None)
    assert measured["walk", "rpo"].median_steps is None


def test_areas_by_hand():
    measured = measure(
        {
            ("walk", "ppo", 0): [0.0, 10, 20],
            ("walk", "ppo", 1): [0.0, 30, 20],
            ("walk", "rpo", 0): [7.0, 7, 7],
        }
    )
    ppo = measured["walk", "ppo"]
    # (0/2 + 10 + 20/2) / 2 and (0/2 + 30 + 20/2) / 2.
    assert ppo.areas == pytest.approx((10, 20))
    assert (ppo.area.mean, ppo.area.std) == pytest.approx((15, math.sqrt(50)))
    rpo = measured["walk", "rpo"]
    assert rpo.area.mean == 7
    assert math.isnan(rpo.area.std)


def test_area_weighs_steps_and_not_rows():
    # 2 · 1/2 over one step and 2 over nine.
    curve = Curve(np.array([0, 1, 10]), np.array([0.0, 2.0, 2.0]))
    assert area_under_curve(curve) == pytest.approx((1 + 18) / 10)
    assert area_under_curve(Curve(np.array([5]), np.array([3.0]))) == 3


def test_first_step_at_or_above():
    curve = Curve(np.array([1, 2, 3]), np.array([0.0, 5.0, 1.0]))
    assert steps_to_reach(curve, 5.0) == 2
    assert steps_to_reach(curve, -1.0) == 1
    assert steps_to_reach(curve, 5.1) is None
    assert steps_to_reach(curve, math.nan) is None
    # A mean that misses by rounding only has reached it, also below zero.
    assert steps_to_reach(curve, 5.0 + 1e-12) == 2
    negative = Curve(np.array([1]), np.array([-5.0 - 1e-12]))
    assert steps_to_reach(negative, -5.0) == 1


def test_recent_return_against_a_loop_over_episodes():
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 6, 40)
    counts[:2], counts[-1] = 0, 3
    rows = [np.full(n, generator.normal()) for n in counts]
    returns = np.array([row[0] if len(row) else math.nan for row in rows])
    final = float(np.concatenate(rows)[-20:].mean())
    steps = np.arange(40)
    curve = recent_return(steps, returns, np.cumsum(counts).astype(float), final, window=20)
    first = int(np.argmax(counts > 0))
    assert curve.steps.tolist() == list(range(first, 40))
    loop = [np.concatenate(rows[: i + 1])[-20:].mean() for i in range(first, 40)]
    assert curve.values == pytest.approx(loop)


def test_one_lucky_row_of_two_episodes_does_not_count_as_learned():
    # 51 episodes of 1, two of 100, then slowly up to 20.
    lucky = [1.0] * 25 + [100.0] + [1.0] * 25 + [20.0] * 60
    flat = [20.0] * len(lucky)
    curves = {("walk", "ppo", 0): flat, ("walk", "rpo", 0): lucky}
    measured = measure(curves, episodes_per_row=2)
    rpo = measured["walk", "rpo"]
    # A mean of 100 episodes is 20 only when almost all 50 rows of it are.
    assert rpo.reached is not None and rpo.reached > 10 * (51 + 40)
    assert measured["walk", "ppo"].reached == 10


def test_broken_runs_and_runs_without_curves_are_counted():
    curves = {("walk", "ppo", 0): [0.0, 50], ("walk", "rpo", 0): [0.0, 60]}
    results = results_of(curves | {("walk", "rpo", 1): [900.0, 900]})
    summary = summary_of(
        {("walk", "ppo"): [50.0], ("walk", "rpo"): [60.0]},
        [
            ("walk", "rpo", 1, "failed", 900.0),
            ("walk", "rpo", 2, "completed", 55.0),
            ("run", "rpo", 0, "incomplete", None),
        ],
    )
    measured = {(one.task, one.variant): one for one in efficiency_of(results, summary)}
    rpo = measured["walk", "rpo"]
    assert (rpo.seeds, rpo.left_out, rpo.reached) == ((0,), 2, 20)
    empty = measured["run", "rpo"]
    assert math.isnan(empty.target) and math.isnan(empty.area.mean)
    assert (empty.seeds, empty.reached, empty.median_steps, empty.left_out) == ((), None, None, 1)
    assert ("run", "ppo") not in measured


def test_rows_without_returns():
    curves = {
        ("walk", "ppo", 0): [None, 10.0, None, 50.0],
        ("walk", "rpo", 0): [None, None, None, 70.0],
    }
    measured = measure(curves)
    assert measured["walk", "rpo"].reached == 40
    assert measured["walk", "rpo"].areas == (70.0,)
    # From step 20 to step 40, straight from 10 to 50.
    assert measured["walk", "ppo"].areas == pytest.approx((30.0,))


def test_tasks_are_kept_apart_and_in_order():
    measured = measure(
        {
            ("b", "ppo", 0): [0.0, 5],
            ("b", "rpo", 0): [5.0, 5],
            ("a", "ppo", 0): [0.0, 100],
            ("a", "rpo", 0): [5.0, 5],
        }
    )
    assert list(measured) == [("a", "ppo"), ("a", "rpo"), ("b", "ppo"), ("b", "rpo")]
    assert measured["a", "rpo"].reached is None
    assert measured["b", "rpo"].reached == 10
    with pytest.raises(ConfigError, match="reference='ppo'"):
        efficiency_of(results_of({("b", "rpo", 0): [1.0]}), summary_of({}), ("rpo",))


def test_runs_on_disk(tmp_path):
    for seed in range(2):
        write_run(tmp_path, "ppo", seed, final_return=100.0)
        write_run(tmp_path, "rpo", seed, final_return=200.0)
    write_run(tmp_path, "rpo", 2, final_return=None, status="failed")
    ppo, rpo = efficiency_of(load_results(tmp_path), load_summary(tmp_path))
    assert ppo.reached == 20 * 2048
    # Two episodes a row: the mean of all rows up to i of 10 k, k = 1 … i, is 5 (i + 1) < 100, so
    # only the recorded final return is above.
    assert rpo.reached == 20 * 2048
    assert (rpo.seeds, rpo.left_out) == ((0, 1), 1)
    # From row 1 to row 19, straight from 10 to 190.
    assert rpo.area.mean == pytest.approx(100.0)
