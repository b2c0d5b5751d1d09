"""Writing below a folder that may come from a stranger: nothing is written or deleted elsewhere.

Links are where the danger lies: a file's name may be a link to `~/.bashrc`, a directory's to
another disk. So every directory below the root that a person gave is opened as what it is, never
through a link; a file that is made has a name that nobody can know before; a file that is appended
to or locked is a plain one that has no second name; and only files with names of ours are deleted.
The root itself may be a link, as people put large results on other disks.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from robustpo.errors import ConfigError, StorageError

# What not every system has: there, names are checked and then used.
_HAS_DESCRIPTORS = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_SAFE = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
_DIRECTORY = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_DIRECTORY", "O_CLOEXEC"))
_ATTEMPTS = 100
# Earlier versions wrote partial files without the random part.
_PARTIAL = re.compile(r"\.[^/]+?(\.[0-9a-f]{16})?\.partial")


@dataclass(frozen=True)
class _Folder:
    """A directory that was reached through real ones; `descriptor` is None where there are none."""

    path: Path
    descriptor: int | None

    def at(self, name: str) -> str:
        """Return what to call a file of the directory beside `dir_fd=descriptor`."""
        return name if self.descriptor is not None else str(self.path / name)

    def open(self, name: str, flags: int) -> int:
        """Open a file that is no link.

        Raises:
            ConfigError: if it is one.
        """
        try:
            return os.open(self.at(name), flags | _SAFE, 0o666, dir_fd=self.descriptor)
        except OSError:
            _refuse_link(self.path / name, self.at(name), self.descriptor)
            raise

    def rename(self, old: str, new: str) -> None:
        os.replace(
            self.at(old), self.at(new), src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor
        )

    def unlink(self, name: str) -> None:
        os.unlink(self.at(name), dir_fd=self.descriptor)

    def sync(self) -> None:
        """Flush the directory's entries, so that a rename outlives a power cut."""
        if self.descriptor is not None:
            os.fsync(self.descriptor)


@contextlib.contextmanager
def _open_folder(
    path: Path, root: Path | None, made: list[Path] | None = None
) -> Iterator[_Folder]:
    """Open a directory; every one on the way from the root is a real one.

    Args:
        path: the directory.
        root: at or above it; None is the directory above it.
        made: if given, what is missing is made and noted in it.

    Raises:
        ConfigError: if a link is on the way.
        OSError: if a directory cannot be opened or made.
    """
    if root is None:
        # The directory above `..` is no part of its name.
        root = path if path.name in ("", "..") else path.parent
    parts = path.relative_to(root).parts
    if ".." in parts:
        raise ConfigError(f"{path} leaves {root}; robustpo writes below it only")
    if made is not None:
        missing = [place for place in (root, *root.parents) if not os.path.lexists(place)]
        root.mkdir(parents=True, exist_ok=True)
        made += reversed(missing)
    folder = _Folder(root, os.open(root, _DIRECTORY) if _HAS_DESCRIPTORS else None)
    try:
        for part in parts:
            inner = folder.path / part
            if made is not None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder.at(part), dir_fd=folder.descriptor)
                    made.append(inner)
            if folder.descriptor is None:
                _refuse_link(inner, inner, None)
                folder = _Folder(inner, None)
            else:
                opened = folder.open(part, _DIRECTORY)
                os.close(folder.descriptor)
                folder = _Folder(inner, opened)
        yield folder
    finally:
        if folder.descriptor is not None:
            os.close(folder.descriptor)


def _refuse_link(path: Path, name: str | Path, descriptor: int | None) -> None:
    try:
        found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except OSError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise ConfigError(
            f"{path} is a link, and robustpo writes through none inside a folder of results; "
            "remove the link, or choose another --out"
        )


def make_directory(path: Path, root: Path) -> list[Path]:
    """Make a directory and all that are missing above it; those below the root are no links.

    Args:
        path: the directory, which may exist.
        root: what a person gave; it is at or above `path` and may itself be a link.

    Returns:
        The directories that were not there, the outermost first.

    Raises:
        ConfigError: if a directory between the root and `path` is a link.
        StorageError: if one could not be made.
    """
    made: list[Path] = []
    for attempt in range(_ATTEMPTS):
        try:
            with _open_folder(path, root, made):
                return made
        except FileNotFoundError as error:
            # Another command was refused and took its empty directory away again.
            if attempt == _ATTEMPTS - 1:
                raise StorageError(path, error) from error
        except OSError as error:
            raise StorageError(path, error) from error
    raise AssertionError("unreachable")


