"""Files from strangers: looked at before they are read, checked, and never code.

Arrays are kept as safetensors, whose metadata hold a SHA-256 digest and a JSON object; the digest
is of that object and of every array, so that one flipped bit is noticed. How files are written is
in `writing.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from robustpo.base.writing import write_atomically
from robustpo.errors import ConfigError

# The only key of the metadata: the library writes several in any order, and equal content is to
# make equal files.
METADATA_KEY = "robustpo"
# What an array in a file may consist of, by NumPy's name of it.
DTYPES = frozenset({"float32", "float64", "int32", "int64", "uint8", "uint32", "bool"})
# JSON takes up to 25 times its length once it is read; this keeps a file's header below 500 MiB.
MAX_HEADER_BYTES = 16 * 2**20
# What reading what a stranger wrote may raise.
_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)
# Not every system has all of them.
_NO_WAITING = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


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


def write_tensors(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    state: Mapping[str, Any],
    root: Path | None = None,
) -> None:
    """Write arrays and a JSON object into one safetensors file, atomically.

    The keys of the object keep their order.

    Raises:
        ConfigError: if a directory below `root` is a link, as `write_atomically` has it.
        StorageError: if it could not be written.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    # ascontiguousarray turns a number into a vector of one.
    arrays = {name: array.reshape(tensors[name].shape) for name, array in arrays.items()}
    text = json.dumps(state)
    metadata = {METADATA_KEY: f"{digest(arrays, text)} {text}"}
    write_atomically(path, save(arrays, metadata), root)


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

    length = _header_length(content, len(content), max_header_bytes, name)
    try:
        # The library checks the header, and every array against the length of the file, first.
        arrays = load(content)
        stated, text, state = _stated(parse_json(content[8 : 8 + length]))
        found = digest(arrays, text)
    except (SafetensorError, *_UNREADABLE) as error:
        raise _no_file_of_ours(name, one_line(error)) from error
    unknown = {str(a.dtype) for a in arrays.values()} - DTYPES
    if unknown:
        raise ConfigError(f"{name} holds arrays of {', '.join(sorted(unknown))}; it is not ours")
    if found != stated:
        raise ConfigError(f"{name} is damaged: its content does not have the digest it states")
    return arrays, state


def read_state(path: Path, max_bytes: int) -> dict[str, Any]:
    """Read the JSON object alone of what `write_tensors` wrote, at the head of the file.

    Of the arrays only the length is looked at, so that damage there is for `read_tensors` to find.

    Raises:
        ConfigError: as `read_tensors` does.
    """
    with _opened(path, max_bytes) as (file, size):
        length = _header_length(file.read(8), size, MAX_HEADER_BYTES, path)
        header = file.read(length)
    try:
        parsed = parse_json(header)
        _, _, state = _stated(parsed)
        ends = [entry["data_offsets"][1] for entry in parsed.values() if "dtype" in entry]
        if 8 + length + max(ends, default=0) != size:
            raise ValueError(f"it has {size} bytes and states others")
    except _UNREADABLE as error:
        raise _no_file_of_ours(path, one_line(error)) from error
    return state


def _header_length(head: bytes, size: int, most: int, name: object) -> int:
    length = int.from_bytes(head[:8], "little")
    if length > min(most, size - 8):
        raise _no_file_of_ours(name, f"a header of {length} bytes")
    return length


def _stated(header: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return the digest that a header states, and the object as text and parsed."""
    metadata = header.get("__metadata__") or {}
    stated, _, text = metadata.get(METADATA_KEY, "").partition(" ")
    state = parse_json(text)
    if not isinstance(state, dict):
        raise ValueError("its state is no object")
    return stated, text, state


def _no_file_of_ours(name: object, reason: str) -> ConfigError:
    return ConfigError(f"{name} is not a readable file of robustpo ({reason})")


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
    """Read a regular file of at most `max_bytes`; a larger one is refused unread.

    Links are followed: people keep policies and results behind them, and what is read is only ever
    shown to whoever may read it.

    Raises:
        ConfigError: if it cannot be read, is larger, or is no regular file.
    """
    with _opened(path, max_bytes) as (file, size):
        # A buffer of the largest size would cost more than most files.
        content = file.read(size + 1)
    if len(content) > max_bytes:
        raise _too_large(path, max_bytes)
    return content


@contextlib.contextmanager
def _opened(path: Path, max_bytes: int) -> Iterator[tuple[IO[bytes], int]]:
    """Open a regular file of at most so many bytes; yield it with its length."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise _too_large(path, max_bytes)
            yield file, size
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error})") from error


def _too_large(path: Path, max_bytes: int) -> ConfigError:
    return ConfigError(f"{path} is larger than {max_bytes / 2**20:.0f} MiB; it is not ours")


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading, without waiting for anything.

    Raises:
        ConfigError: if it is none.
        OSError: if it cannot be opened.
    """
    # Opening a pipe would wait for whoever writes to it; a device has no end.
    descriptor = os.open(path, os.O_RDONLY | _NO_WAITING)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"{path} cannot be read (it is not a regular file)")
    return open(descriptor, "rb")


def digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    """Return the SHA-256 digest of a text and of named arrays: names, types, shapes, values."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def one_line(value: object, limit: int = 200) -> str:
    """Write what came from elsewhere on one line, without signs that steer a terminal."""
    try:
        text = " ".join(str(value)[: 10 * limit].split())
    except Exception:
        text = f"a {type(value).__name__} that cannot be written out"
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
