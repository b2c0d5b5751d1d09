"""What is said of a variant on a task: curves, steps to where the reference ends, area."""

import csv
import math

import pytest

from reports.runs import write_run
from reports.summaries import TASK, loaded_run, summary_of
from robustpo.reports.page_data import page_of
from robustpo.reports.rows import STATISTICS, Statistic, curves_of
from robustpo.reports.summary import read_summary
from robustpo.reports.tables import rows_csv
from robustpo.studies.study import Part, Study


def rows_of(returns, **options):
    return {row.label: row for row in summary_of(returns, **options).rows}


def test_steps_of_the_mean_by_hand():
    rows = rows_of(
        {
            "ppo": {0: [0.0, 10, 20, 30], 1: [0.0, 20, 40, 50]},
            "rpo": {0: [0.0, 40, 50, 60], 1: [0.0, 30, 39, 44], 2: [0.0, 20, 40, 90]},
        }
    )
    # The reference ends at (30 + 50) / 2 = 40, which its own mean reaches at its last row.
    assert rows["ppo"].reached == 40
    # Means 0, 30, 43, 64.7.
    assert rows["rpo"].reached == 30


def test_never_reached_is_none():
    # Means 20 and 25 stay below 50; two of three seeds got there, one of them only at times.
    rpo = {0: [60.0, 10], 1: [0.0, 10], 2: [0.0, 55]}
    assert rows_of({"ppo": {0: [0.0, 50]}, "rpo": rpo})["rpo"].reached is None


def test_a_statistic_is_its_function_and_one_line(monkeypatch, tmp_path):
    """It stands in the CSV file and behind the numbers of the page without another word."""
    spread = Statistic(lambda runs, curves: float(len(runs)), "runs counted", digits=0)
    monkeypatch.setitem(STATISTICS, "count", spread)
    summary = summary_of({"ppo": {0: [1.0, 2], 1: [1.0, 3]}, "rpo": {0: [1.0, 2]}})
    lines = list(csv.DictReader(rows_csv(summary).splitlines()))
    assert [line["count"] for line in lines] == ["2.0", "1.0"]
    cells = page_of(summary, tmp_path / "index.html", "")["cells"]
    shown = {"title": "runs counted", "digits": 0, "value": 2.0}
    assert shown in cells[0]["statistics"]


def test_areas_by_hand():
    rows = rows_of({"ppo": {0: [0.0, 10, 20], 1: [0.0, 30, 20]}, "rpo": {0: [7.0, 7, 7]}})
    # (0/2 + 10 + 20/2) / 2 = 10 and (0/2 + 30 + 20/2) / 2 = 20.
    assert rows["ppo"].statistics["area"] == pytest.approx(15)
    assert rows["rpo"].statistics["area"] == 7


def test_one_lucky_row_of_two_episodes_does_not_count_as_learned():
    # 51 episodes of 1, two of 100, then slowly up to 20.
    lucky = [1.0] * 25 + [100.0] + [1.0] * 25 + [20.0] * 60
    flat = [20.0] * len(lucky)
    rows = rows_of({"ppo": {0: flat}, "rpo": {0: lucky}}, episodes_per_row=2)
    # A mean of 100 episodes is 20 only when almost all 50 rows of it are.
    assert rows["rpo"].reached is not None and rows["rpo"].reached > 10 * (51 + 40)
    assert rows["ppo"].reached == 10


def test_rows_without_returns():
    rows = rows_of({"ppo": {0: [None, 10.0, None, 50.0]}, "rpo": {0: [None, None, None, 70.0]}})
    assert rows["rpo"].reached == 40 and rows["rpo"].statistics["area"] == 70
    # From step 20 to step 40, straight from 10 to 50.
    assert rows["ppo"].statistics["area"] == pytest.approx(30)


def test_a_reference_without_a_finished_run_is_never_reached():
    rows = rows_of({"ppo": {0: [1.0, 2]}, "rpo": {0: [1.0, 2]}}, status="failed")
    for row in rows.values():
        assert row.reached is None
        assert math.isnan(row.statistics["area"]) and math.isnan(row.entropy)
        # Of nothing that is finished, what there is is drawn.
        assert row.seeds == () and list(row.curves["return"].seeds) == [0]


def test_runs_on_disk(tmp_path):
    study = Study("mine", "", (Part((TASK,), ("ppo", "rpo"), (0, 1, 2), 40_960),))
    for config in study.configs():
        seed, broken = config.settings.seed, config.method == "rpo" and config.settings.seed == 2
        final = {"ppo": 100.0, "rpo": 200.0}[config.method]
        write_run(
            tmp_path,
            config.variant,
            seed,
            final_return=None if broken else final,
            status="failed" if broken else "completed",
        )
    ppo, rpo = read_summary(study, tmp_path).rows
    assert ppo.reached == 20 * 2048
    # Two episodes a row: the mean of all rows up to i of 10 k, k = 1 … i, is 5 (i + 1) < 100, so
    # only the recorded final return is above.
    assert rpo.reached == 20 * 2048
    assert rpo.seeds == (0, 1) and list(rpo.curves["return"].seeds) == [0, 1]
    # From row 1 to row 19, straight from 10 to 190.
    assert rpo.statistics["area"] == pytest.approx(100.0)


def test_unknown_values_are_left_out_of_curves():
    runs = [
        loaded_run(0, [None, 20.0, 30.0]),
        loaded_run(1, [math.nan, None], final=1.0),
        loaded_run(2, [7.0]),
        loaded_run(3, [], final=1.0),
    ]
    curves = curves_of(runs, "return_mean")
    assert {seed: curve.steps.tolist() for seed, curve in curves.seeds.items()} == {
        0: [20, 30],
        2: [10],
    }
    assert curves.seeds[0].values.tolist() == [20, 30]
    # The fourth has no row at all.
    assert curves.runs == 3 and curves.band is None
