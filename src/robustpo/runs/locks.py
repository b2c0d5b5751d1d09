"""One process at a time writes to a run: a lock per run that the system drops with its holders.

The lock belongs to an open file. The parent opens it and its workers inherit it, so that a run is
free again only when the last process that writes to it has ended, however it ended. What an
environment starts writes to no run and does not get it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from robustpo.base.descriptors import forget, keep_from_children
from robustpo.base.files import one_line, open_regular, parse_json
from robustpo.base.writing import make_directory, open_own, remove_directories
from robustpo.errors import ConfigError, StorageError

# How long to wait for workers whose parent has died and who finish their last iteration.
ORPHAN_SECONDS = 90.0
# How long to wait for what takes a moment.
EXCLUSIVE_SECONDS = 60.0
# Files that a process needs besides its locks: libraries, pipes of workers, records.
SPARE_FILES = 512


class RunLocks:
    """Locks of run directories; leaving the context releases them.

    Directories that were made for the locks and in which nothing else was made go with them.

    Args:
        note: told in one line why it takes a while.
    """

    def __init__(self, note: Callable[[str], None] = lambda text: None) -> None:
        self._note = note
        self._held: dict[Path, Any] = {}
        self._made: list[Path] = []

    def __enter__(self) -> RunLocks:
        return self

    def __exit__(self, *details: object) -> None:
        for path, file in self._held.items():
            _release(path, file)
        self._held.clear()
        remove_directories(self._made)
        self._made.clear()

    def acquire(self, directories: Iterable[Path], root: Path) -> None:
        """Lock run directories, which need not exist yet.

        Args:
            directories: of the runs.
            root: above all of them; directories below it that are links are refused.

        Raises:
            ConfigError: if another process holds one; it names its owner.
            StorageError: if a lock could not be written.
        """
        for directory in directories:
            path = _lock_of(directory)
            try:
                self._held[path] = self._take(path, directory, root)
                keep_from_children([self._held[path].fileno()])
            except OSError as error:
                raise StorageError(path, error) from error

    def descriptors(self, directories: Iterable[Path]) -> list[int]:
        """Return the open files that a process inherits to hold the locks too."""
        paths = [_lock_of(directory) for directory in directories]
        return [self._held[path].fileno() for path in paths if path in self._held]

    def _take(self, path: Path, directory: Path, root: Path) -> Any:
        deadline = None
        while True:
            self._made += make_directory(path.parent, root)
            found = _try_file(path, root)
            if found is None:
                continue
            file, owner = found
            if owner is None:
                return file
            if deadline is None:
                deadline = time.monotonic() + ORPHAN_SECONDS
                if _is_orphaned(owner):
                    self._note(f"waiting for workers that still write to {directory} to end")
            if not _is_orphaned(owner) or time.monotonic() > deadline:
                raise ConfigError(
                    f"{directory} is being written by process {_said(owner, 'pid')} on "
                    f"{_said(owner, 'host')}; wait for it or stop it, or choose another --out"
                )
            time.sleep(0.1)


@contextlib.contextmanager
def exclusive(path: Path, root: Path) -> Iterator[None]:
    """Let one process at a time do what takes a moment; the others wait.

    Args:
        path: of the lock; its directory is made, and removed if nothing is written into it.
        root: above it; directories below that are links are refused.

    Raises:
        ConfigError: if another process holds it for long.
        StorageError: if it could not be written.
    """
    made: list[Path] = []
    try:
        file = _wait_for(path, root, made)
        try:
            yield
        finally:
            _release(path, file)
    finally:
        remove_directories(made)


def _wait_for(path: Path, root: Path, made: list[Path]) -> Any:
    deadline = time.monotonic() + EXCLUSIVE_SECONDS
    while True:
        made += make_directory(path.parent, root)
        try:
            found = _try_file(path, root)
        except OSError as error:
            raise StorageError(path, error) from error
        file, owner = found or (None, {})
        if owner is None:
            return file
        if time.monotonic() > deadline:
            raise ConfigError(
                f"{path} is held by process {_said(owner, 'pid')} on {_said(owner, 'host')}; "
                "wait for it or stop it"
            )
        time.sleep(0.02)


def _try_file(path: Path, root: Path) -> tuple[Any, dict[str, Any] | None] | None:
    """Try to take a lock.

    Returns:
        The open file, and None if its lock is held now, or a file that is closed and who holds it;
        None if the file or its directory was removed meanwhile.
    """
    try:
        descriptor = open_own(path, os.O_RDWR | os.O_APPEND, root)
    except FileNotFoundError:
        return None
    file = open(descriptor, "a+", encoding="utf-8")  # noqa: SIM115 - held until released
    if not _try_lock(file):
        owner = _owner(file)
        file.close()
        return file, owner
    # Whoever held it before may have removed the file while this process waited.
    if not _is_at(file, path):
        file.close()
        return None
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    file.flush()
    return file, None


def _release(path: Path, file: Any) -> None:
    # Removed while it is held, so that nobody holds a lock that others cannot see.
    with contextlib.suppress(OSError):
        path.unlink()
    forget(file.fileno())
    file.close()


def _said(owner: Mapping[str, Any], name: str) -> str:
    return one_line(owner[name], 60) if name in owner else "unknown"


def is_locked(directory: Path) -> bool:
    """Whether some process writes to a run at the moment."""
    try:
        with open_regular(_lock_of(directory)) as file:
            return not _try_lock(file)
    except (OSError, ConfigError):
        return False


def _lock_of(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.lock")


def allow_open_files(count: int) -> None:
    """Let this process hold that many locks, as far as the system lets it."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _try_lock(file: Any) -> bool:
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: Any, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _owner(file: Any) -> dict[str, Any]:
    try:
        file.seek(0)
        owner = parse_json(file.read(1000))
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_orphaned(owner: dict[str, Any]) -> bool:
    """Whether the process that took the lock has died on this machine and left workers."""
    pid = owner.get("pid")
    if owner.get("host") != socket.gethostname() or type(pid) is not int or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has died and nobody has asked yet how; some containers never ask."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return False
    return state in ("Z", "X")
