"""Runs killed at random moments, many times, end like a run that was never touched.

`ROBUSTPO_KILLS` says how often; `make soak` sets it to the long form.
"""

import os
import random
import signal
import subprocess
import time

import pytest

from faults.killing import assert_same_runs, end, kill, start, workers_in

KILLS = int(os.environ.get("ROBUSTPO_KILLS", "4"))
VICTIMS = ("all", "worker", "parent")
TASK = "dm_control/cartpole-balance-v0"
# Eighty rollouts of 512 steps, a checkpoint after every second, now and then an evaluation.
FLAGS = [
    *("--methods", "ppo", "rpo", "--seeds", "0:2", "--steps", 40960, "--num-steps", 512),
    *("--num-minibatches", 4, "--update-epochs", 2, "--checkpoint-every", 1024),
    *("--eval-every", 10240, "--eval-episodes", 1),
]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    home = tmp_path_factory.mktemp("untouched")
    process = start("compare", TASK, *FLAGS, "--workers", 1, cwd=home)
    begin = time.monotonic()
    _, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr
    return home, time.monotonic() - begin


def live_once(home, rng, longest, victims):
    """Start or go on, kill somebody at a random moment; return who was hit, or None."""
    process = start("compare", TASK, *FLAGS, "--workers", rng.choice([1, 2, 3]), cwd=home)
    try:
        process.wait(timeout=rng.uniform(0, longest))
    except subprocess.TimeoutExpired:
        workers = workers_in(home)
        if victims == "worker":
            number = rng.choice([signal.SIGKILL, signal.SIGTERM])
            hit = bool(workers) and kill(rng.choice(workers), number)
            # The others of the command go on to their ends.
            _, stderr = process.communicate(timeout=120)
            done = len(list((home / "runs").rglob("seed-?/result.json"))) == 4
            # It may have been hit when all was recorded.
            assert process.returncode == (0 if done else 1), stderr
            return None if done else f"worker by {number.name}" if hit else None
        kill(process.pid)
        if victims == "all":
            for worker in workers_in(home):
                kill(worker)
        process.communicate()
        return victims
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return None


@pytest.mark.slow
def test_killed_runs_end_like_one_that_was_not(tmp_path, untouched):
    reference, whole_life = untouched
    rng = random.Random(int(os.environ.get("ROBUSTPO_KILL_SEED", "1")))
    kills, finished, number = [], 0, 0
    while len(kills) < KILLS or not finished:
        home = tmp_path / str(number)
        home.mkdir()
        number += 1
        while True:
            victims = VICTIMS[len(kills) % len(VICTIMS)]
            killed = live_once(home, rng, whole_life, victims)
            if killed:
                kills.append(killed)
            if len(kills) >= KILLS:
                process = start("compare", TASK, *FLAGS, cwd=home)
                try:
                    _, stderr = process.communicate(timeout=200)
                    assert process.returncode == 0, stderr
                finally:
                    end(process)
                killed = None
            if killed is None and (home / "runs").exists():
                results = list((home / "runs").rglob("seed-?/result.json"))
                if len(results) == 4:
                    break
        assert_same_runs(reference / "runs", home / "runs")
        finished += 1
    print(f"{len(kills)} kills ({', '.join(sorted(set(kills)))}) over {finished} studies")
