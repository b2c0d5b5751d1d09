"""Claiming cores, in processes of their own: a claim lasts as long as its process."""

import math
import os
import subprocess
import sys

import pytest

from robustpo.execution import cores
from robustpo.execution.cores import Scheduled
from robustpo.execution.limits import available_cores, cpu_quota

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="this system has no affinity masks"
)

CLAIM = """
import os, sys
from robustpo.execution.cores import claim_core
claim = claim_core()
print("-" if claim is None else claim.core, *sorted(os.sched_getaffinity(0)), flush=True)
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


def in_the_way(place):
    place.write_text("in the way")


def of_anybody(place):
    place.mkdir()
    place.chmod(0o777)


def a_link(place):
    (place.parent / "elsewhere").mkdir(mode=0o700)
    place.symlink_to("elsewhere")


def a_linked_lock(place):
    place.mkdir(mode=0o700)
    for core in os.sched_getaffinity(0):
        (place / f"{core}.lock").symlink_to("../precious")


@pytest.mark.parametrize("prepare", [in_the_way, of_anybody, a_link, a_linked_lock])
def test_no_core_is_claimed_where_locks_cannot_be_kept(tmp_path, claim, prepare):
    prepare(tmp_path / f"robustpo-cores-{os.getuid()}")
    claimant = claim()
    assert (claimant.core, claimant.mask) == (None, os.sched_getaffinity(0))
    left = {path.name for path in tmp_path.rglob("*") if not path.is_symlink()}
    assert not left & {"precious", "0.lock"}


def test_without_a_temporary_directory_nothing_is_claimed(monkeypatch):
    def nowhere():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(cores.tempfile, "gettempdir", nowhere)
    assert cores.claim_core() is None


def test_the_idlest_core_comes_first(monkeypatch):
    # In a tenth of a second the first has worked 9 of 10 ticks for others, the third 1.
    samples = iter([{0: 100, 1: 50, 2: 7}, {0: 109, 1: 50, 2: 8}])
    monkeypatch.setattr(cores, "_busy", lambda: next(samples))
    assert cores._idlest_first({0, 1, 2}) == [1, 2, 0]
    # Where nothing is known, any order will do.
    monkeypatch.setattr(cores, "_busy", dict)
    assert cores._idlest_first({1, 0}) == [0, 1]


@pytest.mark.parametrize(
    ("used", "ran", "waited", "shared"),
    [
        # Ten seconds: the core for itself; half of it; all of it, shared with its own simulator.
        (9.9, 9.8, 0.1, False),
        (5.0, 5.0, 5.0, True),
        (9.9, 6.0, 3.9, False),
        # It waits for a slow simulator elsewhere, not for its core.
        (2.0, 2.0, 0.1, False),
    ],
)
def test_a_core_is_shared_if_its_process_has_to_wait_for_others(used, ran, waited, shared):
    before = Scheduled(100.0, 50.0, 40.0, 3.0)
    now = Scheduled(110.0, 50.0 + used, 40.0 + ran, 3.0 + waited)
    assert cores._is_shared(before, now) is shared


def test_a_core_that_others_use_is_given_up_by_all_threads(tmp_path):
    code = """
import contextlib, os, threading, time
from robustpo.execution import cores
cores.WATCH_SECONDS = (0.05, 0.05)
cores._is_shared = lambda before, now: True
all_cores = os.sched_getaffinity(0)
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
claim = cores.claim_core()
def masks():
    found = set()
    for thread in os.listdir("/proc/self/task"):
        # The one that watched may have ended since.
        with contextlib.suppress(ProcessLookupError):
            found.add(tuple(os.sched_getaffinity(int(thread))))
    return found
assert masks() == {(claim.core,)}, masks()
moved = threading.Event()
cores.share_no_core(claim, moved.set)
assert moved.wait(30)
assert masks() == {tuple(all_cores)}, masks()
assert cores.claim_core() is not None
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_available_cores_are_those_of_the_mask_within_what_a_control_group_allows():
    quota = cpu_quota()
    cores = len(os.sched_getaffinity(0))
    assert available_cores() == (cores if quota is None else min(cores, math.ceil(quota)))
