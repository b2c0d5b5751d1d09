"""The persistent compilation cache, and keeping out of it what cannot be used again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import jax

NEVER = 1e9


def compiler_options(*, loops: bool = False) -> dict[str, bool | int]:
    """Return the options every program of training is compiled with, whatever the environment.

    One thread per program, so that bits do not depend on the number of cores. LLVM's first level
    of optimisation: the second takes twice the time to compile and gains nothing measurable, since
    the work is in matrix products and vector kernels that XLA emits as such.

    Args:
        loops: whether the program is all loops of integers, such as random numbers, which only the
            third level vectorises (six times the speed).
    """
    if jax.default_backend() != "cpu":
        return {}
    return {
        "xla_cpu_multi_thread_eigen": False,
        "xla_backend_optimization_level": 3 if loops else 1,
    }


def cache_directory() -> Path:
    """Return where compiled programs are kept: `$ROBUSTPO_CACHE`, or the user's cache directory."""
    chosen = os.environ.get("ROBUSTPO_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen) if chosen else Path(base) / "robustpo" / "xla"


def use_cache() -> None:
    """Let this process load and store compiled programs; without a writable place, do without."""
    directory = cache_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(directory, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


@contextlib.contextmanager
def uncached() -> Iterator[None]:
    """Store nothing that is compiled inside: the simulator's address is baked into it."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, NEVER)
    try:
        yield
    finally:
        jax.config.update(name, before)
