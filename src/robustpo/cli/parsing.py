"""From arguments to a command; only the one that is asked for is imported."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import re
from collections.abc import Sequence
from typing import Annotated, Any, get_type_hints

import tyro
from tyro.conf import OmitArgPrefixes, Suppress

from robustpo.cli.slips import meant_command, meant_option, option_fields
from robustpo.cli.values import registry
from robustpo.errors import ConfigError

# Where each command is, and what the list of them says of it.
COMMANDS = {
    "train": ("train:Train", "Train one method on a task, all seeds at once."),
    "compare": (
        "compare:Compare",
        "Train several methods on a task and say which is better, with what certainty.",
    ),
    "tune": (
        "tune:Tune",
        "Find alpha, and what goes with it, for a task; confirm it on fresh seeds.",
    ),
    "evaluate": (
        "evaluate:Evaluate",
        "Evaluate a trained policy: frozen statistics, fresh seeds.",
    ),
    "robustness": (
        "robustness:Robustness",
        "Measure policies where something differs from training, and say which method keeps more.",
    ),
    "record": ("record:Record", "Film a trained policy, without a screen."),
    "export": (
        "export:Export",
        "Write a trained policy as ONNX, as a C header or as StableHLO.",
    ),
    "config": ("config:Config", "Print the file that repeats a run: robustpo train --config FILE."),
    "study": (
        "study:StudyGroup",
        "List, show, run and report studies: every experiment of the paper, or your own.",
    ),
    "methods": (
        "methods:Methods",
        "List the methods: what each is, where it is described and what it sets.",
    ),
    "envs": ("envs:Envs", "List what can be trained here, or make and step it."),
    "theory": (
        "theory:Theory",
        "Check the paper's theory with numbers, on fresh and on trained policies.",
    ),
    "doctor": (
        "doctor:Doctor",
        "Check what works on this machine and say what to do about what does not.",
    ),
}

HELP_ALL = "--help-all"
CONFIG, EXTEND = "--config", "--extend"

# What tyro says besides.
_BESIDE = "|".join(
    (
        "Argument helptext",
        "Arguments are applied",
        "Available subcommands",
        "For full helptext",
        "Perhaps you meant",
    )
)


def parse(arguments: list[str], description: str | None) -> Any:
    """Read the arguments; a mistake becomes one line instead of tyro's framed page.

    Args:
        arguments: what follows the command's name.
        description: what the help begins with.

    Raises:
        ConfigError: if the arguments are not valid.
    """
    named = any(word.partition("=")[0] == CONFIG for word in arguments)
    if not named or arguments[0] not in ("train", "compare"):
        return _parse_extension(arguments, description)
    # What asks for no file imports nothing for it.
    from robustpo.cli.config_file import read_options, take_file

    path, (command, *rest) = take_file(arguments)
    file, words = read_options(path, _load(command), rest)
    task = file.data.get("task")
    try:
        try:
            return _parse([command, *words, *rest], description)
        except TaskMissing:
            if task is None:
                return _parse_extension([command, *words, *rest], description)
            return _parse([command, str(task), *words, *rest], description)
    except ConfigError as error:
        # What is wrong may stand in the file.
        option = re.match(r"--([\w-]+) ", str(error))
        name = option[1].replace("-", "_") if option else ""
        raise (file.error(name, str(error)) if name in file.data else error) from None


def _parse_extension(arguments: list[str], description: str | None) -> Any:
    """Read the arguments; the task of a run that is extended need not be said again."""
    try:
        return _parse(arguments, description)
    except TaskMissing:
        values = [word.partition("=")[2] for word in arguments if word.startswith(f"{EXTEND}=")]
        places = [i for i, word in enumerate(arguments[:-1]) if word == EXTEND]
        values += [arguments[i + 1] for i in places]
        if len(values) != 1:
            raise
    # What extends nothing imports nothing for it.
    from robustpo.studies.extending import extended_task

    command, *rest = arguments
    return _parse([command, extended_task(values[0]), *rest], description)


class TaskMissing(ConfigError):
    """What stands alone after a command is not there."""


def _parse(arguments: list[str], description: str | None) -> Any:
    complaint = io.StringIO()
    everything = HELP_ALL in arguments
    given = ["--help" if text == HELP_ALL else text for text in arguments]
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.extras.subcommand_cli_from_dict(
                {name: _command(name, given, everything) for name in COMMANDS},
                prog="robustpo",
                description=description,
                args=given,
                registry=registry,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        text = _one_line(complaint.getvalue(), arguments)
        missing = text.startswith("TASK is missing")
        raise (TaskMissing(text) if missing else ConfigError(text)) from None


def _one_line(framed: str, arguments: Sequence[str]) -> str:
    """Take the words out of a framed, wrapped message and leave out what repeats the help."""
    # A terminal without Unicode gets its frame in ASCII.
    inside = [line.strip("│╭╰─╮╯|+ ") for line in framed.splitlines()]
    words = [line for line in inside if line.strip("─-")]
    text = re.sub(r"\s+", " ", " ".join(words)).replace("─", "")
    said, rest = re.split(rf" ?(?={_BESIDE}|$)", text, maxsplit=1)
    if unknown := re.search(r"Unrecognized (?:or misplaced )?options: (.*)", said):
        words = re.sub(r" \(applied to [^)]*\)", "", unknown[1])
        return f"unknown option or command {words}{_meant(words, rest, arguments)}"
    if wrong := re.search(r"Error parsing (\S+): .*?('[^']*') is (n.*?)(?= - <|$)", said):
        return f"{wrong[1]} does not take {wrong[2]}, which is {wrong[3]}"
    if wrong := re.search(r"Error parsing (\S+): .*?(\[.*?\]|'[^']*')", said):
        return f"{wrong[1]} does not take {wrong[2]}; see robustpo <command> --help"
    if wrong := re.search(r"invalid choice ('.*?') for argument '(.*?)'\. .*?\((.*)\)", said):
        choices = sorted(set(re.findall(r"'([^']*)'", wrong[3])) - {"None"})
        return f"{wrong[2]} does not take {wrong[1]}; choose {' or '.join(choices)}"
    if missing := re.search(r"Missing from [^:]*: ([A-Z_]+) ", said):
        return f"{missing[1]} is missing; it stands alone, after the command"
    if missing := re.search(r"Missing value for argument '(\S+)'", said):
        if missing[1].startswith("-"):
            return f"{missing[1]} needs a value"
        return f"{missing[1].upper()} is missing; it stands alone, after the command"
    return re.sub(r"^(Value error|Parsing error|Required options) ", "", said).strip()


def _meant(words: str, rest: str, arguments: Sequence[str]) -> str:
    """Say what was meant by words that nothing takes."""
    typed = words.partition(",")[0]
    if "Available subcommands" in rest:
        return meant_command(typed, COMMANDS)
    if typed.startswith("--") and arguments[0] in COMMANDS:
        names = [f.name for f in option_fields(_load(arguments[0]))]
        if guess := meant_option(typed, names):
            return guess
    near = re.search(r"Perhaps you meant: (--[\w-]+)", rest)
    # Another command takes it.
    return f"; did you mean {near[1]}?" if near and near[1] not in words else ""


def _load(name: str) -> Any:
    module, _, attribute = COMMANDS[name][0].partition(":")
    return getattr(importlib.import_module(f"robustpo.cli.{module}"), attribute)


def _command(name: str, arguments: Sequence[str], everything: bool) -> Any:
    """Return a command's class; of one that is not asked for what the list of them takes."""
    # A shell's completion, which tyro writes, tells the options of all.
    completes = bool(arguments) and arguments[0].replace("_", "-").startswith("--tyro-")
    if name in arguments or completes:
        command = _load(name)
        often = getattr(command, "often", ())
        asks = not {"-h", "--help"}.isdisjoint(arguments)
        if asks and often and not everything:
            command = _shortened(command, often)
            command.__doc__ += f"\n\nAll options: robustpo {name} {HELP_ALL}"
        return command
    command = dataclasses.make_dataclass(name, [])
    command.__doc__ = COMMANDS[name][1]
    return command


def _shortened(command: Any, often: Sequence[str]) -> Any:
    """Return a command without the options that people use less, for its help."""
    hints = get_type_hints(command, include_extras=True)
    fields = []
    for declared in dataclasses.fields(command):
        group, name = declared.default_factory, declared.name
        if dataclasses.is_dataclass(group):
            short: Any = _shortened(group, often)
            fields.append((name, OmitArgPrefixes[short], dataclasses.field(default_factory=short)))
        elif name not in often:
            hint = Annotated[hints[name], Suppress]
            fields.append((name, hint, dataclasses.field(default=declared.default)))
    # What is left is inherited, and its text is found where it is declared.
    made = dataclasses.make_dataclass(command.__name__, fields, bases=(command,), frozen=True)
    made.__doc__ = command.__doc__
    return made
