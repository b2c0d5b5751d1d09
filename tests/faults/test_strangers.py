"""A folder of results with links in it: what whole commands do to the rest of the disk."""

import os
import shutil

import pytest

import robustpo
from faults.planting import contents, make_home
from robustpo.errors import ConfigError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")


@pytest.fixture
def handed_on(comparison, tmp_path):
    """A comparison that a stranger hands on, and a home beside it."""
    out, home = tmp_path / "out", tmp_path / "home"
    shutil.copytree(comparison.out, out)
    make_home(home)
    return out, home, out / comparison.run("rpo", 0).relative_to(comparison.out)


def compare(task, tiny, out):
    return robustpo.compare(task, seeds="0:2", out=out, progress=False, **tiny.options)


def test_a_report_is_written_over_links_and_not_through_them(handed_on, tiny):
    out, home, run = handed_on
    # Finished runs are kept: only their remains are removed, and the report is written.
    os.symlink(home / "checkpoint", run / "checkpoint")
    os.symlink(home / ".bashrc", run / ".config.json.partial")
    (report,) = (run.parents[1]).glob("comparison_*")
    files = sorted(report.iterdir())
    assert len(files) > 6
    for file in files:
        file.unlink()
        file.symlink_to(home / ".bashrc")
        # What an earlier version would have written to first.
        (report / f".{file.name}.partial").symlink_to(home / ".bashrc")
    before = contents(home)
    written = compare(tiny.task, tiny, out).files
    assert contents(home) == before
    assert sorted(written) == files and not any(file.is_symlink() for file in files)
    shutil.rmtree(report)
    report.symlink_to(home)
    with pytest.raises(ConfigError, match=f"{report.name} is a link"):
        compare(tiny.task, tiny, out)
    assert contents(home) == before


def test_a_task_that_is_a_link_is_refused_in_one_line(handed_on, tiny, robustpo_command):
    out, home, run = handed_on
    task = run.parents[1]
    shutil.move(task, home / "task")
    task.symlink_to(home / "task")
    before = contents(home)
    done = robustpo_command(
        *("train", tiny.task, "--seeds", "0:3", "--out", out, *tiny.flags), cwd=home.parent
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and f"{task} is a link" in done.stderr
    assert contents(home) == before
