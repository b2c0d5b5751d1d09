"""Files that outlive a crash and files from strangers: whole, checked, and never code.

Everything that is not appended to is written to a partial file, flushed to the disk and renamed, so
that a reader finds the old file or the new one. Arrays are kept as safetensors, whose metadata hold
a SHA-256 digest and a JSON object; the digest is of that object and of every array, so that one
flipped bit is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robustpo.errors import ConfigError, StorageError

# The only key of the metadata: the library writes several in any order, and equal content is to
# make equal files.
METADATA_KEY = "robustpo"
# What an array in a file may consist of, by NumPy's name of it.
DTYPES = frozenset({"float32", "float64", "int32", "int64", "uint8", "uint32", "bool"})
# JSON takes up to 25 times its length once it is read; this keeps a file's header below 500 MiB.
MAX_HEADER_BYTES = 16 * 2**20


def user_path(path: str | os.PathLike[str]) -> Path:
    """Return a path that a person gave, `~` in it read as a shell reads it.

    Raises:
        ConfigError: if it is no path, or names the home of nobody.
    """
    try:
        return Path(path).expanduser()
    except TypeError as error:
        raise ConfigError(f"{path!r} is not a path") from error
    except RuntimeError as error:
        raise ConfigError(
            f"{os.fspath(path)!r} begins with the home of a user that cannot be found; write "
            f"'./{os.fspath(path)}' for what is called so here"
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file by new content, or leave it as it was.

    Raises:
        StorageError: if the content could not be written, flushed or renamed.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StorageError(path, error) from error


def append_line(path: Path, line: str) -> None:
    """Append one line to a text file; it is not flushed to the disk.

    Raises:
        StorageError: if it could not be written; a part of the line may have been.
    """
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise StorageError(path, error) from error


def sync_directory(directory: Path) -> None:
    """Flush a directory's entries, so that a rename outlives a power cut."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
    """Write arrays and a JSON object into one safetensors file, atomically.

    Raises:
        StorageError: if it could not be written.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    # ascontiguousarray turns a number into a vector of one.
    arrays = {name: array.reshape(tensors[name].shape) for name, array in arrays.items()}
    text = json.dumps(state, sort_keys=True)
    metadata = {METADATA_KEY: f"{digest(arrays, text)} {text}"}
    write_atomically(path, save(arrays, metadata))


def read_tensors(path: Path, max_bytes: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_tensors` wrote; nothing is allocated that the file does not hold.

    Args:
        path: the file.
        max_bytes: files beyond this size are refused unread.

    Raises:
        ConfigError: if the file cannot be read, is too large, is damaged, or is no such file.
    """
    return parse_tensors(read_bytes(path, max_bytes), path)


def parse_tensors(
    content: bytes, name: object, *, max_header_bytes: int = MAX_HEADER_BYTES
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Take apart the content of a file that `write_tensors` wrote.

    Args:
        content: all of the file.
        name: what errors call it.
        max_header_bytes: longer headers are refused before they are read.

    Raises:
        ConfigError: if the content is damaged or is no such file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    length = int.from_bytes(content[:8], "little")
    if length > min(max_header_bytes, len(content) - 8):
        raise ConfigError(f"{name} is not a readable file of robustpo (a header of {length} bytes)")
    try:
        # The library checks the header, and every array against the length of the file, first.
        arrays = load(content)
        metadata = parse_json(content[8 : 8 + length]).get("__metadata__") or {}
        stated, _, text = metadata.get(METADATA_KEY, "").partition(" ")
        state = parse_json(text)
        found = digest(arrays, text)
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError) as error:
        reason = one_line(error)
        raise ConfigError(f"{name} is not a readable file of robustpo ({reason})") from error
    unknown = {str(a.dtype) for a in arrays.values()} - DTYPES
    if unknown:
        raise ConfigError(f"{name} holds arrays of {', '.join(sorted(unknown))}; it is not ours")
    if not isinstance(state, dict):
        raise ConfigError(f"{name} is not a readable file of robustpo (its state is no object)")
    if found != stated:
        raise ConfigError(f"{name} is damaged: its content does not have the digest it states")
    return arrays, state


def parse_json(text: bytes | str) -> Any:
    """Parse JSON in UTF-8 that means the same to every reader.

    Raises:
        ValueError: if it is no JSON, is nested hundreds deep, or names a key twice.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a key twice")
    return found


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Read a regular file of at most `max_bytes`.

    Raises:
        ConfigError: if it cannot be read, is larger, or is no regular file.
    """
    try:
        # Opening a pipe would wait for whoever writes to it; a device has no end.
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path} cannot be read (it is not a regular file)")
        with open(path, "rb") as file:
            # A buffer of the largest size would cost more than most files.
            content = file.read(min(found.st_size, max_bytes) + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error})") from error
    if len(content) > max_bytes:
        raise ConfigError(f"{path} is larger than {max_bytes / 2**20:.0f} MiB; it is not ours")
    return content


def digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    """Return the SHA-256 digest of a text and of named arrays: names, types, shapes, values."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def one_line(value: object, limit: int = 200) -> str:
    """Write what came out of a file on one line, without signs that steer a terminal."""
    text = " ".join(str(value)[: 10 * limit].split())
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
