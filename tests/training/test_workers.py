"""Real worker processes: the same seed is the same run, and a stop keeps everything."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import robustpo

# Measured or scheduled by the clock, so equal only by chance.
CLOCKS = {"seconds"}


def tensors_of(directory):
    return robustpo.load_policy(directory).tensors


def metrics_of(directory):
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in rows]


def assert_same_run(one, other):
    first, second = tensors_of(one), tensors_of(other)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert metrics_of(one) == metrics_of(other)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, tiny):
    """The RPO half of the comparison again: two workers, one agent each, not pinned."""
    home = tmp_path_factory.mktemp("alone")
    events = []
    runs = robustpo.train(
        tiny.task,
        seeds=[1, 0],
        workers=2,
        pin=False,
        out=home,
        callback=events.append,
        progress=False,
        **tiny.options,
    )
    return runs, events


def test_alone_in_two_workers_or_beside_others_in_one(alone, comparison):
    runs, _ = alone
    assert [run.name for run in runs] == ["seed-1", "seed-0"]
    assert_same_run(runs[0], comparison.run("rpo", 1))
    assert_same_run(runs[1], comparison.run("rpo", 0))


def test_another_seed_is_another_run(comparison):
    first, second = (tensors_of(comparison.run("rpo", seed)) for seed in (0, 1))
    assert not np.array_equal(first["actor.0.weight"], second["actor.0.weight"])


def test_perturbation_makes_the_difference_between_methods(comparison):
    # Equal seeds collect the first rollout alike; only the update differs.
    ppo, rpo = (metrics_of(comparison.run(method, 0)) for method in ("ppo", "rpo"))
    assert ppo[0]["transitions"] == rpo[0]["transitions"]
    assert ppo[0]["explained_variance"] == pytest.approx(rpo[0]["explained_variance"], abs=1e-6)
    assert ppo[0]["policy_loss"] != rpo[0]["policy_loss"]


def test_the_callback_hears_of_every_iteration(alone):
    _, events = alone
    assert sorted((e["seed"], e["step"]) for e in events) == [
        (seed, 512 * i) for seed in (0, 1) for i in range(1, 9)
    ]
    needed = {"task", "variant", "entropy", "policy_loss", "return_mean", "learning_rate"}
    assert all(needed <= set(event) for event in events)


def start(tiny, *flags, cwd):
    # A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
    # Whoever handles a signal passes on its default.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [Path(sys.executable).with_name("robustpo"), "train", tiny.task, *map(str, flags)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Its own group, so that a failing test can end whatever is left of it.
        start_new_session=True,
    )


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "nothing was recorded"
        time.sleep(0.1)


def test_ctrl_c_keeps_what_was_recorded(tmp_path, tiny):
    flags = ["--seeds", "0:3", *tiny.flags, "--steps", 4_000_000, "--out", "o"]
    process = start(tiny, *flags, cwd=tmp_path)
    try:
        # 7,812 iterations, 16 to a row: far from the end when the first row is written.
        wait_for(lambda: len(list(tmp_path.rglob("metrics.jsonl"))) == 3, process)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        took = time.monotonic() - begin
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 130, stderr
    assert took < 60
    assert stdout == ""
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1] == "robustpo: stopped; what was recorded is kept"
    assert "done)" not in stderr and not stderr.splitlines()[-2].startswith("100%")
    runs = sorted(path.parent for path in tmp_path.rglob("config.json"))
    assert [run.name for run in runs] == ["seed-0", "seed-1", "seed-2"]
    for run in runs:
        assert not (run / "result.json").exists()
        assert np.isfinite(robustpo.load_policy(run)(np.zeros(4))).all()
        assert len(metrics_of(run)) >= 1
    summary = robustpo.load_summary(tmp_path / "o")
    assert summary["status"].to_list() == ["incomplete"] * 3
    table = robustpo.load_results(tmp_path / "o")
    assert set(table["seed"]) == {0, 1, 2} and table["entropy"].is_finite().all()
    assert left_over(tmp_path) == []


def left_over(directory):
    """Return processes that still work in a directory."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(place / "cwd") == str(directory):
                found.append(place.name)
        except OSError:
            continue
    return found


def test_workers_end_with_their_parent(tmp_path, tiny):
    flags = ["--seeds", "0:2", *tiny.flags, "--steps", 4_000_000, "--out", "o"]
    process = start(tiny, *flags, cwd=tmp_path)
    wait_for(lambda: list(tmp_path.rglob("metrics.jsonl")), process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while left_over(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left_over(tmp_path) == []
    # The end of its input is the worker's sign to stop in order.
    assert list(tmp_path.rglob("policy.safetensors"))
