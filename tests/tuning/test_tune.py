"""From a task to a recommended setting, on a real task, killed in the middle."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import robustpo
from robustpo.errors import ConfigError

FLAGS = ["--budget", "10m", "--seeds", "0:2", "--confirmation-seeds", "1000:1002", "--workers", "1"]


def test_what_cannot_be_searched_is_refused(tmp_path):
    one: dict[str, Any] = {"steps": 100_000}

    def refused(match, **options: Any):
        with pytest.raises(ConfigError, match=match):
            robustpo.tune("isaac/Cartpole-v0", out=tmp_path, **(one | options))

    refused("seed 1 is among", seeds="0:2", confirmation_seeds="1:6")
    refused("sampler='best'", sampler="best")
    refused("over='beta'", over="beta")
    refused("budget='soon'", budget="soon")
    refused("choose how long", steps=None)
    refused("alpha", method="ppo")
    refused("given as an option too", alpha=0.3)
    refused("named twice", over=["alpha", "alpha=0.1:1"])
    refused(r"gamma=1\.2", over="gamma=0.5:1.2")
    refused("of one rollout of", steps=300)
    assert not any(tmp_path.rglob("selection"))


def test_the_default_may_be_the_best(tmp_path, tiny, robustpo_command):
    words = ["tune", tiny.task, *FLAGS, "--sampler", "grid", "--points", "1", *tiny.flags]
    # The middle of the range, which is all of this grid, is the method's own 0.5.
    done = robustpo_command(*words, "--over", "alpha=0.4:0.6", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rpo as it comes is the recommended setting" in done.stdout
    assert "--method rpo:alpha=0.5 --seeds 2:12" in done.stdout
    again = robustpo_command(*words, "--over", "alpha=0.4:0.6", cwd=tmp_path)
    assert again.stdout == done.stdout


@pytest.mark.slow
def test_a_killed_search_goes_on_and_ends_in_a_confirmed_setting(tmp_path, tiny, robustpo_command):
    words = ["tune", tiny.task, *FLAGS, "--sampler", "grid", "--points", "4", *tiny.flags]
    command = [os.path.join(os.path.dirname(sys.executable), "robustpo"), *words]
    first = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    directory = tmp_path / "runs" / tiny.task / "tune_rpo_alpha"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        journal = directory / "trials.jsonl"
        if journal.exists() and journal.read_text().count('"judged"') >= 1:
            break
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    before = (directory / "trials.jsonl").read_text().splitlines()
    done = robustpo_command(*words, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = (directory / "trials.jsonl").read_text().splitlines()
    assert lines[: len(before)] == before
    asked = [json.loads(line)["setting"] for line in lines if '"asked"' in line]
    assert len(asked) == 4
    with (directory / "trials.csv").open() as file:
        trials = list(csv.DictReader(file))
    assert {trial["state"] for trial in trials} == {"done"}
    best = max(trials, key=lambda trial: float(trial["return at 100%"]))
    assert trials[0] == best
    assert f"alpha={best['alpha']}" in done.stdout
    assert "1000, 1001" in done.stdout
    confirmed = directory / "confirmation" / tiny.task
    seeds = {place.name for place in confirmed.glob("*/seed-*")}
    assert seeds == {"seed-1000", "seed-1001"}
    # The runs are those that training by itself makes.
    (run,) = directory.glob(f"selection/{tiny.task}/rpo_*alpha-{best['alpha']}*/seed-0")
    alone = robustpo.train(
        tiny.task,
        method=f"rpo:alpha={best['alpha']}",
        seeds=0,
        out=tmp_path / "alone",
        workers=1,
        progress=False,
        **tiny.options,
    )[0]
    assert (run / "policy.safetensors").read_bytes() == (alone / "policy.safetensors").read_bytes()

    other = robustpo_command(*words[:-2], "--update-epochs", 3, cwd=tmp_path)
    assert other.returncode == 2
    assert "another search" in other.stderr
