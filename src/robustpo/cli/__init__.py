"""Train, compare and hand over policies for continuous control; the words are the Python API's.

Exit codes: 0 if all that was asked for is finished, 1 if something failed or is missing (the last
line names it) or a check found a fault, 2 if the command was refused before anything was done, 130
or 143 if Ctrl-C or SIGTERM stopped it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes, Positional, arg

import robustpo
from robustpo.base.files import user_path
from robustpo.base.json_text import to_json
from robustpo.base.terminal import clean, clean_streams
from robustpo.cli.envs import Envs
from robustpo.cli.methods import Methods
from robustpo.cli.options import AgentOptions, RunOptions, ShapeOptions
from robustpo.cli.record import Record
from robustpo.cli.streams import (
    CUT_HINT,
    cut_line,
    end_children_at_exit,
    end_soon,
    know_interrupts,
    prints_on_stderr,
)
from robustpo.cli.study import StudyGroup
from robustpo.cli.theory import Theory
from robustpo.config.methods import METHODS
from robustpo.errors import ConfigError, RobustpoError, UnfinishedError

METHOD_HELP = (
    "See `robustpo methods`; options of its own may follow: rpo:noise=laplace,alpha=0.1. What a "
    "method is by definition cannot be changed: ppo has no alpha."
)


@dataclass(frozen=True)
class Train:
    """Train one method on a task, all seeds at once."""

    task: Annotated[str, tyro.conf.Positional, arg(metavar="TASK")]
    """Id of the task (`robustpo envs`), or module:callable."""
    method: Annotated[str, arg(help=f"{METHOD_HELP} One of {', '.join(METHODS)}.")] = "rpo"
    seeds: str = "0"
    """A seed (3), several (0,4,7) or a half-open range (0:10)."""
    run: OmitArgPrefixes[RunOptions] = field(default_factory=RunOptions)
    """Length, place and processes."""
    agent: OmitArgPrefixes[AgentOptions] = field(default_factory=AgentOptions)
    shape: OmitArgPrefixes[ShapeOptions] = field(default_factory=ShapeOptions)

    def __call__(self) -> int:
        """Train and name the directories of the runs that are done."""
        unfinished = None
        try:
            with prints_on_stderr():
                directories = robustpo.train(
                    self.task, method=self.method, seeds=self.seeds, **_keywords(self)
                )
        except UnfinishedError as error:
            unfinished, directories = error, error.directories
        for directory in directories:
            print(directory)
        if unfinished:
            raise unfinished
        return 0


@dataclass(frozen=True)
class Compare:
    """Train several methods on a task and say which is better, with what certainty."""

    task: Annotated[str, tyro.conf.Positional, arg(metavar="TASK")]
    """Id of the task (`robustpo envs`), or module:callable."""
    methods: Annotated[tuple[str, ...], arg(help=f"{METHOD_HELP} Any of {', '.join(METHODS)}.")] = (
        "ppo",
        "rpo",
    )
    seeds: str = "0:10"
    """A seed (3), several (0,4,7) or a half-open range (0:10); a verdict takes 5."""
    alphas: tuple[float, ...] = ()
    """Values of alpha to sweep, for the methods that perturb."""
    learning_rates: tuple[float, ...] = ()
    """Initial learning rates to sweep."""
    entropy_coefs: tuple[float, ...] = ()
    """Entropy coefficients to sweep."""
    run: OmitArgPrefixes[RunOptions] = field(default_factory=RunOptions)
    """Length, place and processes."""
    agent: OmitArgPrefixes[AgentOptions] = field(default_factory=AgentOptions)
    shape: OmitArgPrefixes[ShapeOptions] = field(default_factory=ShapeOptions)

    def __call__(self) -> int:
        """Train, then print the table, the verdict and the files."""
        from robustpo.base.console import make_console

        unfinished = None
        try:
            with prints_on_stderr():
                report = robustpo.compare(
                    self.task,
                    methods=self.methods,
                    seeds=self.seeds,
                    alphas=self.alphas,
                    learning_rates=self.learning_rates,
                    entropy_coefs=self.entropy_coefs,
                    **_keywords(self),
                )
        except UnfinishedError as error:
            if error.report is None:
                raise
            unfinished, report = error, error.report
        make_console().print(report.terminal)
        print("\nwritten:")
        for file in report.files:
            print(f"  {file}")
        print(f"policies: {report.files[0].parents[1]}/<variant>/seed-<k>/policy.safetensors")
        if unfinished:
            sys.stdout.flush()
            raise unfinished
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a trained policy: frozen statistics, fresh seeds."""

    run: Positional[Path]
    """Directory of a run, or a policy file."""
    episodes: int = 100
    """Whole episodes to run."""
    max_steps: Annotated[int | None, arg(metavar="INT", help_behavior_hint=CUT_HINT)] = None
    """Steps after which an episode is cut that goes on."""
    envs: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: up to 20)")] = None
    """Environments side by side; 1 for a simulator that exists once."""
    stochastic: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Samples instead of the deterministic mode."""
    best: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The best policy of the evaluations during training instead of the last."""
    seed: int = 0
    """Seed of simulators and samples; never a training run's."""
    task: str | None = None
    """Another task than the one it was trained on; module:callable has to be given again."""
    allow: tuple[str, ...] = ()
    """The policy's action distribution, module:name, if it is an extension."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object."""

    def __call__(self) -> int:
        """Evaluate and print."""
        with prints_on_stderr():
            result = robustpo.evaluate(
                self.run,
                episodes=self.episodes,
                max_steps=self.max_steps,
                envs=self.envs,
                stochastic=self.stochastic,
                best=self.best,
                seed=self.seed,
                task=self.task,
                allow=self.allow,
            ).as_dict()
        if self.json:
            print(to_json(result))
            return 0
        low, high = result["interval_low"], result["interval_high"]
        kind = "sampled" if self.stochastic else "deterministic"
        print(
            f"return {result['mean']:.2f} ± {result['std']:.2f} (mean ± standard deviation over "
            f"{result['episodes']} {kind} episodes)\n"
            f"95% interval of the mean {low:.2f} to {high:.2f}; "
            f"range {result['min']:.2f} to {result['max']:.2f}; "
            f"mean length {result['length_mean']:.0f}"
        )
        if result["cut"]:
            print(cut_line(result["cut"], result["episodes"]))
        return 0


