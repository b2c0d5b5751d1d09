"""`--config file.toml`: options from a file, which those on the command line override."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line, user_path
from robustpo.base.registry import is_extension
from robustpo.base.toml_text import TomlFile, read_toml
from robustpo.cli.slips import meant_option, option_fields
from robustpo.errors import ConfigError
from robustpo.studies.grid import parse_method

OPTION = "--config"
# Said on the command line alone: what a file names is not imported for it.
_LEFT_OUT = ("config", "allow")


def take_file(arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the file that `--config` names, and the other arguments.

    Raises:
        ConfigError: if it names none.
    """
    rest, found = [], ""
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name != OPTION:
            rest.append(word)
            continue
        found = value if equals else next(words, "")
        if not found or found.startswith("--"):
            raise ConfigError(f"{OPTION} needs a value, a file such as my.toml")
    return user_path(found), rest


def read_options(path: Path, command: Any, typed: Sequence[str]) -> tuple[TomlFile, list[str]]:
    """Read a file; return it, and its options as they would be typed.

    Args:
        path: the file.
        command: the class of the command that is given.
        typed: what is typed beside it. An extension that the file names has to be among it.

    Raises:
        ConfigError: if it cannot be read, or has what the command does not; with the line.
    """
    file = read_toml(path)
    declared = {f.name: f for f in option_fields(command) if f.name not in _LEFT_OUT}
    words: list[str] = []
    for name, value in file.data.items():
        if name not in declared:
            guess = meant_option(name, declared).replace("--", "").replace("-", "_")
            expected = "; expected names as in learning_rate = 1e-3"
            raise file.error(name, f"unknown setting {name!r}{guess or expected}")
        for extension in filter(is_extension, _names(name, value, file)):
            if extension not in typed:
                raise file.error(
                    name,
                    f"{name} names {extension}, and a file does not decide which module is "
                    f"imported; if you know it, add --allow {extension}",
                )
        if name != "task":
            words += _words(declared[name], value, file)
    # What takes several values ends here at the latest, before the task.
    return file, [*words, f"{OPTION}={path}"]


def located(error: ConfigError, arguments: Sequence[str]) -> ConfigError:
    """Name the line in which a value stands that was refused after the file had been read.

    Args:
        error: what was refused: `clip_coef=-1.0 is not valid; …`.
        arguments: of the command.
    """
    found = re.match(r"(\w+)=", str(error))
    if not found:
        return error
    name, option = found[1], f"--{found[1].replace('_', '-')}"
    try:
        path, typed = take_file(arguments)
        file = read_toml(path)
    except ConfigError:
        return error
    overridden = any(word.partition("=")[0] == option for word in typed)
    return file.error(name, str(error)) if name in file.data and not overridden else error


def _words(declared: dataclasses.Field[Any], value: Any, file: TomlFile) -> list[str]:
    name = declared.name
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, dict) and name == "env_kwargs":
        return [option, *(f"{key}={_text(part, name, file)}" for key, part in value.items())]
    if isinstance(value, bool) and isinstance(declared.default, bool):
        negative = [f"--no-{option[2:]}"] if declared.default else []
        return [option] if value else negative
    if isinstance(value, list) and name == "seeds":
        return [f"{option}={','.join(_text(part, name, file) for part in value)}"]
    if isinstance(value, list):
        return [option, *(_text(part, name, file) for part in value)]
    return [f"{option}={_text(value, name, file)}"]


def _text(value: Any, name: str, file: TomlFile) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    shown = one_line(repr(value), 60)
    raise file.error(name, f"{name}={shown} is not valid; expected a number, a text or a list")


def _names(name: str, value: Any, file: TomlFile) -> Iterable[str]:
    """Return what of a value may name an extension: all but a task, which is what is asked for."""
    values = value if isinstance(value, list) else [value]
    if name not in ("method", "methods"):
        return [x for x in values if isinstance(x, str) and name not in ("task", "out")]
    found: list[str] = []
    for text in values:
        try:
            method, own = parse_method(text)
        except ConfigError as error:
            raise file.error(name, str(error)) from error
        parts = (x for v in own.values() for x in (v if isinstance(v, tuple) else (v,)))
        found += [method, *(x for x in parts if isinstance(x, str))]
    return found
