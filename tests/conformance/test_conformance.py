"""The suite passes what is right and names what is wrong."""

import subprocess
import sys

import pytest

from conformance.toy import MISTAKES, Toy
from robustpo.conformance import CHECKS, Runs, as_text, conformance
from robustpo.conformance.report import FAILED, NOT_APPLICABLE, PASSED, apply

BY_NAME = {check.name: check for check in CHECKS}


def test_a_right_implementation_passes_every_check():
    for seed in (1, 2):
        found = conformance(Toy(), seed=seed)
        assert [one.outcome for one in found] == [PASSED] * len(CHECKS), as_text(found)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_one_fails_the_check_that_names_it(mistake):
    result = apply(BY_NAME[MISTAKES[mistake]], Runs(Toy(mistake)))
    assert result.outcome == FAILED, result.found
    assert "Error" not in result.found.split(":")[0], result.found


def test_every_check_can_fail():
    assert set(MISTAKES.values()) == set(BY_NAME)


def test_ppo_in_place_of_rpo_does_not_pass():
    outcomes = {one.check.name: one.outcome for one in conformance(Toy("forgotten"))}
    assert outcomes["alpha-acts"] == outcomes["first-moment"] == outcomes["uniform"] == FAILED
    assert outcomes["alpha-zero"] == outcomes["stored-log-prob"] == PASSED


def test_what_a_subject_does_not_have_is_not_passed():
    found = conformance(Toy(unsupported=("learners", "gradients", "seeds", "target_kl")))
    not_applicable = {one.check.name for one in found if one.outcome == NOT_APPLICABLE}
    assert not_applicable == {check.name for check in CHECKS if check.needs}
    assert {one.outcome for one in found} == {PASSED, NOT_APPLICABLE}


class Wrong(Toy):
    """What the command line finds wrong."""

    def __init__(self):
        super().__init__("half as wide")


class Broken(Toy):
    def train(self, *arguments, **options):
        raise RuntimeError("out of\norder")


def test_a_subject_that_raises_fails_in_one_line():
    found = conformance(Broken())
    assert {one.outcome for one in found} == {FAILED}
    assert {one.found for one in found} == {"RuntimeError: out of order"}


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("conformance.test_conformance:Toy", 0, "21 passed, 0 failed, 0 not applicable"),
        ("conformance.test_conformance:Wrong", 1, "z is not U(−0.5, 0.5)"),
        ("conformance.test_conformance:Nothing", 2, "cannot be made: AttributeError"),
        ("conformance.test_conformance", 2, "expected module:Subject"),
        ("os:path", 2, "has no train"),
    ],
)
def test_the_command_line(name, code, words, pytestconfig):
    done = subprocess.run(
        [sys.executable, "-m", "robustpo.conformance", name],
        cwd=pytestconfig.rootpath / "tests",
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr and "Traceback" not in done.stderr
