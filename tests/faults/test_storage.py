"""Disks that fill up, files that are cut or flipped, two writers: nothing recorded is lost."""

import json
import random
import shutil
import signal
import socket
import subprocess
import time
from importlib.metadata import version

import pytest
from safetensors.numpy import load

import robustpo
from faults.killing import (
    COMMAND,
    assert_same_runs,
    end,
    kill,
    lines_of,
    runs_in,
    start,
    wait_for,
    workers_in,
)
from robustpo.base.files import read_tensors, write_tensors

TASK = "dm_control/cartpole-balance-v0"
# Forty rollouts: forty rows of some 620 bytes, a policy of 39 kB, checkpoints of 120 kB and more.
FLAGS = [
    *("--seeds", "0:2", "--steps", 20480, "--num-steps", 512, "--num-minibatches", 4),
    *("--update-epochs", 2, "--workers", 1),
]

SLOW = pytest.mark.slow


def train(*flags, cwd, limit=None):
    """Type a command and wait for it; `limit` is the size in KiB that no file may exceed."""
    command = [str(COMMAND), "train", TASK, *map(str, FLAGS), *map(str, flags)]
    if limit is not None:
        command = ["sh", "-c", f'ulimit -f {limit * 2}; exec "$@"', "sh", *command]
    return subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200
    )


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    home = tmp_path_factory.mktemp("untouched")
    done = train(cwd=home)
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, untouched):
    """A command stopped by SIGTERM in the middle, with two checkpoints."""
    home = tmp_path_factory.mktemp("stopped")
    flags = [*FLAGS, "--checkpoint-every", 1024]
    process = start("train", TASK, *flags, cwd=home)
    try:
        wait_for(lambda: len(checkpoints_in(home)) == 4, process)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    finally:
        end(process)
    assert process.returncode == 143, stderr
    assert stderr.splitlines()[-1] == "robustpo: stopped; what was recorded is kept"
    assert "Traceback" not in stderr and workers_in(home) == []
    assert len(checkpoints_in(home)) == 4
    return home


def checkpoints_in(home):
    return sorted(home.rglob("checkpoint/step-*.safetensors"))


def newest_of(run):
    return max((run / "checkpoint").iterdir())


@pytest.mark.parametrize(
    ("limit", "flags", "file"),
    [
        (8, [], "metrics.jsonl"),
        pytest.param(64, ["--checkpoint-every", 1024], "checkpoint/step-", marks=SLOW),
        # It is written before the policy, and is larger.
        pytest.param(32, [], "final.safetensors", marks=SLOW),
    ],
)
def test_a_full_disk_stops_with_one_line_and_the_same_command_goes_on(
    tmp_path, untouched, limit, flags, file
):
    failed = train(*flags, cwd=tmp_path, limit=limit)
    assert failed.returncode == 1, failed.stderr
    assert "Traceback" not in failed.stderr
    said = [line for line in failed.stderr.splitlines() if "could not be written" in line]
    assert file in said[0] and "File too large" in said[0] and "make room" in said[0]
    # Said while it happened and once more as the reason of the failure.
    assert len(said) <= 2
    kept = [path for path in tmp_path.rglob("metrics.jsonl")]
    before = {path: [json.dumps(r) for r in whole_rows(path)] for path in kept}
    assert any(before.values())
    went_on = train(*flags, cwd=tmp_path)
    assert went_on.returncode == 0, went_on.stderr
    assert_same_runs(untouched / "runs", tmp_path / "runs")


def whole_rows(path):
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


# Of every checkpoint: the command notices the second itself, its workers the first.
ALL = ("all", "heads")


@pytest.mark.parametrize(
    "damage",
    ["flip", *(pytest.param(damage, marks=SLOW) for damage in ("cut", "empty", "all", "heads"))],
)
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(
    tmp_path, stopped, untouched, damage
):
    home = tmp_path / "home"
    shutil.copytree(stopped, home)
    rng = random.Random(damage)
    first = runs_in(home)[0]
    for path in [newest_of(first)] if damage not in ALL else checkpoints_in(home):
        content = bytearray(path.read_bytes())
        if damage == "cut":
            content = content[: rng.randrange(1, len(content))]
        elif damage == "empty":
            content = bytearray()
        elif damage == "heads":
            content[8] ^= 1
        elif damage == "all":
            content[-1] ^= 1
        else:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    done = train(cwd=home)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "checkpoint/step-" in line]
    assert len(said) == (1 if damage not in ALL else 4)
    assert newest_of(runs_in(stopped)[0]).name in said[0]
    assert {"; the run goes on from step" in line for line in said} == {damage not in ALL}
    assert "Traceback" not in done.stderr
    assert_same_runs(untouched / "runs", home / "runs")
    if damage in ALL:
        said = [line for line in done.stderr.splitlines() if "moved aside" in line]
        assert len(said) == (1 if damage == "heads" else 2)
        # The records that could not be gone on from are still there.
        aside = list(home.rglob(".seed-?.old-1/metrics.jsonl"))
        assert len(aside) == 2 and all(lines_of(path) for path in aside)
    else:
        assert "2 of 2 runs go on; newest checkpoint: step" in done.stderr


