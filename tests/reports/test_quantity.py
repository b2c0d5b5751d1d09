"""Judging by what environments say: the right test, the right way round, and nothing made up."""

import re
from dataclasses import replace

import polars as pl
import pytest

from reports.test_comparison import record, shown, study_of
from robustpo.errors import ConfigError
from robustpo.reports.quantity import RETURN, Quantity, parse_quantity
from robustpo.reports.report import write_comparison_report, write_study_report
from robustpo.reports.summary import read_summary
from robustpo.studies.manifest import load_manifest, save_manifest
from robustpo.studies.study_file import read_study


def said(mean, *, proportion=True, episodes=100):
    return {"mean": mean, "episodes": episodes, "proportion": proportion}


def runs_of(*, offset):
    """Return endings by seed: as many successes as `offset` and the seed say; the return is 0."""
    return lambda seed: {
        "final_return": 0.0,
        "said": {
            "is_success": said(offset + 0.01 * seed),
            "distance": said(2.0 - offset + 0.1 * seed, proportion=False),
            "mode": {"text": True},
        },
    }


@pytest.fixture
def recorded(tmp_path):
    study = study_of("ppo", "rpo")
    record(study, tmp_path, {"ppo": runs_of(offset=0.3), "rpo": runs_of(offset=0.8)})
    return study, tmp_path


def judged(recorded, name):
    study, out = recorded
    return write_comparison_report(replace(study, judged_by=name), out)


def test_a_proportion_has_one_test_and_its_own_intervals(recorded):
    report = judged(recorded, "is_success")
    (row, other), (decision,) = report.summary.rows, report.summary.decisions
    assert row.returns == pytest.approx([0.3, 0.31, 0.32, 0.33, 0.34])
    assert other.interval.mean == pytest.approx(0.82)
    assert 0 < other.interval.low < 0.82 < other.interval.high < 1
    # 2 of the 252 divisions of ten runs are as far apart.
    assert decision.difference.p_adjusted == pytest.approx(2 / 252)
    assert (decision.outcome, decision.is_disputed) == ("win", False)
    assert decision.difference.mean == pytest.approx(0.5)
    assert report.sentence.startswith(
        "On dm_control/walker-walk-v0, rpo is better than ppo: its mean is_success is 0.500 higher"
    )
    assert "permutation test over seeds p = 0.008" in report.sentence
    assert "Welch" not in report.sentence and "judged by is_success" in report.sentence
    for width in (80, 120):
        text = shown(report, width)
        assert "is_success" in text and "Welch" not in text and "final return" not in text
        assert max(map(len, text.splitlines())) <= width


def test_all_against_none_is_told_apart(tmp_path):
    """Welch's test says nothing of two samples without any variance; this is no such test."""
    study = study_of("ppo", "rpo")
    ends = {
        name: lambda seed, mean=mean: {"final_return": 0.0, "said": {"done": said(mean)}}
        for name, mean in (("ppo", 0.0), ("rpo", 1.0))
    }
    record(study, tmp_path, ends)
    report = judged((study, tmp_path), "done")
    (decision,) = report.summary.decisions
    assert decision.outcome == "win"
    assert 0.9 < decision.difference.low < decision.difference.high <= 1


def test_less_is_better_where_that_is_said(recorded):
    more, less = (judged(recorded, name) for name in ("distance", "distance:min"))
    assert more.summary.decisions[0].outcome == "loss"
    (decision,) = less.summary.decisions
    assert decision.outcome == "win" and decision.difference.mean == pytest.approx(-0.5)
    assert decision.improvement.value == 1
    assert "rpo is better than ppo: its mean distance is 0.50 lower" in less.sentence
    assert "Welch's test" in less.sentence
    # The two reports do not overwrite each other, nor that of the return.
    assert len({report.files[0] for report in (more, less, judged(recorded, ""))}) == 3


