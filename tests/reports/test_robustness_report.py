"""What the report on robustness says, of findings that are made up."""

import dataclasses
import math

import pytest

from reports.robustness_examples import PPO, RPO, TASK, measured, results, rows
from robustpo.environments.shifts import SHIFTS
from robustpo.reports.page import plain_page
from robustpo.reports.robustness import markdown, section, sentences, table, write_report
from robustpo.statistics.means import holm
from robustpo.stress.findings import find
from robustpo.stress.measure import Terms
from robustpo.stress.results import results_of
from robustpo.stress.study import Measured


def test_areas_halves_and_p_values_are_those_of_the_numbers():
    found = {(one.shift, one.variant): one for one in results().findings}
    ppo, rpo = found["first", "ppo_steps-1m"], found["first", "rpo_steps-1m"]
    # (500 + 300) / 2 and (300 + 102) / 2, and the mean of both.
    assert ppo.area.mean == pytest.approx((400 + 201) / 2)
    assert rpo.area.mean == pytest.approx((451 + 351) / 2)
    # Of 400 above random half is left at 300.
    assert ppo.half_above == pytest.approx(1.0)
    assert rpo.half_above == pytest.approx(2.0)
    assert math.isnan(ppo.half_below)
    assert ppo.kept == pytest.approx((300.5 - 100) / 400)
    assert ppo.better is None
    better = [found[shift, "rpo_steps-1m"].better for shift in ("first", "second")]
    adjusted = [one.p_adjusted for one in better if one]
    assert adjusted == holm([one.p_value for one in better if one])
    assert adjusted[0] < 0.001 < 0.05 < adjusted[1]


def test_a_broken_seed_counts_nowhere_but_as_broken():
    broken = rows((500, None, 100), *[(500, 300, 100)] * 4)
    (found,) = find([measured("first", ppo=broken)], "ppo")
    assert found.broken == 1
    assert found.area.count == 4
    assert [point.count for point in found.curve] == [5, 4, 5]


def test_what_is_kept_is_of_those_policies_that_have_an_area():
    # The one that broke earned much more, or nothing at all.
    for broken in ((None, 0, 0), (5000, None, 0)):
        (found,) = find([measured("first", ppo=rows((500, 500, 500), broken))], "ppo")
        assert found.kept == pytest.approx(1.0)


def test_the_median_level_is_that_of_the_distance_from_training():
    shift = dataclasses.replace(SHIFTS["mass"], name="first")
    scores = rows((90, 100, 100), (0, 60, 100), (0, 10, 100))
    one = Measured(TASK, shift, TASK, (0.25, 0.5, 1.0), {"ppo": scores}, 0.0)
    (found,) = find([one], "ppo")
    # Never; at 50 between 0 and 60; at 50 between 10 and 100: the middle one is nearer to never.
    assert found.half_below == pytest.approx(0.25 + 0.25 * 50 / 60)
    assert math.isnan(found.half_above)


@pytest.mark.parametrize(
    ("ppo", "rpo", "pairs"),
    [
        (PPO, {seed + 5: row for seed, row in RPO.items()}, 0),
        ({seed: PPO[seed] for seed in (0, 1)}, RPO, 2),
        (PPO, RPO | rows(*[(500, None, 100)] * 3), 2),
    ],
)
def test_fewer_than_five_pairs_give_no_verdict(ppo, rpo, pairs):
    both = [measured("first", ppo=ppo, rpo=rpo)]
    found = results_of(both, "ppo", Terms())
    (text,) = sentences(found)
    assert text.endswith(
        f"no verdict on rpo, which takes 5 seeds that both have; there are {pairs}."
    )
    assert table(found, TASK)[1][7:] == ("", "")


def test_the_sentence_counts_what_is_told():
    (text,) = sentences(results())
    assert text == (
        "walker-walk: against ppo, rpo returns more under 1, less under 0, and loses less under 1, "
        "more under 0 of its own return, of 2 shifts."
    )


def test_the_table_has_a_row_for_each_method_under_each_shift():
    found = table(results(), TASK)
    assert [row[:2] for row in found] == [
        ("first", "ppo"),
        ("first", "rpo"),
        ("second", "ppo"),
        ("second", "rpo"),
    ]
    assert found[0][4] == "50%"
    assert found[1][6].startswith("+100.5")
    text = markdown(results())
    assert "A note." in text and "robustpo robustness x" in text


def test_what_is_written_is_all_there(tmp_path):
    files = write_report(results(), tmp_path, tmp_path)
    assert {file.name for file in files} == {
        "robustness.md",
        *(f"{stem}.{kind}" for stem in ("kept", "curves") for kind in ("png", "svg", "pdf")),
    }
    assert all(file.stat().st_size > 500 for file in files)


def test_no_text_on_the_page_is_taken_for_html():
    hostile = "<script>alert(1)</script>"
    page = plain_page(hostile, section(results(task=f"a:{hostile}", command=hostile)))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "script-src 'none'" in page
