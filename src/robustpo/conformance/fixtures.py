"""Fixtures of pytest: a test for every check on the fixture `subject` that you write.

from robustpo.conformance.fixtures import *

@pytest.fixture(scope="module")
def subject():
return MySubject()

def test_rpo_conforms(conforms):
conforms()
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from robustpo.conformance.check import Runs
from robustpo.conformance.checks import CHECKS
from robustpo.conformance.subject import Subject

__all__ = ["conformance_runs", "conforms"]


@pytest.fixture(scope="module")
def conformance_runs(subject: Subject) -> Runs:
    """Return the trainings that the checks of a module share."""
    return Runs(subject)


@pytest.fixture(params=CHECKS, ids=str)
def conforms(request: Any, conformance_runs: Runs) -> Callable[[], None]:
    """Return what carries out one check: it raises if that fails, and skips what does not apply."""
    return partial(conformance_runs.require, request.param)
