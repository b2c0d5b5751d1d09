"""A user's own study: a TOML file of a dozen lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustpo.base.files import one_line
from robustpo.base.toml_text import TomlFile, read_toml
from robustpo.base.validation import require_choice
from robustpo.config.settings import SETTING_NAMES
from robustpo.config.shape import SHAPE_NAMES
from robustpo.errors import ConfigError
from robustpo.studies.grid import parse_seeds
from robustpo.studies.request import require_request
from robustpo.studies.study import Part, Study, require_method, require_task, valid_name

TEXTS = ("name", "title", "source", "note", "shows", "judge_by")
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
    return _Reader(read_toml(path)).study()


class _Reader:
    """Turns tables into a study; what is wrong is said with its line."""

    def __init__(self, file: TomlFile) -> None:
        self._file, self._error = file, file.error

    def study(self) -> Study:
        data = dict(self._file.data)
        tables = data.pop("parts", [])
        if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
            raise self._error("parts", "parts is not a list of tables; write [[parts]]")
        texts = {name: self._text(data, name) for name in TEXTS if name in data}
        name = texts.get("name", self._file.path.stem)
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
            judged_by=texts.get("judge_by", ""),
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


def _shown(value: Any) -> str:
    return one_line(repr(value))