@dataclass(frozen=True)
class Doctor:
    """Check what works on this machine and say what to do about what does not."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object."""

    def __call__(self) -> int:
        """Check and print; the exit code is 1 if anything fails."""
        from robustpo.doctor.doctor import diagnose

        return diagnose(as_json=self.json)


def _keywords(command: Train | Compare) -> dict[str, Any]:
    """Collect everything but what names the runs; unset options are left to the method."""
    values = dataclasses.asdict(command.run)
    for group in (command.agent, command.shape):
        for name, value in dataclasses.asdict(group).items():
            if value is not None:
                values[name] = value == "on" if value in ("on", "off") else value
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code, as the help of `robustpo` says.

    Args:
        arguments: what follows the command's name. None are those of this process, which then ends
            with the code that is returned, even if a simulator has left threads behind.
    """
    _write_what_the_terminal_can()
    if arguments is None:
        know_interrupts()
        end_children_at_exit()
        code = _run(sys.argv[1:])
        end_soon(code)
        return code
    return _run(list(arguments))


def _run(arguments: list[str]) -> int:
    try:
        if arguments in (["--version"], ["-V"]):
            print(f"robustpo {robustpo.__version__}")
            return 0
        command = _parse([_at_home(text) for text in arguments])
        with clean_streams():
            return command()
    except ConfigError as error:
        print(clean(f"robustpo: error: {error}"), file=sys.stderr)
        return 2
    except RobustpoError as error:
        print(clean(f"robustpo: failed: {error}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt as signalled:
        from robustpo.execution.interruption import Terminated

        print("robustpo: stopped; what was recorded is kept", file=sys.stderr)
        return 143 if isinstance(signalled, Terminated) else 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _write_what_the_terminal_can() -> None:
    """Let `?` stand for a sign that the encoding of standard output lacks, and never fail there."""
    for stream in (sys.stdout, sys.stderr):
        # Closed ones are None.
        if not isinstance(stream, io.TextIOWrapper):
            continue
        # What escapes the bytes of a path fails at letters, but where all letters can be written.
        escapes = stream.errors == "surrogateescape" and stream.encoding.lower() != "utf-8"
        if stream.errors == "strict" or escapes:
            stream.reconfigure(errors="replace")


def _at_home(argument: str) -> str:
    """Expand the `~` of a path that the shell has left as it is, as in `--out=~/runs`."""
    option, equals, path = argument.partition("=") if argument[:2] == "--" else ("", "", argument)
    return f"{option}{equals}{user_path(path)}" if path.startswith("~") else argument


def _parse(arguments: list[str]) -> Any:
    """Read the arguments; a mistake becomes one line instead of tyro's framed page.

    Raises:
        ConfigError: if the arguments are not valid.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.extras.subcommand_cli_from_dict(
                {
                    "train": Train,
                    "compare": Compare,
                    "evaluate": Evaluate,
                    "record": Record,
                    "study": StudyGroup,
                    "methods": Methods,
                    "envs": Envs,
                    "theory": Theory,
                    "doctor": Doctor,
                },
                prog="robustpo",
                description=__doc__,
                args=arguments,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ConfigError(_one_line(complaint.getvalue())) from None


def _one_line(framed: str) -> str:
    """Take the words out of a framed, wrapped message and leave out what repeats the help."""
    inside = [line.strip("│╭╰─╮╯ ") for line in framed.splitlines()]
    text = re.sub(r"\s+", " ", " ".join(line for line in inside if line))
    if unknown := re.search(r"Unrecognized options: (.*?)(?: Perhaps you meant: (\S+)|$)", text):
        near = f"; did you mean {unknown[2]}?" if unknown[2] else ""
        return f"unknown option or command {unknown[1]}{near}"
    if wrong := re.search(r"Error parsing (\S+): .*?(\[.*?\])", text):
        return f"{wrong[1]} does not take {wrong[2]}; see robustpo <command> --help"
    text = re.sub(r"^(Value error|Parsing error|Required options|Unrecognized options?) ", "", text)
    return (
        re.split(r" ?(Argument helptext|For full helptext|Perhaps you meant:$)", text)[0]
        .replace("─", "")
        .strip()
    )


if __name__ == "__main__":
    sys.exit(main())
