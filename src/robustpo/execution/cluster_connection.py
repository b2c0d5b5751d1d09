"""Getting a connection to Ray: to a cluster that runs, or to one that is started here."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from robustpo.base.files import one_line
from robustpo.environments.availability import require_extra
from robustpo.errors import ConfigError, TrainingError
from robustpo.execution.limits import available_cores

ANSWER_SECONDS = 5.0
# Nothing large passes through Ray's own store, which otherwise takes a third of the memory.
STORE_BYTES = 100 * 2**20


@contextlib.contextmanager
def connected(address: str) -> Iterator[bool]:
    """Connect this process to Ray; what was started for it is gone afterwards.

    Where the process is connected already, nothing changes.

    Args:
        address: of a cluster, as `ray.init` takes it; `auto` takes the one of `RAY_ADDRESS` or of
            this machine, and starts one if there is none.

    Yields:
        Whether Ray was started here.

    Raises:
        ConfigError: if Ray is missing, or the cluster cannot be reached.
        TrainingError: if it does not start here.
    """
    require_extra("ray", f"--ray {address}")
    import ray

    if ray.is_initialized():
        yield False
        return
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    with _silenced():
        with _handlers_kept():
            found = address != "local" and _find(address)
        if not found:
            with _started():
                yield True
            return
        try:
            yield False
        finally:
            ray.shutdown()


def slots(num_cpus: float = 1.0, num_gpus: float = 0.0) -> int:
    """Return how many shards the connected cluster has room for at once, at least one."""
    return max(1, sum(_room(node, num_cpus, num_gpus) for node in _nodes()))


def require_room(num_cpus: float, num_gpus: float, *, started: bool) -> str | None:
    """Return what to say if no node is large enough for a shard: one may still join.

    Raises:
        ConfigError: if none is large enough and Ray was started here, so that none will join.
    """
    if any(_room(node, num_cpus, num_gpus) for node in _nodes()):
        return None
    wanted = f"num_cpus={num_cpus:g}" + (f" and num_gpus={num_gpus:g}" if num_gpus else "")
    if started:
        raise ConfigError(
            f"{wanted} for each shard is more than this machine has; ask for less, or give the "
            "address of a cluster"
        )
    return f"no node of the cluster has {wanted} for a shard; waiting for one to join"


def _nodes() -> list[dict[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _room(node: dict[str, float], num_cpus: float, num_gpus: float) -> int:
    asked = {"CPU": num_cpus, "GPU": num_gpus}
    # A hair more, because sums of fractions of a GPU are not exact.
    return min(int(node.get(name, 0) / n + 1e-6) for name, n in asked.items() if n)


def _find(address: str) -> bool:
    """Connect to a running cluster; return False if `auto` finds none."""
    try:
        if address != "auto":
            _require_answer(address)
        _init(address)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        if address == "auto" and isinstance(error, ConnectionError):
            return False
        raise ConfigError(
            f"no Ray cluster can be reached at {address!r} ({_first_line(error)}); give HOST:PORT "
            "as `ray start --head` shows it, or auto"
        ) from error
    return True


def _require_answer(address: str) -> None:
    """Raise `OSError` unless something answers there: Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("it has no port")
    socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()


@contextlib.contextmanager
def _started() -> Iterator[None]:
    """Start a cluster of this machine's cores; it leaves nothing behind."""
    # Not below TMPDIR, which may be long: the path of a socket has at most 107 bytes.
    place = tempfile.mkdtemp(prefix="robustpo-ray-", dir="/tmp" if os.name == "posix" else None)
    try:
        with _handlers_kept():
            _start(place)
        yield
    finally:
        import ray

        ray.shutdown()
        shutil.rmtree(place, ignore_errors=True)


def _start(place: str) -> None:
    """Start Ray with its files in a directory; try once more, for a busy machine may be too slow.

    Raises:
        TrainingError: if it does not start.
    """
    for last in (False, True):
        try:
            _init(
                "local",
                num_cpus=available_cores(),
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                _temp_dir=place,
            )
        # Ray raises bare exceptions when one of its processes dies or is too slow.
        except Exception as error:
            if last:
                raise TrainingError(
                    f"Ray did not start on this machine ({_first_line(error)}); nothing was "
                    "trained: give the same command again, or leave --ray away to train without it"
                ) from error
        else:
            return


def _first_line(error: Exception) -> str:
    return one_line(str(error).partition("\n")[0])


def _init(address: str, **options: Any) -> None:
    """Connect, with all of Ray's own words kept out of the terminal."""
    import ray

    try:
        with warnings.catch_warnings():
            # JAX warns of forks; those of Ray become another program at once.
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except BaseException:
        ray.shutdown()
        raise


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep from standard output what Ray says of nodes and tasks, `log_to_driver` or not."""
    import ray._private.worker as driver

    # The flag by which Ray's debugger silences it; there is no public one.
    before, driver._worker_logs_enabled = driver._worker_logs_enabled, False
    try:
        yield
    finally:
        driver._worker_logs_enabled = before


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Undo that Ray takes over SIGTERM, which here asks for an orderly stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
