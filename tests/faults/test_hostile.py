"""Every command on environments that do everything they should not.

What is accepted is the right result, or one clear line with the right exit code, within a time
limit; and, whatever happens, the whole records of other agents.
"""

import json
import os
import random
import re

import pytest

import robustpo
from faults import hostile
from faults.killing import end, kill, start, workers_in

SHORT = ["--num-steps", 128, "--num-minibatches", 4, "--update-epochs", 2, "--steps", 512]
SECONDS = 150
COMMANDS = ("train", "compare", "evaluate", "record", "check")
# The soak tries all; each of the others tries this many, others every time the seed changes.
SAMPLE = 24


def cases(faults, moments, commands):
    return [(f"{fault}__{m}", c) for fault in sorted(faults) for m in moments for c in commands]


def sampled(all_cases, seed):
    """Return some of the cases, the same every time, every fault among them as often as it can."""
    return random.Random(seed).sample(all_cases, min(SAMPLE, len(all_cases)))


RUDE = cases(hostile.RUDE, ("made", "reset", "later"), COMMANDS)
BROKEN = cases(hostile.BROKEN, ("made", "reset", "step", "later"), COMMANDS)
# A command that steps an environment in its own process dies with it; workers are for that.
DEADLY = cases(hostile.DEADLY, ("step", "later"), ("train", "compare"))
DEADLY += [(f"{fault}__later", "train-one") for fault in sorted(hostile.DEADLY)]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A policy that fits these environments."""
    out = tmp_path_factory.mktemp("sound") / "runs"
    options = {"num_steps": 128, "num_minibatches": 4, "update_epochs": 2, "steps": 512}
    return robustpo.train(hostile.Sound, out=out, progress=False, **options)[0]


def words(command, task, policy):
    """Return what a person types."""
    return {
        "train": ["train", task, "--seeds", "0:2", "--workers", 1, *SHORT],
        "train-one": ["train", f"{task}__once", "--seeds", "0:3", "--workers", 3, *SHORT],
        "compare": ["compare", task, "--seeds", "0:1", "--workers", 1, *SHORT],
        "evaluate": ["evaluate", policy, "--task", task, "--episodes", 3, "--json"],
        "record": ["record", policy, "--task", task, "--max-steps", 60, "--out", "film.mp4"],
        "check": ["envs", task, "--check", "--json"],
    }[command]


def carry_out(arguments, cwd):
    """Run a command to its end; return its exit code and what it said."""
    process = start(*arguments, cwd=cwd)
    try:
        stdout, stderr = process.communicate(timeout=SECONDS)
    finally:
        end(process)
        for worker in workers_in(cwd):
            kill(worker)
    return process.returncode, stdout, stderr


def assert_clear(code, stdout, stderr, arguments):
    """Whatever happened: no traceback, no steering of the terminal, and a reason if it failed."""
    about = f"{arguments}\n{code}\n{stdout}\n{stderr}"
    assert "Traceback" not in stderr + stdout, about
    assert "\x1b[31m" not in stderr, about
    assert code in (0, 1, 2), about
    if code and "--check" not in arguments:
        last = stderr.strip().splitlines()[-1]
        assert re.match(r"robustpo: (error|failed): \S", last), about
        assert len(last) < 1200, about


def assert_whole(cwd, stdout):
    """What a command that says 0 has printed must exist and be whole."""
    directories = [line for line in stdout.splitlines() if re.search(r"/seed-\d+$", line)]
    assert directories
    for directory in directories:
        result = json.loads((cwd / directory / "result.json").read_text())
        assert (result["status"], result["steps"]) == ("completed", 512)
        robustpo.load_policy(cwd / directory)


def try_one(task, command, policy, cwd):
    arguments = words(command, f"hostile:{task}", policy)
    code, stdout, stderr = carry_out(arguments, cwd)
    assert_clear(code, stdout, stderr, arguments)
    if code == 0 and command in ("train", "train-one"):
        assert_whole(cwd, stdout)
    if "--json" in arguments and stdout:
        json.loads(stdout)
    return code, stdout, stderr


def must_end_well(task, command):
    # A film of an endless episode is cut; all else has to say something about it.
    return not task.startswith("never-ends") and command != "check"


@pytest.mark.slow
@pytest.mark.parametrize(("task", "command"), sampled(RUDE, 1))
def test_rude_environments_do_no_harm(tmp_path, policy, task, command):
    code, stdout, stderr = try_one(task, command, policy, tmp_path)
    if must_end_well(task, command):
        assert code == 0, stdout + stderr


@pytest.mark.slow
@pytest.mark.parametrize(("task", "command"), sampled(BROKEN, 2))
def test_broken_environments_end_in_a_line(tmp_path, policy, task, command):
    code, stdout, stderr = try_one(task, command, policy, tmp_path)
    assert code != 0, stdout + stderr


@pytest.mark.slow
@pytest.mark.parametrize(("task", "command"), sampled(DEADLY, 3))
def test_environments_that_kill_their_process(tmp_path, policy, task, command):
    code, stdout, stderr = try_one(task, command, policy, tmp_path)
    assert code == 1, stdout + stderr
    if command == "train-one":
        for seed in {0, 1, 2} - {hostile.HIT}:
            (result,) = tmp_path.rglob(f"seed-{seed}/result.json")
            assert json.loads(result.read_text())["status"] == "completed"
        assert not list(tmp_path.rglob(f"seed-{hostile.HIT}/result.json"))


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted([*hostile.ODD, "shared"]))
def test_what_is_no_environment_is_refused(tmp_path, policy, task):
    for command in ("train", "check"):
        arguments = words(command, f"hostile:{task}", policy)
        code, stdout, stderr = carry_out(arguments, tmp_path)
        assert_clear(code, stdout, stderr, arguments)
        assert code == (2 if command == "train" else 1), stdout + stderr
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("*.json"))


@pytest.mark.soak
def test_all_of_them(tmp_path, policy):
    skipped = set(sampled(RUDE, 1) + sampled(BROKEN, 2) + sampled(DEADLY, 3))
    for number, (task, command) in enumerate(RUDE + BROKEN + DEADLY):
        if (task, command) not in skipped:
            place = tmp_path / str(number)
            os.mkdir(place)
            code, stdout, stderr = try_one(task, command, policy, place)
            fault = task.partition("__")[0]
            if fault in hostile.RUDE and must_end_well(task, command):
                assert code == 0, (task, command, stdout, stderr)
            if fault not in hostile.RUDE:
                assert code != 0, (task, command, stdout, stderr)
