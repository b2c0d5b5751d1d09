"""This package's own learner is held to the suite that others are held to."""

import pytest

from robustpo.conformance import CHECKS, Runs
from robustpo.conformance.own import Own


@pytest.fixture(scope="module")
def runs():
    return Runs(Own())


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_the_learner_conforms(check, runs):
    runs.require(check)
