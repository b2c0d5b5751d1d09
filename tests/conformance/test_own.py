"""This package's own learner is held to the suite that others are held to."""

import os

import pytest

import probes
from robustpo.conformance import CHECKS, Runs
from robustpo.conformance.own import Own


@pytest.fixture(scope="module")
def runs():
    with probes.compilation_cache(os.environ["ROBUSTPO_CACHE"]):
        yield Runs(Own())


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_the_learner_conforms(check, runs):
    runs.require(check)
