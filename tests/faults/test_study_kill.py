"""A study that is stopped and killed in the middle ends like one that was never touched."""

import json
import signal

import pytest

from faults.killing import assert_same_runs, end, kill, lines_of, start, wait_for, workers_in

STUDY = """
tasks = ["dm_control/cartpole-balance-v0", "Pendulum-v1"]
methods = ["ppo", "rpo"]
seeds = "0:2"
steps = 40_960
num_steps = 512
num_minibatches = 4
update_epochs = 2
"""


def run(home, *more):
    (home / "mine.toml").write_text(STUDY)
    options = ("--checkpoint-every", 1024, "--workers", 2)
    return start("study", "run", "mine.toml", *options, *more, cwd=home)


def states(home):
    process = start("study", "status", "mine.toml", "--json", cwd=home)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return json.loads(output)


def rows(home):
    return sum(len(lines_of(path)) for path in (home / "runs").rglob("metrics.jsonl"))


@pytest.mark.slow
def test_a_killed_study_ends_like_one_that_was_not(tmp_path):
    untouched, home = tmp_path / "untouched", tmp_path / "home"
    for place in (untouched, home):
        place.mkdir()
    whole = run(untouched)
    assert whole.communicate(timeout=300) and whole.returncode == 0
    for number in (signal.SIGINT, signal.SIGKILL):
        process = run(home)
        try:
            before = rows(home)
            wait_for(lambda enough=before + 40: rows(home) >= enough, process)
            kill(process.pid, number)
            for worker in workers_in(home) if number == signal.SIGKILL else ():
                kill(worker)
            _, said = process.communicate(timeout=100)
        finally:
            end(process)
        assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), said
        found = states(home)
        assert found["counts"]["stopped"] >= 1 and found["counts"]["running"] == 0
        assert found["counts"]["done"] < 8
        assert {r["step"] for r in found["runs"] if r["state"] == "stopped"} != {0}
    process = run(home)
    output, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "go on; newest checkpoint: step" in said
    assert "index.html" in output
    assert states(home)["counts"]["done"] == 8
    assert_same_runs(untouched / "runs", home / "runs")
    # Nothing is trained again, and the report says the same.
    again = run(home)
    output, said = again.communicate(timeout=300)
    assert "8 of 8 runs are recorded already" in said
    tables = [place / "runs/studies/mine/table.csv" for place in (untouched, home)]
    assert tables[0].read_text() == tables[1].read_text()
