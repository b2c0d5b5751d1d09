"""A user's own study: a TOML file of a dozen lines."""

from __future__ import annotations

import codecs
import re
import tomllib
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line, read_bytes
from robustpo.base.validation import require_choice
from robustpo.config.settings import SETTING_NAMES
from robustpo.config.shape import SHAPE_NAMES
from robustpo.errors import ConfigError
from robustpo.studies.grid import parse_seeds
from robustpo.studies.request import require_request
from robustpo.studies.study import Part, Study, require_method, require_task, valid_name

MAX_BYTES = 2**20
TEXTS = ("name", "title", "source", "note", "shows")
LISTS = ("tasks", "methods")
SHOWN = ("return", "entropy")
OPTIONS = tuple(
    n
    for n in (*SETTING_NAMES, *SHAPE_NAMES, "preset", "eval_every", "eval_episodes")
    if n != "seed"
)
KEYS = (*TEXTS, *LISTS, "seeds", "steps", "parts", *OPTIONS)

EXAMPLE = """\
title = "RPO on my two tasks"
tasks = ["dm_control/walker-walk-v0", "HalfCheetah-v4"]
methods = ["ppo", "rpo", "rpo:alpha=0.1"]
seeds = "0:5"
steps = 1_000_000
time_limit = "terminal"
"""


def read_study(path: Path) -> Study:
    """Read a study from a TOML file.

    The keys are those of `EXAMPLE`, and any setting, shape or `preset` shared by all runs. Where
    tasks differ in anything, a table `[[parts]]` each takes the keys, beside those above them all.

    Raises:
        ConfigError: if the file cannot be read, is no TOML, or names something that does not exist;
            with the line where it stands.
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
    return _Reader(path, text).study(data)


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


class _Reader:
    """Turns tables into a study; what is wrong is said with its line."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._lines = path, text.splitlines()

    def study(self, data: dict[str, Any]) -> Study:
        tables = data.pop("parts", [])
        if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
            raise self._error("parts", "parts is not a list of tables; write [[parts]]")
        texts = {name: self._text(data, name) for name in TEXTS if name in data}
        name = texts.get("name", self._path.stem)
        if not valid_name(name):
            expected = "letters, digits, dots and dashes name a directory"
            text = f"name={_shown(name)} is not valid; {expected}"
            raise self._error("name", text)
        if texts.get("shows", "return") not in SHOWN:
            raise self._error(
                "shows", f"shows={_shown(texts['shows'])}; expected return or entropy"
            )
        shared = {key: value for key, value in data.items() if key not in TEXTS}
        parts = tuple(self._part(shared | table) for table in tables or [{}])
        study = Study(
            name,
            texts.get("title", name),
            parts,
            texts.get("source", ""),
            texts.get("shows", "return"),
            texts.get("note", ""),
        )
        try:
            study.check()
            require_request(study)
        except ConfigError as error:
            raise self._error(str(error).partition("=")[0], str(error)) from error
        return study

    def _part(self, table: dict[str, Any]) -> Part:
        for key in table:
            self._try(key, require_choice, "key", key, KEYS)
        for key in LISTS:
            self._strings(table, key)
        for method in table["methods"]:
            self._try(method, require_method, method)
        for task in table["tasks"]:
            self._try(task, require_task, task)
        options = {key: value for key, value in table.items() if key in OPTIONS}
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        seeds = table.get("seeds", "0:10")
        if (not isinstance(seeds, str | list) and type(seeds) is not int) or (
            isinstance(seeds, list) and any(type(seed) is not int for seed in seeds)
        ):
            text = f"seeds={_shown(seeds)} is not valid; write 5, [0, 1] or '0:10'"
            raise self._error("seeds", text)
        return Part(
            tuple(dict.fromkeys(table["tasks"])),
            tuple(table["methods"]),
            self._try("seeds", parse_seeds, seeds),
            table.get("steps", 8_000_000),
            options,
        )

    def _strings(self, table: dict[str, Any], key: str) -> None:
        value = table.get(key)
        if not value or not isinstance(value, list) or not all(isinstance(x, str) for x in value):
            raise self._error(key, f"{key}={_shown(value)} is not valid; expected a list of names")

    def _text(self, data: dict[str, Any], name: str) -> str:
        if not isinstance(data[name], str) or not data[name].strip():
            raise self._error(name, f"{name}={_shown(data[name])} is not valid; expected text")
        return data[name]

    def _try(self, where: str, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except ConfigError as error:
            raise self._error(where, str(error)) from error

    def _error(self, where: str, text: str) -> ConfigError:
        """Return an error that names the file and the line where something first stands."""
        pattern = re.compile(rf"(?<![\w-]){re.escape(where)}(?![\w-])")
        for number, line in enumerate(self._lines, 1):
            if pattern.search(line.partition("#")[0]):
                return ConfigError(f"{self._path}, line {number}: {text}")
        return ConfigError(f"{self._path}: {text}")


def _shown(value: Any) -> str:
    return one_line(repr(value))
