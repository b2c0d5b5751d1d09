"""A written comparison: its files, its table, and that it drops nothing silently."""

import io
import os

import polars as pl
import pytest
from rich.console import Console

from reports.runs import write_run
from robustpo.base.naming import reference_variant, variant_labels
from robustpo.errors import ConfigError, StorageError
from robustpo.reports.report import write_comparison_report
from robustpo.reports.words import left_out_lines, setup_text
from robustpo.runs.record import run_directory
from robustpo.studies.study import Part, Study

TASK = "dm_control/walker-walk-v0"


def study_of(*methods, seeds=5, task=TASK, **options):
    return Study(
        "comparison", "methods", (Part((task,), methods, tuple(range(seeds)), 40_960, options),)
    )


def record(study, out, returns):
    """Write the runs of a study, whose endings are given by method: `write_run`'s or returns."""
    for config in study.configs():
        ending = returns[config.method](config.settings.seed)
        ending = ending if isinstance(ending, dict) else {"final_return": ending}
        made = write_run(out, config.variant, config.settings.seed, task=config.task, **ending)
        if made != run_directory(out, config):
            os.renames(made, run_directory(out, config))


def shown(report, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(report.terminal)
    return console.export_text()


@pytest.fixture
def five_seeds(tmp_path):
    study = study_of("ppo", "rpo")
    record(study, tmp_path, {"ppo": lambda s: 100.0 + 10 * s, "rpo": lambda s: 500.0 + 10 * s})
    return write_comparison_report(study, tmp_path)


def test_every_file_is_written(five_seeds):
    names = {path.name for path in five_seeds.files}
    figures = {
        f"{kind}_curves.{ext}" for kind in ("learning", "entropy") for ext in ("png", "svg", "pdf")
    }
    assert names == figures | {"index.html", "table.md", "summary.csv"}
    assert all(path.stat().st_size > 0 for path in five_seeds.files)
    assert pl.read_csv(five_seeds.files[-1]).height == 10


def test_table_by_hand(five_seeds):
    rows = [line for line in five_seeds.table.splitlines() if line.startswith("| ")]
    # Means 120 and 520, s = √250 = 15.8, t_{0.975, 4} = 2.776445: ± 19.63; the difference as in
    # test_verdict: 400 ± 23.06. Entropy ends at 5 - 0.1·19; 5 runs of 40 episodes.
    assert rows[2] == "| ppo | 5 | 120 ± 16 | 100 to 140 | 3.10 | 200 | 41k | reference | - | - |"
    assert rows[3] == (
        "| rpo | 5 | 520 ± 16 | 500 to 540 | 3.10 | 200 | 41k | +400 (377 to 423) | \\< 0.001 | "
        "0.008 |"
    )
    assert "rpo is better than ppo: its mean final return is 400 higher" in five_seeds.sentence
    assert five_seeds.sentence in five_seeds.table.replace("\\", "")
    assert "time limit: terminal" in five_seeds.table


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_terminal_table_fits(five_seeds, width):
    text = shown(five_seeds, width)
    assert max(len(line) for line in text.splitlines()) <= width
    if width >= 80:
        assert "+400 (377 to 423)" in text
    assert ("entropy" in text) == (width >= 120)


def test_failed_and_incomplete_runs_are_stated(tmp_path):
    endings = {
        5: {"status": "failed", "final_return": 9.9, "rows": 3, "error": "loss is nan\ntrace"},
        6: {"status": None, "rows": 4},
        7: {"final_return": None},
    }
    study = study_of("ppo", "rpo", seeds=8)
    record(study, tmp_path, {"ppo": lambda s: 100.0, "rpo": lambda s: endings.get(s, 200.0 + s)})
    report = write_comparison_report(study, tmp_path)
    row = report.summary.rows[1]
    assert row.seeds == (0, 1, 2, 3, 4)
    assert row.interval.mean == pytest.approx(202.0)
    assert left_out_lines(report.summary) == [
        "rpo seed 5: failed at step 6,144 (loss is nan)",
        "rpo seed 6: incomplete at step 8,192",
        "rpo seed 7: without a return at step 40,960",
    ]
    assert "5 (1 failed, 1 incomplete, 1 without a return)" in report.table
    assert "rpo seed 5: failed at step 6,144" in report.table
    assert "3 of 16 runs are left out" in report.sentence
    assert "5 of 8" in shown(report, 80)
    assert "left out: rpo seed 6" in shown(report, 80)


def test_few_seeds_are_shown_one_by_one_without_p_values(tmp_path):
    study = study_of("ppo", "rpo", seeds=2)
    record(study, tmp_path, {"ppo": lambda s: 101.0 + s, "rpo": lambda s: 301.0 + s})
    report = write_comparison_report(study, tmp_path)
    assert "| 301, 302 |" in report.table
    assert "no verdict" in report.sentence
    assert "p (Welch)" not in report.table
    assert "rpo, single seeds: 301, 302" in shown(report, 80)


def test_no_completed_run_is_reported_not_raised(tmp_path):
    study = study_of("ppo", "rpo", seeds=1)
    endings = {"ppo": {"status": None, "rows": 0}, "rpo": {"status": "failed", "rows": 2}}
    record(study, tmp_path, {name: lambda _, end=end: end for name, end in endings.items()})
    report = write_comparison_report(study, tmp_path)
    assert "no verdict" in report.sentence
    assert len(left_out_lines(report.summary)) == 2
    assert "0 of 1" in shown(report, 80)


def test_mixed_time_limits_are_stated(tmp_path):
    study = study_of("ppo", "ppo:time_limit=bootstrap", seeds=1)
    record(study, tmp_path, {"ppo": lambda s: 100.0})
    report = write_comparison_report(study, tmp_path)
    assert "bootstrap (ppo_time-limit-bootstrap) and terminal (ppo)" in report.sentence


def test_what_cannot_be_read_or_written_is_said(tmp_path):
    study = study_of("ppo", seeds=1)
    with pytest.raises(ConfigError, match=r"has no runs in .* yet"):
        write_comparison_report(study, tmp_path)
    record(study, tmp_path, {"ppo": lambda s: 1.0})
    (tmp_path / TASK / "comparison_ppo_steps-40.96k").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        write_comparison_report(study, tmp_path)


def test_names_cannot_break_the_table(tmp_path):
    study = study_of("ppo", seeds=1, task="x|<&y-v0")
    record(study, tmp_path, {"ppo": lambda s: 1.0})
    report = write_comparison_report(study, tmp_path)
    assert "# x\\|\\<&y-v0" in report.table
    assert "x|<&y" in shown(report, 80)


def test_labels_drop_what_is_shared_and_the_setup_states_it(tmp_path):
    assert variant_labels(["ppo_steps-1m_gamma-0.9", "rpo_gamma-0.9_steps-1m"]) == (
        {"ppo_steps-1m_gamma-0.9": "ppo", "rpo_gamma-0.9_steps-1m": "rpo"},
        ["gamma-0.9"],
    )
    assert variant_labels(["ppo_steps-1m", "rpo"])[0]["ppo_steps-1m"] == "ppo_steps-1m"
    study = study_of("ppo", "rpo", seeds=1, gamma=0.9)
    record(study, tmp_path, {"ppo": lambda s: 1.0, "rpo": lambda s: 1.0})
    report = write_comparison_report(study, tmp_path)
    assert [row.label for row in report.summary.rows] == ["ppo", "rpo"]
    assert (
        setup_text(report.summary)
        == "41k steps, 1 seed each, time limit: terminal, all with gamma-0.9"
    )


def test_reference_is_ppo_if_there_is_one():
    assert reference_variant(["rpo", "ppo_steps-300k", "ppo-entropy"]) == "ppo_steps-300k"
    assert reference_variant(["rpo_alpha-1", "rpo"]) == "rpo_alpha-1"
