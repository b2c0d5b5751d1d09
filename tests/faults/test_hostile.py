"""Every command on environments that do everything they should not.

What is accepted is the right result, or one clear line with the right exit code, within a time
limit; and, whatever happens, the whole records of other agents.
"""

import json
import os
import random
import re
import subprocess
from typing import Any

import pytest

import robustpo
from faults import hostile
from faults.killing import end, kill, start, workers_in
from robustpo.environments.check import check_environment
from robustpo.errors import ConfigError

STEPS = 512
OPTIONS: dict[str, Any] = {
    "num_steps": 128,
    "num_minibatches": 4,
    "update_epochs": 2,
    "steps": STEPS,
}
SHORT = [part for k, v in OPTIONS.items() for part in (f"--{k.replace('_', '-')}", v)]
SECONDS = 150
# The soak tries all; this many of each kind are tried with the slow tests.
SAMPLE = 10


def cases(faults):
    """Return every fault, moment and command of which something is expected."""
    return [
        (name, moment, command)
        for name, fault in sorted(faults.items())
        for moment in fault.moments
        for command in fault.commands
    ]


ALL = {
    "rude": cases(hostile.RUDE),
    "broken": cases(hostile.BROKEN),
    "deadly": cases(hostile.DEADLY),
}
SAMPLED = [
    case
    for seed, (_, some) in enumerate(ALL.items())
    for case in random.Random(seed).sample(some, SAMPLE)
]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """A policy that fits these environments."""
    out = tmp_path_factory.mktemp("sound") / "runs"
    return robustpo.train(hostile.Sound, out=out, progress=False, **OPTIONS)[0]


def words(command, task, policy):
    """Return what a person types."""
    film = ["--episodes", 3, "--max-steps", 60, "--out", "film.mp4"]
    return {
        "train": ["train", task, "--seeds", "0:2", "--workers", 1, *SHORT],
        "train-apart": [
            *("train", task, "--seeds", "0:2", "--workers", 1, "--env-processes", 2, *SHORT)
        ],
        "train-one": ["train", f"{task}__once", "--seeds", "0:3", "--workers", 3, *SHORT],
        "compare": ["compare", task, "--seeds", "0:1", "--workers", 1, *SHORT],
        "evaluate": ["evaluate", policy, "--task", task, *("--episodes", 3, "--envs", 1), "--json"],
        "record": ["record", policy, "--task", task, *film],
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


def assert_clear(code, stdout, stderr, command, about):
    """Whatever happened: no traceback, no steering of the terminal, and a reason if it failed."""
    assert "Traceback" not in stderr + stdout, about
    assert "\x1b[31m" not in stderr + stdout, about
    assert code in (0, 1, 2), about
    if command == "check":
        findings = json.loads(stdout)
        assert findings and (code == 1) == any(f["status"] == "fail" for f in findings), about
    elif code:
        last = stderr.strip().splitlines()[-1]
        assert re.match(r"robustpo: (error|failed): \S", last), about
        assert last.startswith("robustpo: error") == (code == 2), about
        assert len(last) < 1200, about
    else:
        assert stdout, about


def assert_whole(cwd, stdout):
    """What a command that says 0 has printed must exist and be whole."""
    directories = [line for line in stdout.splitlines() if re.search(r"/seed-\d+$", line)]
    assert directories
    for directory in directories:
        assert_completed(cwd / directory)


def assert_completed(directory):
    result = json.loads((directory / "result.json").read_text())
    assert (result["status"], result["steps"]) == ("completed", STEPS)
    robustpo.load_policy(directory)


def assert_right(case, code, stdout, cwd, about):
    """Hold a command that was carried out in `cwd` against what is expected of it."""
    name, _, command = case
    fault = hostile.FAULTS[name]
    if command in fault.fine:
        assert code == 0, about
    if command in fault.wrong:
        assert code != 0, about
    if code == 0 and command in ("train", "train-apart"):
        assert_whole(cwd, stdout)
    if code == 0 and command == "evaluate":
        assert json.loads(stdout)["episodes"] == 3
    if code == 0 and command == "record":
        assert (cwd / "film.mp4").stat().st_size
    if command == "train-one":
        assert code == 1, about
        for seed in {0, 1, 2} - {hostile.HIT}:
            (result,) = cwd.rglob(f"seed-{seed}/result.json")
            assert_completed(result.parent)
        for result in cwd.rglob(f"seed-{hostile.HIT}/result.json"):
            assert json.loads(result.read_text())["status"] == "failed"
    for partial in cwd.rglob("*.partial"):
        raise AssertionError(f"{partial} is left\n{about}")


def try_one(case, policy, cwd):
    name, moment, command = case
    arguments = words(command, f"hostile:{name}__{moment}", policy)
    code, stdout, stderr = carry_out(arguments, cwd)
    about = f"{case}\n{code}\n{stdout}\n{stderr}"
    assert_clear(code, stdout, stderr, command, about)
    assert_right(case, code, stdout, cwd, about)


@pytest.mark.slow
@pytest.mark.parametrize("case", SAMPLED, ids="-".join)
def test_a_hostile_environment_ends_in_a_result_or_a_line(tmp_path, policy, case):
    try_one(case, policy, tmp_path)


@pytest.mark.soak
def test_all_of_them(tmp_path, policy):
    wrong = []
    for number, case in enumerate(case for some in ALL.values() for case in some):
        place = tmp_path / str(number)
        os.mkdir(place)
        try:
            try_one(case, policy, place)
        # All others are tried too: what is wrong with some tells what is wrong with one.
        except (AssertionError, subprocess.TimeoutExpired, ValueError) as error:
            wrong.append(f"{case}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", hostile.ODD)
def test_what_is_no_environment_is_refused(tmp_path, name):
    task = hostile.ODD[name]
    assert "fail" in {finding.status for finding in check_environment(task)}
    with pytest.raises(ConfigError) as caught:
        robustpo.train(task, out=tmp_path / "runs", progress=False, **OPTIONS)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.json"))
