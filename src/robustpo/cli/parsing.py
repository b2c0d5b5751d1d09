"""From arguments to a command; only the one that is asked for is imported."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import io
import re
from collections.abc import Sequence
from typing import Any

import tyro

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
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.extras.subcommand_cli_from_dict(
                {name: _command(name, arguments) for name in COMMANDS},
                prog="robustpo",
                description=description,
                args=arguments,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ConfigError(_one_line(complaint.getvalue())) from None


def _one_line(framed: str) -> str:
    """Take the words out of a framed, wrapped message and leave out what repeats the help."""
    # A terminal without Unicode gets its frame in ASCII.
    inside = [line.strip("│╭╰─╮╯|+ ") for line in framed.splitlines()]
    words = [line for line in inside if line.strip("─-")]
    text = re.sub(r"\s+", " ", " ".join(words)).replace("─", "")
    said, rest = re.split(rf" ?(?={_BESIDE}|$)", text, maxsplit=1)
    if unknown := re.search(r"Unrecognized (?:or misplaced )?options: (.*)", said):
        words = re.sub(r" \(applied to [^)]*\)", "", unknown[1])
        near = re.search(r"Perhaps you meant: (--[\w-]+)", rest)
        # Another command takes it.
        taken = near is not None and near[1] in words
        guess = f"; did you mean {near[1]}?" if near and not taken else ""
        if "Available subcommands" in rest:
            like = difflib.get_close_matches(words.partition(",")[0], COMMANDS, 1)
            guess = f"; did you mean {like[0]}?" if like else f"; choose {' or '.join(COMMANDS)}"
        return f"unknown option or command {words}{guess}"
    if wrong := re.search(r"Error parsing (\S+): .*?(\[.*?\]|'[^']*')", said):
        return f"{wrong[1]} does not take {wrong[2]}; see robustpo <command> --help"
    if wrong := re.search(r"invalid choice ('.*?') for argument '(.*?)'\. .*?\((.*)\)", said):
        choices = sorted(set(re.findall(r"'([^']*)'", wrong[3])) - {"None"})
        return f"{wrong[2]} does not take {wrong[1]}; choose {' or '.join(choices)}"
    if missing := re.search(r"Missing value for argument '(\S+)'", said):
        return f"{missing[1]} needs a value"
    return re.sub(r"^(Value error|Parsing error|Required options) ", "", said).strip()


def _command(name: str, arguments: Sequence[str]) -> Any:
    """Return a command's class; of one that is not asked for what the list of them takes."""
    place, line = COMMANDS[name]
    # A shell's completion, which tyro writes, tells the options of all.
    completes = bool(arguments) and arguments[0].replace("_", "-").startswith("--tyro-")
    if name in arguments or completes:
        module, _, attribute = place.partition(":")
        return getattr(importlib.import_module(f"robustpo.cli.{module}"), attribute)
    command = dataclasses.make_dataclass(name, [])
    command.__doc__ = line
    return command
