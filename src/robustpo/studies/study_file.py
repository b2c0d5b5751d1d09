"""A user's own study: a TOML file of a dozen lines."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from robustpo.errors import ConfigError
from robustpo.settings import SETTING_NAMES
from robustpo.shape import SHAPE_NAMES
from robustpo.studies.grid import parse_seeds
from robustpo.studies.request import require_request
from robustpo.studies.study import Part, Study, require_method, require_task, valid_name
from robustpo.validation import require_choice

MAX_BYTES = 2**20
TEXTS = ("name", "title", "source", "note", "shows")
LISTS = ("tasks", "methods")
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
    try:
        content = path.read_bytes()[: MAX_BYTES + 1]
    except OSError as error:
        raise ConfigError(f"study file {str(path)!r} cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"study file {str(path)!r} is larger than {MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8")
        data = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return _Reader(path, text).study(data)


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
            text = f"name={name!r} is not valid; letters, digits, dots and dashes name a directory"
            raise self._error("name", text)
        if texts.get("shows", "return") not in ("return", "entropy"):
            raise self._error("shows", f"shows={texts['shows']!r}; expected return or entropy")
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
            require_request(study)
            study.configs()
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
        if not isinstance(seeds, str | int | list):
            raise self._error("seeds", f"seeds={seeds!r} is not valid; write 5, [0, 1] or '0:10'")
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
            raise self._error(key, f"{key}={value!r} is not valid; expected a list of names")

    def _text(self, data: dict[str, Any], name: str) -> str:
        if not isinstance(data[name], str) or not data[name].strip():
            raise self._error(name, f"{name}={data[name]!r} is not valid; expected text")
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
