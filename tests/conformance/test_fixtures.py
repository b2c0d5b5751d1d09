"""The fixtures, as a test module of one's own uses them."""

import pytest

from conformance.toy import Toy
from robustpo.conformance.fixtures import *  # noqa: F403


@pytest.fixture(scope="module")
def subject():
    return Toy(unsupported=("learners",))


def test_rpo_conforms(conforms):
    conforms()
