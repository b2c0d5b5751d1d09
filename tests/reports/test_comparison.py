"""A written comparison: its files, its table, and that it drops nothing silently."""

import io

import polars as pl
import pytest
from rich.console import Console

from reports.runs import write_run
from robustpo.errors import ConfigError
from robustpo.reports.comparison import write_comparison
from robustpo.studies.grid import short_labels
from robustpo.studies.store import SUMMARY_SCHEMA, load_results, load_summary


def compare(root, out, variants=None):
    return write_comparison(out, load_results(root), load_summary(root), variants)


def shown(report, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(report.terminal)
    return console.export_text()


@pytest.fixture
def five_seeds(tmp_path):
    for seed in range(5):
        write_run(tmp_path / "runs", "ppo_steps-41k", seed, final_return=100.0 + 10 * seed)
        write_run(tmp_path / "runs", "rpo_steps-41k", seed, final_return=500.0 + 10 * seed)
    return tmp_path / "runs"


def test_every_file_is_written(five_seeds, tmp_path):
    report = compare(five_seeds, tmp_path / "new" / "report")
    names = {path.name for path in report.files}
    figures = {
        f"{kind}_curves.{ext}" for kind in ("learning", "entropy") for ext in ("png", "svg", "pdf")
    }
    assert names == figures | {"table.md", "summary.csv"}
    assert all(path.stat().st_size > 0 for path in report.files)
    assert pl.read_csv(tmp_path / "new" / "report" / "summary.csv").height == 10


def test_table_by_hand(five_seeds, tmp_path):
    report = compare(five_seeds, tmp_path / "report")
    rows = [line for line in report.table.splitlines() if line.startswith("| ")]
    # Means 120 and 520, s = √250 = 15.8, t_{0.975, 4} = 2.776445: ± 19.63; the difference as in
    # test_verdict: 400 ± 23.06. Entropy ends at 5 - 0.1·19; 5 runs of 40 episodes.
    assert rows[2] == "| ppo | 5 | 120 ± 16 | 100 to 140 | 3.10 | 200 | 41k | reference | - |"
    assert rows[3] == (
        "| rpo | 5 | 520 ± 16 | 500 to 540 | 3.10 | 200 | 41k | +400 (377 to 423) | \\< 0.001 |"
    )
    assert "rpo ended 400 above ppo" in report.sentence
    assert report.sentence in report.table.replace("\\", "")
    assert "time limit: terminal" in report.table


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_terminal_table_fits(five_seeds, tmp_path, width):
    text = shown(compare(five_seeds, tmp_path / "report"), width)
    assert max(len(line) for line in text.splitlines()) <= width
    if width >= 80:
        assert "+400 (377 to 423)" in text
    assert ("entropy" in text) == (width >= 120)


def test_failed_and_incomplete_runs_are_stated(tmp_path):
    root = tmp_path / "runs"
    for seed in range(5):
        write_run(root, "ppo", seed)
        write_run(root, "rpo", seed, final_return=200.0 + seed)
    write_run(root, "rpo", 5, status="failed", final_return=9.9, rows=3, error="loss is nan\ntrace")
    write_run(root, "rpo", 6, status=None, rows=4)
    write_run(root, "rpo", 7, final_return=None)
    report = compare(root, tmp_path / "report")
    row = report.comparison.rows[1]
    assert row.seeds == (0, 1, 2, 3, 4)
    assert row.interval.mean == pytest.approx(202.0)
    assert report.comparison.notes == (
        "rpo seed 5: failed at step 6,144 (loss is nan)",
        "rpo seed 6: incomplete at step 8,192",
        "rpo seed 7: without a return at step 40,960",
    )
    assert "5 (1 failed, 1 incomplete, 1 without a return)" in report.table
    assert "rpo seed 5: failed at step 6,144" in report.table
    assert "3 of 13 runs are left out" in report.sentence
    assert "5 of 8" in shown(report, 80)
    assert "left out: rpo seed 6" in shown(report, 80)


def test_few_seeds_are_shown_one_by_one_without_p_values(tmp_path):
    root = tmp_path / "runs"
    for seed in range(2):
        write_run(root, "ppo", seed, final_return=101.0 + seed)
        write_run(root, "rpo", seed, final_return=301.0 + seed)
    report = compare(root, tmp_path / "report")
    assert "| 301, 302 |" in report.table
    assert "no verdict" in report.sentence
    assert "| p |" not in report.table
    assert "rpo, single seeds: 301, 302" in shown(report, 80)


def test_no_completed_run_is_reported_not_raised(tmp_path):
    write_run(tmp_path / "runs", "ppo", 0, status=None, rows=0)
    write_run(tmp_path / "runs", "rpo", 0, status="failed", final_return=None, rows=2)
    report = compare(tmp_path / "runs", tmp_path / "report")
    assert "no verdict" in report.sentence
    assert len(report.comparison.notes) == 2
    assert "0 of 1" in shown(report, 80)


def test_mixed_time_limits_are_stated(tmp_path):
    write_run(tmp_path / "runs", "ppo", 0)
    write_run(tmp_path / "runs", "ppo_time-limit-bootstrap", 0, time_limit="bootstrap")
    report = compare(tmp_path / "runs", tmp_path / "report")
    assert "bootstrap (ppo_time-limit-bootstrap) and terminal (ppo)" in report.sentence


def test_variants_are_ordered_and_selected(tmp_path):
    root = tmp_path / "runs"
    for variant in ("rpo_alpha-10", "rpo_alpha-3", "rpo", "ppo"):
        write_run(root, variant, 0)
    found = compare(root, tmp_path / "a").comparison.rows
    assert [row.label for row in found] == ["ppo", "rpo", "rpo_alpha-3", "rpo_alpha-10"]
    chosen = compare(root, tmp_path / "b", ["rpo", "rpo_alpha-3"])
    assert [row.label for row in chosen.comparison.rows] == ["rpo", "rpo_alpha-3"]
    assert chosen.comparison.reference == "rpo"


def test_requests_that_make_no_sense_are_refused(tmp_path):
    root = tmp_path / "runs"
    write_run(root / "a", "ppo", 0)
    with pytest.raises(ConfigError, match=r"variants=\['sac'\].*out of ppo"):
        compare(root, tmp_path / "report", ["sac"])
    write_run(root / "b", "ppo", 0)
    with pytest.raises(ConfigError, match="seed 0 of variant ppo occurs more than once"):
        compare(root, tmp_path / "report")
    write_run(root / "c", "ppo", 1, task="Other-v1")
    with pytest.raises(ConfigError, match="runs are of 2: Other-v1, dm_control"):
        compare(root, tmp_path / "report")
    nothing = pl.DataFrame(schema=SUMMARY_SCHEMA)
    with pytest.raises(ConfigError, match="there is no run to compare"):
        write_comparison(tmp_path / "report", load_results(root), nothing)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written to"):
        compare(root / "a", tmp_path / "file")


def test_names_cannot_break_the_table(tmp_path):
    write_run(tmp_path / "runs", "rpo_a|b<i>", 0, task="x|<&y")
    report = compare(tmp_path / "runs", tmp_path / "report")
    assert "| rpo\\_a\\|b\\<i\\> | 1 |" in report.table
    assert "x|<&y" in shown(report, 80)


def test_labels_drop_only_what_is_shared_and_stated():
    assert short_labels(["ppo_steps-1m_gamma-0.9", "rpo_gamma-0.9_steps-1m"]) == {
        "ppo_steps-1m_gamma-0.9": "ppo_gamma-0.9",
        "rpo_gamma-0.9_steps-1m": "rpo_gamma-0.9",
    }
    assert short_labels(["ppo_steps-1m", "rpo"])["ppo_steps-1m"] == "ppo_steps-1m"