def require_real(path: Path, root: Path) -> None:
    """Raise `ConfigError` if anything that exists between a root and a path is a link."""
    place = root
    for part in path.relative_to(root).parts:
        place = place / part
        _refuse_link(place, place, None)


def write_atomically(path: Path, content: bytes, root: Path | None = None) -> None:
    """Replace a file by new content, or leave it as it was.

    Args:
        path: the file; if it is a link, the link is replaced and not what it names.
        content: all of it.
        root: the directories from it to the file are no links; None says so of the file's own.

    Raises:
        ConfigError: if a directory is a link.
        StorageError: if the content could not be written, flushed or renamed.
    """
    try:
        with _open_folder(path.parent, root) as folder, _replacing(folder, path.name) as file:
            file.write(content)
    except OSError as error:
        raise StorageError(path, error) from error


@contextlib.contextmanager
def _replacing(folder: _Folder, name: str) -> Iterator[IO[bytes]]:
    """Yield a new file that takes a name when it is whole."""
    partial = f".{name[:60]}.{secrets.token_hex(8)}.partial"
    descriptor = folder.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        folder.rename(partial, name)
        folder.sync()
    except BaseException:
        with contextlib.suppress(OSError):
            folder.unlink(partial)
        raise


def new_partial(path: Path) -> Path:
    """Make an empty file beside another and with its suffix, for a program that writes by name.

    Raises:
        OSError: if it could not be made.
    """
    partial = path.with_name(f".{path.stem[:60]}.{secrets.token_hex(8)}.partial{path.suffix}")
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o666))
    return partial


def is_partial(name: str) -> bool:
    """Whether a file is what a process leaves that was killed while it wrote another."""
    return _PARTIAL.fullmatch(name) is not None


def append_line(path: Path, line: str, root: Path | None = None) -> None:
    """Append one line to a text file; it is not flushed to the disk.

    Raises:
        ConfigError: if the file or a directory below the root is a link.
        StorageError: if it could not be written; a part of the line may have been.
    """
    try:
        descriptor = open_own(path, os.O_WRONLY | os.O_APPEND, root)
        with open(descriptor, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise StorageError(path, error) from error


def end_line(path: Path, root: Path | None = None) -> None:
    """End the last line of a text file, if whoever wrote it was stopped in the middle.

    Raises:
        ConfigError: as `append_line`.
        StorageError: as `append_line`.
    """
    try:
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
    except OSError:
        # There is none, or it is empty.
        return
    if torn:
        append_line(path, "", root)


def open_own(path: Path, flags: int, root: Path | None = None) -> int:
    """Open a plain file of ours that is changed in place; make it if it is missing.

    Args:
        path: the file.
        flags: `os.O_WRONLY` or `os.O_RDWR`, and `os.O_APPEND`.
        root: as in `write_atomically`.

    Raises:
        ConfigError: if the file or a directory is a link, or the file is another's too.
        OSError: if it could not be opened.
    """
    with _open_folder(path.parent, root) as folder:
        descriptor = folder.open(path.name, flags | os.O_CREAT)
    found = os.fstat(descriptor)
    # A second name may lie anywhere; what is written to one is written to the other.
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise ConfigError(
            f"{path} is no plain file of robustpo's own (a pipe, or a link); remove it, or choose "
            "another --out"
        )
    return descriptor


def remove_files(directory: Path, ours: Callable[[str], bool], root: Path | None = None) -> None:
    """Delete what has a name of ours in a directory that is no link; what cannot be stays."""
    with contextlib.suppress(OSError, ConfigError), _open_folder(directory, root) as folder:
        for name in os.listdir(directory if folder.descriptor is None else folder.descriptor):
            if ours(name):
                with contextlib.suppress(OSError):
                    folder.unlink(name)


def rename_file(path: Path, name: str, root: Path | None = None) -> None:
    """Give a file another name in its directory, if that can be done."""
    with contextlib.suppress(OSError, ConfigError), _open_folder(path.parent, root) as folder:
        folder.rename(path.name, name)


def remove_directories(directories: Sequence[Path]) -> None:
    """Remove directories that are empty and no links, the last first."""
    for directory in reversed(directories):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
