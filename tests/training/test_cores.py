"""Claiming cores, in processes of their own: a claim lasts as long as its process."""

import os
import subprocess
import sys

import pytest

from robustpo.training.limits import available_cores

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="this system has no affinity masks"
)

CLAIM = """
import os, sys
from robustpo.training.cores import claim_core
core = claim_core()
print("-" if core is None else core, *sorted(os.sched_getaffinity(0)), flush=True)
sys.stdin.readline()
"""


class Claimant:
    """A process that claims a core and holds it until told to end."""

    def __init__(self, places):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLAIM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Locks of its own, apart from those of training that may be running beside the tests.
            env=os.environ | {"TMPDIR": str(places)},
        )
        assert self.process.stdin and self.process.stdout
        self.pipes = (self.process.stdin, self.process.stdout)
        core, *mask = self.process.stdout.readline().split()
        self.core = None if core == "-" else int(core)
        self.mask = {int(core) for core in mask}

    def end(self):
        self.process.kill()
        self.process.wait()
        for pipe in self.pipes:
            pipe.close()


@pytest.fixture
def claim(tmp_path):
    claimants = []

    def start():
        claimants.append(Claimant(tmp_path))
        return claimants[-1]

    yield start
    for claimant in claimants:
        claimant.end()


def test_processes_claim_different_cores_until_none_is_left(claim):
    mine = os.sched_getaffinity(0)
    claimants = [claim() for _ in mine]
    assert {claimant.core for claimant in claimants} == mine
    assert all(claimant.mask == {claimant.core} for claimant in claimants)
    late = claim()
    assert (late.core, late.mask) == (None, mine)


def test_a_core_is_free_again_when_its_process_was_killed(claim):
    claimants = [claim() for _ in os.sched_getaffinity(0)]
    claimants[0].end()
    assert claim().core == claimants[0].core


def test_no_core_is_claimed_where_locks_cannot_be_kept(tmp_path, claim):
    (tmp_path / f"robustpo-cores-{os.getuid()}").write_text("in the way")
    claimant = claim()
    assert (claimant.core, claimant.mask) == (None, os.sched_getaffinity(0))


def test_available_cores_are_those_of_the_mask():
    assert available_cores() == len(os.sched_getaffinity(0))
