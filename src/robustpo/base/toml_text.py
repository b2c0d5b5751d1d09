"""TOML that a person has written: what is wrong in it is said with its line."""

from __future__ import annotations

import codecs
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line, read_bytes
from robustpo.errors import ConfigError

MAX_BYTES = 2**20


@dataclass(frozen=True)
class TomlFile:
    """A file as it was read.

    Attributes:
        path: where it lies.
        data: its tables.
        lines: its text.
    """

    path: Path
    data: dict[str, Any]
    lines: tuple[str, ...]

    def error(self, where: str, text: str) -> ConfigError:
        """Return an error that names the file and the line where something first stands."""
        pattern = re.compile(rf"(?<![\w-]){re.escape(where)}(?![\w-])")
        for number, line in enumerate(self.lines, 1):
            if pattern.search(line.partition("#")[0]):
                return ConfigError(f"{self.path}, line {number}: {text}")
        return ConfigError(f"{self.path}: {text}")


def read_toml(path: Path) -> TomlFile:
    """Read a file.

    Raises:
        ConfigError: if it cannot be read, or is no TOML.
    """
    content = read_bytes(path, MAX_BYTES)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise ConfigError(f"{path} is not UTF-8 text, perhaps UTF-16; save it as UTF-8")
    try:
        # Some editors put a mark in front that is no part of the text.
        text = content.decode("utf-8-sig")
        data = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: {one_line(error)}; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {one_line(error)}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: a number has more digits than any may have") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: it is nested too deeply") from error
    _require_writable_numbers(data, path)
    return TomlFile(path, data, tuple(text.splitlines()))


def _require_writable_numbers(data: Any, path: Path) -> None:
    """Raise `ConfigError` for whole numbers so long that Python refuses to write them."""
    values = [data]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value
        elif isinstance(value, int) and abs(value) >= 2**63:
            raise ConfigError(f"{path}: a number of {value.bit_length()} bits is larger than any")
