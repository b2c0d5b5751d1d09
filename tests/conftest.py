"""Shared by tests that really train: one cache of compiled programs, and few, short runs."""

import fcntl
import gc
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from annotations import check_annotations

# Before anything imports the algorithm: in a process of pytest-xdist that may be any test.
check_annotations()

from robustpo.environments.offscreen import choose_renderer  # noqa: E402

# Some test imports MuJoCo before another draws with it.
choose_renderer()

TESTS = Path(__file__).parent
# Written in JAX, so that its compiled program is cached: that of a simulator of EnvPool holds the
# address of its pool and is compiled by every process.
TASK = "isaac/Cartpole-v0"
# Eight iterations of one rollout; 64 minibatch steps in all.
TINY = {
    "preset": "paper",
    "steps": 4096,
    "num_steps": 512,
    "num_minibatches": 4,
    "update_epochs": 2,
}
TINY_SLUG = "paper_num-steps-512_num-minibatches-4_update-epochs-2_steps-4.096k"


def run_robustpo(*arguments, cwd, timeout=150, **environment):
    """Type a command as a user does, in a directory of its own."""
    places = [str(TESTS), str(TESTS / "training"), os.environ.get("PYTHONPATH")]
    path = os.pathsep.join(place for place in places if place)
    return subprocess.run(
        [Path(sys.executable).with_name("robustpo"), *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "100"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(request):
    """Keep compiled programs out of the user's cache; share them among all tests and their runs.

    That holds for what tests compile themselves, too: thousands of small programs.
    """
    shared = os.environ.get("ROBUSTPO_TEST_CACHE") or str(request.config.cache.mkdir("xla"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTPO_CACHE", shared)
        jax.config.update("jax_compilation_cache_dir", shared)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
        yield


_last_look = time.monotonic()


@pytest.fixture(autouse=True)
def few_mappings():
    """Forget compiled programs before the kernel runs out of mappings for them.

    Each takes several, a process may have 65,530 by default, and XLA does not survive the next one.
    """
    yield
    global _last_look
    maps = Path("/proc/self/maps")
    # Looking takes milliseconds, and there are thousands of tests.
    if time.monotonic() - _last_look < 5 or not maps.exists():
        return
    if maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
        gc.collect()
    _last_look = time.monotonic()


def pytest_collection_modifyitems(items):
    """Begin with the files of slow tests, then with those of many.

    Handed out last, a file of few long tests would keep one process busy while the other has done.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    count = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, -count[item.path]))


@pytest.fixture(scope="session")
def robustpo_command():
    return run_robustpo


@pytest.fixture
def command_here(monkeypatch, capsys):
    """Give a command in this process, for refusals, which need no process of their own."""
    from robustpo.cli import main

    def call(*arguments, cwd):
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=said.out, stderr=said.err)

    return call


@pytest.fixture(scope="session")
def tiny():
    """The options of a tiny run, for Python and for the command line."""
    flags = [part for k, v in TINY.items() for part in (f"--{k.replace('_', '-')}", str(v))]
    return SimpleNamespace(options=TINY, flags=flags, slug=TINY_SLUG, task=TASK)


@pytest.fixture(scope="session")
def comparison(tmp_path_factory, tiny, worker_id):
    """PPO and RPO, two seeds each, in one population: read, never written to, by many tests.

    The first process of pytest-xdist that asks for it trains it; the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    home = (base if worker_id == "master" else base.parent) / "comparison"
    flags = ["--methods", "ppo", "rpo", "--seeds", "0:2", "--workers", "1", *tiny.flags]
    with open(f"{home}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = home / "said.json"
        if not said.exists():
            home.mkdir(exist_ok=True)
            done = run_robustpo("compare", tiny.task, *flags, "--out", "runs", cwd=home)
            assert done.returncode == 0, done.stderr
            said.write_text(json.dumps([done.stdout, done.stderr]))
        stdout, stderr = json.loads(said.read_text())
    return SimpleNamespace(
        home=home,
        out=home / "runs",
        task=tiny.task,
        stdout=stdout,
        stderr=stderr,
        run=lambda method, seed: (
            home / "runs" / tiny.task / f"{method}_{tiny.slug}" / f"seed-{seed}"
        ),
    )
