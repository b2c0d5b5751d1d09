"""`robustpo study` as a person uses it: list, show, run, status, extend, report, refuse."""

import csv
import json
import shlex

import pytest

NAME = ["figure-7", "--out", "runs"]
SMALL = ["--tasks", "Pendulum", "--steps", "4096"]


@pytest.fixture(scope="module")
def ran(robustpo_command, tmp_path_factory):
    place = tmp_path_factory.mktemp("study")
    done = robustpo_command("study", "run", *NAME, *SMALL, "--seeds", "0:2", cwd=place)
    assert done.returncode == 0, done.stderr
    return place, done


def test_a_study_runs_and_leaves_a_report(ran):
    place, done = ran
    assert done.stdout.startswith("On Pendulum-v1, no verdict on rpo against ppo: a verdict takes")
    assert "4.1k steps, 2 seeds each, time limit: terminal." in done.stdout
    report = place / "runs" / "studies" / "figure-7"
    names = {file.name for file in report.iterdir()}
    figures = {f"{what}.{kind}" for what in ("return", "entropy") for kind in ("png", "svg", "pdf")}
    tables = {"table.md", "table.tex", "table.csv"}
    assert names == {"index.html", "study.json"} | figures | tables
    rows = list(csv.DictReader((report / "table.csv").read_text("utf-8").splitlines()))
    assert [(row["method"], row["seeds"]) for row in rows] == [("ppo", "2"), ("rpo", "2")]
    ends = [
        json.loads(file.read_text())["final_return"]
        for file in (place / "runs" / "Pendulum-v1").rglob("ppo*/seed-*/result.json")
    ]
    assert float(rows[0]["mean"]) == pytest.approx(sum(ends) / 2)
    assert "-1141.98" in rows[0]["published"]


def test_the_command_of_a_number_trains_the_same_runs(ran, robustpo_command):
    place, _ = ran
    file = place / "runs" / "studies" / "figure-7" / "table.csv"
    rows = list(csv.DictReader(file.read_text("utf-8").splitlines()))
    program, *words = shlex.split(rows[1]["command"])
    assert program == "robustpo"
    done = robustpo_command(*words, cwd=place)
    assert done.returncode == 0, done.stderr
    # Nothing is trained again: the runs of the study are the runs of the command.
    assert "2 of 2 runs are recorded already" in done.stderr


def test_status_counts_and_extension_adds_only_what_is_missing(ran, robustpo_command):
    place, _ = ran
    status = robustpo_command("study", "status", *NAME, "--json", cwd=place)
    assert json.loads(status.stdout)["counts"]["done"] == 4
    more = [*NAME, *SMALL, "--seeds", "0:3", "--no-report"]
    done = robustpo_command("study", "run", *more, cwd=place)
    assert "4 of 6 runs are recorded already" in done.stderr
    status = robustpo_command("study", "status", *NAME, cwd=place)
    assert status.stdout.startswith("figure-7: 6 done of 6 runs; 100% of the steps")


def test_another_length_is_refused(ran, robustpo_command):
    place, _ = ran
    done = robustpo_command("study", "run", *NAME, "--tasks", "Pendulum", cwd=place)
    assert done.returncode == 2
    assert "steps=4,096, now 8,000,000" in done.stderr


def test_list_and_show(robustpo_command, tmp_path):
    listed = robustpo_command("study", "list", "--json", cwd=tmp_path)
    names = [study["name"] for study in json.loads(listed.stdout)]
    assert {"figure-1", "table-3", "published-61"} <= set(names)
    shown = robustpo_command("study", "show", "table-3", "--seeds", "0:5", cwd=tmp_path)
    assert "220 runs" in shown.stdout and "drac-ppo" in shown.stdout
    absent = robustpo_command("study", "report", "table-3", "--out", "r", cwd=tmp_path)
    assert absent.returncode == 2 and "has not been run" in absent.stderr
