"""What surrounds a training: JAX's settings, files beside it, a user without a home."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest

import robustpo
from robustpo.base.descriptors import forget
from robustpo.base.places import cache_directory
from robustpo.execution.worker_process import worker_environment
from robustpo.runs import provenance
from robustpo.runs.locks import RunLocks, is_locked
from robustpo.training import compilation

SETTINGS = {
    "jax_enable_x64": True,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_transfer_guard": "disallow",
    "jax_default_matmul_precision": "bfloat16",
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_debug_nans": True,
    "jax_compilation_cache_dir": "/nowhere",
    "jax_persistent_cache_min_compile_time_secs": 5.0,
}


@contextlib.contextmanager
def set_to(settings):
    before = {name: getattr(jax.config, name) for name in settings}
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def assert_same_policy(one, other):
    mine, theirs = (robustpo.load_policy(run).tensors for run in (one, other))
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)


def test_settings_of_this_process_change_nothing_and_are_kept(tmp_path, tiny):
    def make():
        return gymnasium.make("Pendulum-v1")

    options = tiny.options | {"steps": 1024, "progress": False}
    (plain,) = robustpo.train(make, out=tmp_path / "plain", **options)
    with set_to(SETTINGS):
        (other,) = robustpo.train(make, out=tmp_path / "other", **options)
        assert {name: getattr(jax.config, name) for name in SETTINGS} == SETTINGS
    assert_same_policy(plain, other)


def test_files_and_settings_around_a_command_change_nothing(
    robustpo_command, comparison, tmp_path, tiny
):
    (tmp_path / "queue.py").write_text("print('my own notes on queues')")
    (tmp_path / "envpool").mkdir()
    (tmp_path / "envpool" / "__init__.py").write_text("")
    hostile = {
        "JAX_ENABLE_X64": "1",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_TRANSFER_GUARD": "disallow",
        "JAX_DISABLE_JIT": "1",
        "JAX_TRACEBACK_FILTERING": "off",
    }
    # There is no place for temporary files, which only the pin needs.
    nowhere = {"TMPDIR": "/nowhere"}
    flags = ["--seeds", 0, *tiny.flags, "--out", "o"]
    done = robustpo_command("train", tiny.task, *flags, cwd=tmp_path, **hostile, **nowhere)
    assert done.returncode == 0, done.stderr
    assert_same_policy(tmp_path / done.stdout.strip(), comparison.run("rpo", 0))


def test_a_device_that_is_not_there_is_one_line(robustpo_command, tmp_path, tiny):
    done = robustpo_command("train", tiny.task, *tiny.flags, cwd=tmp_path, JAX_PLATFORMS="abacus")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert "JAX_PLATFORMS='abacus': JAX finds no such device" in last and "internal" not in last


def test_workers_get_no_settings_of_jax_but_devices(monkeypatch):
    for name in ("JAX_ENABLE_X64", "JAX_TRACEBACK_FILTERING", "JAX_CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    found = worker_environment()
    assert {name: value for name, value in found.items() if name.startswith("JAX_")} == {
        "JAX_CUDA_VISIBLE_DEVICES": "1",
        "JAX_PLATFORMS": "cpu",
    }
    # A flag of the user's stays, and its bits are another's.
    assert found["XLA_FLAGS"].split()[0] == "--xla_cpu_enable_fast_math=true"
    with monkeypatch.context() as inside:
        inside.setenv("XLA_FLAGS", found["XLA_FLAGS"])
        then = provenance.environment_of_bits()
    assert then["xla_flags"] == ["--xla_cpu_enable_fast_math=true"]
    assert provenance.inexact(then) is None
    monkeypatch.delenv("XLA_FLAGS")
    assert "XLA_FLAGS [] (was ['--xla_cpu_enable_fast_math=true'])" in str(provenance.inexact(then))


def test_a_run_that_goes_on_elsewhere_than_on_the_cpu_is_not_exact(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    then = provenance.environment_of_bits()
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")
    assert provenance.inexact(then) == "device cuda (was cpu)"
    # What earlier versions kept had no other device.
    del then["accelerator"]
    assert provenance.inexact(then) == "device cuda (was cpu)"
    monkeypatch.delenv("JAX_PLATFORMS")
    assert provenance.inexact(then) is None


def test_a_user_without_a_home_does_without_a_cache(monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    for name in ("ROBUSTPO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert cache_directory() is None
    with compilation.own_settings():
        assert getattr(jax.config, compilation.CACHE_DIRECTORY) is None


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_a_fork_of_this_process_does_not_keep_its_locks(tmp_path):
    run = tmp_path / "seed-0"
    with RunLocks() as locks:
        locks.acquire([run], tmp_path)
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        try:
            assert is_locked(run)
            # As if this process were killed: its file is closed, and the lock file stays.
            _, file = vars(locks)["_held"].popitem()
            forget(file.fileno())
            file.close()
            deadline = time.monotonic() + 10
            while is_locked(run) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not is_locked(run)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_what_a_worker_starts_inherits_none_of_its_files():
    code = """
import os, subprocess, sys
from robustpo.base.descriptors import keep_from_children
mine, _ = os.pipe()
os.set_inheritable(mine, True)
keep_from_children([mine])
listing = f"import os; print(os.path.exists('/proc/self/fd/{mine}'))"
done = subprocess.run([sys.executable, "-c", listing], close_fds=False, capture_output=True)
assert done.stdout == b"False\\n", done
if not os.fork():
    os._exit(os.readlink(f"/proc/self/fd/{mine}") != os.devnull)
assert os.wait()[1] == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True)