def test_names_that_paths_do_not_have_stay_apart(tmp_path):
    study = study_of("ppo", "rpo")
    names = ("a/b", "a-b", "αβ", "γδ", "x" * 45 + "1", "x" * 45 + "2", "d-min", "d")

    def ends(seed):
        return {"final_return": 0.0, "said": {name: said(0.1 * seed) for name in names}}

    record(study, tmp_path, {"ppo": ends, "rpo": ends})
    found = {judged((study, tmp_path), name).files[0].parent for name in (*names, "d:min")}
    assert len(found) == len(names) + 1


def test_a_number_beyond_all_measure_is_not_called_text(tmp_path):
    study = study_of("ppo", "rpo")
    runs = {"final_return": 0.0, "said": {"huge": said(1e300, proportion=False)}}
    record(study, tmp_path, {"ppo": lambda seed: runs, "rpo": lambda seed: runs})
    with pytest.raises(ConfigError, match="'huge' is larger than any number"):
        judged((study, tmp_path), "huge")


def test_pages_tables_and_figures_have_it(recorded):
    report = judged(recorded, "is_success")
    names = {path.name for path in report.files}
    assert {"is_success_curves.png", "learning_curves.png"} <= names
    page = report.files[0].read_text()
    assert "--judge-by is_success" in page
    assert '"info/is_success"' in page and '"info/distance"' in page
    assert "no independent trials" in page and "Welch's t test" not in page
    table = next(path for path in report.files if path.name == "table.md").read_text()
    assert "final return" not in table.lower() and "p (Welch)" not in table
    rows = pl.read_csv(next(path for path in report.files if path.name == "summary.csv"))
    assert rows["info/is_success"].to_list()[:2] == [0.3, 0.31]
    # Curves are on the page of the return too.
    assert '"info/distance"' in judged(recorded, "").files[0].read_text()


def test_a_run_that_did_not_say_it_is_left_out_and_not_zero(tmp_path):
    study = study_of("ppo", "rpo", seeds=6)

    def some(seed):
        return {"final_return": 0.0, "said": {"done": said(0.5)} if seed else {}}

    record(study, tmp_path, {"ppo": some, "rpo": runs_of(offset=0.8)})
    summary = read_summary(replace(study, judged_by="done"), tmp_path)
    by_variant = {row.label: row for row in summary.rows}
    assert by_variant["ppo"].returns == (0.5,) * 5
    assert by_variant["rpo"].returns == ()
    assert {one.state for one in summary.left_out} == {"without done"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mode", "'mode' is text, which is no metric; they say is_success, distance"),
        ("succes", "'succes' is said by none of the runs; they say is_success, distance"),
        ("", None),
    ],
)
def test_what_cannot_be_judged_by_is_one_line(recorded, name, words):
    if words is None:
        assert judged(recorded, name).summary.quantity == RETURN
        return
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        judged(recorded, name)
    assert "\n" not in str(caught.value)


def test_runs_that_say_nothing_at_all(tmp_path):
    study = study_of("ppo", "rpo")
    record(study, tmp_path, {"ppo": lambda s: 1.0, "rpo": lambda s: 2.0})
    with pytest.raises(ConfigError, match="put no number into info"):
        judged((study, tmp_path), "is_success")


def test_names_are_read():
    assert parse_quantity("") == RETURN
    assert parse_quantity("distance:min") == Quantity("distance", less=True)
    for odd in ("\n", ":min", "x" * 200):
        with pytest.raises(ConfigError, match="judge_by="):
            parse_quantity(odd)


def test_a_study_file_and_its_record_keep_it(recorded, tmp_path):
    _, out = recorded
    file = tmp_path / "mine.toml"
    file.write_text(
        'tasks = ["dm_control/walker-walk-v0"]\nmethods = ["ppo", "rpo"]\nseeds = "0:5"\n'
        'steps = 40_960\njudge_by = "is_success"\n'
    )
    study = read_study(file)
    assert study.judged_by == "is_success"
    save_manifest(out, study)
    kept = load_manifest(out, study.name)
    assert kept is not None and kept.judged_by == "is_success"
    report = write_study_report(kept, out)
    assert "judged by is_success" in report.sentence
    assert report.summary.decisions[0].outcome == "win"
