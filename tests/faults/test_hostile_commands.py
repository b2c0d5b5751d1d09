"""Commands on environments that do to the process what simulators do.

What comes out is the right result, or one clear line with the right exit code, in bearable time.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from environments import hostile

SMALL = [
    *("--num-steps", "256", "--num-minibatches", "4", "--update-epochs", "2"),
    *("--steps", "1024", "--workers", "1"),
]
SECONDS = 240


@pytest.fixture
def policy(tmp_path):
    hostile.save_idle_policy(tmp_path / "idle.safetensors")
    return "idle.safetensors"


@pytest.fixture
def run(robustpo_command, tmp_path):
    def run(command, *arguments):
        return robustpo_command(*command.split(), *arguments, cwd=tmp_path, timeout=SECONDS)

    return run


def one_line_of(done, code):
    """Hold a command against its exit code and its last line; no traceback anywhere."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("task", "code", "words"),
    [
        ("Exits", 1, "failed: task 'environments.hostile:Exits', simulator seed"),
        ("ExitsWhenMade", 2, "error: task 'environments.hostile:ExitsWhenMade' could not be made"),
        ("Interrupts", 1, "step raised KeyboardInterrupt"),
    ],
)
def test_an_environment_that_ends_the_program_does_not_end_ours(run, policy, task, code, words):
    done = run(f"evaluate {policy} --episodes 2 --task environments.hostile:{task}")
    assert words in one_line_of(done, code)
    assert done.stdout == ""


def test_a_worker_whose_simulator_exits_has_not_finished(run, tmp_path):
    task = "environments.hostile:Exits"
    done = run(f"train {task} --seeds 0:2 --out runs", *SMALL)
    last = one_line_of(done, 1)
    assert "failed: of 2 runs 2 are not finished" in last and "step ended the program" in last
    assert done.stdout == ""
    assert not list(tmp_path.rglob("result.json"))


def test_standard_output_is_the_result_alone(run, policy):
    task = "environments.hostile:Chatty"
    done = run(f"evaluate {policy} --episodes 2 --json --task {task}")
    assert json.loads(done.stdout)["mean"] == 10.0
    for said in ("reset!", "from C", "from a child"):
        assert said in done.stderr
    checked = run(f"envs {task} --check --json")
    assert {finding["status"] for finding in json.loads(checked.stdout)} == {"ok"}


def test_threads_left_behind_do_not_keep_a_command(run, policy):
    task = "environments.hostile:Threads"
    done = run(f"evaluate {policy} --episodes 2 --task {task}")
    assert done.returncode == 0 and done.stdout.startswith("return 10.00"), done.stderr
    assert run(f"envs {task} --check").returncode == 0


@pytest.mark.parametrize("command", ["evaluate", "record"])
def test_processes_left_behind_end_with_a_command(run, policy, tmp_path, command):
    # They hold the pipes that are read here, and the one by which FFmpeg learns of the end.
    started = time.monotonic()
    done = run(f"{command} {policy} --episodes 2 --task environments.hostile:Leaves")
    assert done.returncode == 0 and done.stdout, done.stderr
    assert time.monotonic() - started < SECONDS / 2
    assert not processes_in(tmp_path)


def processes_in(directory):
    """Return the ids of processes that work in a directory."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(place / "cwd") == str(directory):
                found.append(place.name)
    return found


def test_one_that_fails_to_close_is_no_failure(run, policy):
    done = run(f"evaluate {policy} --episodes 2 --task environments.hostile:ExitsWhenClosed")
    assert done.returncode == 0 and done.stderr == ""


def test_a_simulator_that_exists_once(run, tmp_path):
    task = "environments.hostile:Once"
    done = run(f"train {task} --eval-every 512 --out a", *SMALL)
    last = one_line_of(done, 2)
    assert "no environments to evaluate in (--eval-every)" in last and "already in use" in last
    assert not list(tmp_path.rglob("metrics.jsonl"))
    done = run(f"train {task} --out b", *SMALL)
    assert done.returncode == 0, done.stderr


def test_a_simulator_that_takes_the_process_for_itself_is_stopped_by_one_ctrl_c(tmp_path):
    # Endless episodes, and evaluations of ten of them of ten thousand steps.
    command = [Path(sys.executable).with_name("robustpo"), "train", "environments.hostile:TakesAll"]
    command += [*SMALL, "--eval-every", "256", "--out", "runs", "--no-pin"]
    places = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    training = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    deadline = time.monotonic() + SECONDS
    (tmp_path / "assets").mkdir(exist_ok=True)
    # Its first evaluation follows the first row.
    while not any(file.stat().st_size for file in tmp_path.rglob("metrics.jsonl")):
        assert training.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    training.send_signal(signal.SIGINT)
    try:
        _, stderr = training.communicate(timeout=SECONDS)
    finally:
        training.kill()
    assert training.returncode == 130, stderr
    assert stderr.splitlines()[-1] == "robustpo: stopped; what was recorded is kept"
    (record,) = tmp_path.rglob("config.json")
    assert tmp_path / "runs" in record.parents
    assert (record.parent / "checkpoint").is_dir()


def test_a_run_without_one_finished_episode_says_so(run):
    done = run("train environments.hostile:Endless --out runs", *SMALL)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "no episode ended within 1,024" in line]
    assert len(said) == 1 and "time limit" in said[0]
