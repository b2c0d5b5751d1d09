"""Train, compare and hand over policies for continuous control; the words are the Python API's.

Exit codes: 0 if all that was asked for is finished, 1 if something failed or is missing (the last
line names it) or a check found a fault, 2 if the command was refused before anything was done, 130
or 143 if Ctrl-C or SIGTERM stopped it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from robustpo.base.terminal import clean, clean_streams
from robustpo.cli.streams import end_children_at_exit, end_soon, know_interrupts
from robustpo.errors import ConfigError, RobustpoError

FIRST_STEPS = """\
Trains RPO and PPO on continuous control and says which is better on your task.

  robustpo doctor                        what works on this machine
  robustpo envs                          what can be trained here
  robustpo envs my_module:make --check   is my own environment sound?
  robustpo compare Pendulum-v1 --seeds 0:5 --steps 800k
                                         PPO against RPO, with a page
  robustpo train Pendulum-v1 --steps 1M  one policy, in runs/
  robustpo evaluate runs/Pendulum-v1/rpo_steps-1m/seed-0
                                         what it returns in fresh episodes

All commands: robustpo --help; the options of one: robustpo train --help"""


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
            from robustpo import __version__

            print(f"robustpo {__version__}")
            return 0
        if not arguments:
            print(FIRST_STEPS)
            return 0
        from robustpo.cli.parsing import parse

        command = parse([_at_home(text) for text in arguments], __doc__)
        with clean_streams():
            return command()
    except ConfigError as error:
        print(clean(f"robustpo: error: {_located(error, arguments)}"), file=sys.stderr)
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


def _located(error: ConfigError, arguments: list[str]) -> ConfigError:
    """Name the line of a configuration file, if what is wrong stands there."""
    if not any(word.partition("=")[0] == "--config" for word in arguments):
        return error
    from robustpo.cli.config_file import located

    return located(error, arguments)


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
    if not path.startswith("~"):
        return argument
    from robustpo.base.files import user_path

    return f"{option}{equals}{user_path(path)}"
