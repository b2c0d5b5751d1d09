"""What JAX is set to while it trains, and the persistent cache of compiled programs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from robustpo.base.files import one_line
from robustpo.base.loops import on_accelerator
from robustpo.base.places import cache_directory
from robustpo.config.shape import Shape
from robustpo.errors import ConfigError

NEVER = 1e9
# Settings of JAX that its type checkers do not know.
PLATFORMS = "jax_platforms"
CACHE_DIRECTORY = "jax_compilation_cache_dir"
CACHE_FROM_SECONDS = "jax_persistent_cache_min_compile_time_secs"


def compiler_options(*, loops: bool = False) -> dict[str, Any]:
    """Return the options every program of training is compiled with, whatever the environment.

    One thread per program, so that bits do not depend on the number of cores. LLVM's first level
    of optimisation: the second takes twice the time to compile and gains nothing measurable, since
    the work is in matrix products and vector kernels that XLA emits as such.

    Args:
        loops: whether the program is all loops of integers, such as random numbers, which only the
            third level vectorises (six times the speed).
    """
    if on_accelerator():
        return {}
    return {
        "xla_cpu_multi_thread_eigen": False,
        "xla_backend_optimization_level": 3 if loops else 1,
    }


def forget_extensions(shape: Shape) -> None:
    """Drop what this process has traced, if a shape names an extension.

    JAX knows a program by the shape, and so by the extension's name, under which a notebook may
    have defined something else since.
    """
    if shape.extensions:
        jax.clear_caches()


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Train inside under JAX's own defaults and with the cache, whatever this process has set.

    A notebook, a profile or an environment may have switched on 64-bit numbers, strict promotion or
    other things that change bits or that a program of 32-bit numbers does not survive. All is as it
    was afterwards; what is tied to a thread is set for this one alone.

    Raises:
        ConfigError: if JAX is to use a device that is not there.
    """
    with contextlib.ExitStack() as stack:
        for setting, value in _settings():
            stack.enter_context(setting(value))
        _require_device()
        # An accelerator left to itself would round the factors of products to TensorFloat-32.
        precision = "float32" if on_accelerator() else None
        stack.enter_context(jax.default_matmul_precision(precision))
        stack.enter_context(_cache())
        yield


def _settings() -> list[tuple[Any, Any]]:
    return [
        (jax.enable_x64, False),
        (jax.numpy_dtype_promotion, "standard"),
        (jax.numpy_rank_promotion, "allow"),
        (jax.default_prng_impl, "threefry2x32"),
        (jax.threefry_partitionable, True),
        (jax.enable_custom_prng, False),
        (jax.legacy_prng_key, "allow"),
        (jax.debug_key_reuse, False),
        (jax.debug_nans, False),
        (jax.debug_infs, False),
        (jax.disable_jit, False),
        (jax.check_tracer_leaks, False),
        (jax.transfer_guard, "allow"),
    ]


def _require_device() -> None:
    """Raise `ConfigError` if there is no device of the platforms that were asked for."""
    try:
        jax.devices()
    # JAX asserts where it finds no platform at all.
    except (RuntimeError, AssertionError) as error:
        asked = getattr(jax.config, PLATFORMS)
        raise ConfigError(
            f"JAX_PLATFORMS={asked!r}: JAX finds no such device "
            f"({one_line(error) or type(error).__name__}); leave it unset, or choose cpu"
        ) from error


@contextlib.contextmanager
def _cache() -> Iterator[None]:
    """Load and store compiled programs inside; without a writable place, do without."""
    directory = cache_directory()
    with contextlib.suppress(OSError):
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
    usable = directory is not None and os.access(directory, os.W_OK)
    wanted = {
        CACHE_DIRECTORY: str(directory) if usable else None,
        CACHE_FROM_SECONDS: 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    before = {name: getattr(jax.config, name) for name in wanted}
    try:
        _use_cache(wanted)
        yield
    finally:
        _use_cache(before)


def _use_cache(wanted: dict[str, Any]) -> None:
    moved = getattr(jax.config, CACHE_DIRECTORY) != wanted[CACHE_DIRECTORY]
    for name, value in wanted.items():
        jax.config.update(name, value)
    if moved:
        # JAX keeps the first directory that it has used.
        reset_cache()


@contextlib.contextmanager
def uncached() -> Iterator[None]:
    """Store nothing that is compiled inside: the simulator's address is baked into it."""
    before = getattr(jax.config, CACHE_FROM_SECONDS)
    jax.config.update(CACHE_FROM_SECONDS, NEVER)
    try:
        yield
    finally:
        jax.config.update(CACHE_FROM_SECONDS, before)