def test_going_on_under_other_versions_is_said_not_to_be_exact(tmp_path, stopped):
    home = tmp_path / "home"
    shutil.copytree(stopped, home)
    for path in checkpoints_in(home):
        tensors, state = read_tensors(path, 2**20)
        there = {
            "versions": state["versions"] | {"jax": "0.1.2"},
            "instruction_set": ["avx"],
            "xla_flags": ["--xla_cpu_enable_fast_math=true"],
        }
        write_tensors(path, tensors, state | there)
    done = train(cwd=home)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "no longer exact to the bit" in line]
    # Once for both runs.
    assert len(said) == 1
    assert f"jax {version('jax')} (was 0.1.2)" in said[0]
    assert "instruction set" in said[0] and "(was ['avx'])" in said[0]
    assert "XLA_FLAGS [] (was ['--xla_cpu_enable_fast_math=true'])" in said[0]
    (began, resumed) = (
        json.loads((runs_in(home)[0] / "config.json").read_text())[name]
        for name in ("versions", "resumed")
    )
    assert began["jax"] == resumed[-1]["versions"]["jax"] == version("jax")


@pytest.mark.slow
def test_metrics_can_be_read_while_they_are_written(tmp_path):
    process = start("train", TASK, *FLAGS, "--checkpoint-every", 512, cwd=tmp_path)
    steps = []
    try:
        wait_for(lambda: list(tmp_path.rglob("metrics.jsonl")), process)
        while process.poll() is None:
            table = robustpo.load_results(tmp_path / "runs").filter(seed=0)
            if len(table):
                assert table["step"].to_list() == [512 * (i + 1) for i in range(len(table))]
                assert table["entropy"].is_not_null().all()
                steps.append(len(table))
            for path in tmp_path.glob("runs/*/*/*/seed-?/metrics.safetensors"):
                assert "entropy" in load(path.read_bytes())
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr
    finally:
        end(process)
    assert steps == sorted(steps) and len(set(steps)) > 3


def test_two_commands_do_not_write_to_one_run(tmp_path, untouched):
    flags = [*FLAGS, "--steps", 40960000, "--checkpoint-every", 1024]
    first = start("train", TASK, *flags, cwd=tmp_path)
    try:
        wait_for(lambda: list(tmp_path.rglob("metrics.jsonl")), first)
        second = train("--steps", 40960000, "--checkpoint-every", 1024, cwd=tmp_path)
        assert second.returncode == 2, second.stderr
        line = second.stderr.splitlines()[-1]
        assert f"is being written by process {first.pid} on {socket.gethostname()}" in line
        # The owner dies, its workers end in order and the third waits for them.
        kill(first.pid)
        third = start("train", TASK, *flags, cwd=tmp_path)
        try:
            time.sleep(1.0)
            wait_for(lambda: any(row["step"] > 0 for row in rows_of_all(tmp_path)), third)
            deadline = time.monotonic() + 60
            while len(workers_in(tmp_path)) != 1 and time.monotonic() < deadline:
                time.sleep(0.1)
            assert len(workers_in(tmp_path)) == 1
            assert third.poll() is None
            third.send_signal(signal.SIGINT)
            _, stderr = third.communicate(timeout=60)
            assert third.returncode == 130, stderr
            assert "2 of 2 runs go on; newest checkpoint: step" in stderr
        finally:
            end(third)
    finally:
        end(first)
    # Nothing but runs is left: no locks, no partial files.
    left = [path.name for path in tmp_path.rglob(".*") if path.name != ".seed-0.old-1"]
    assert left == []


def rows_of_all(home):
    return [row for path in home.rglob("metrics.jsonl") for row in whole_rows(path)]
