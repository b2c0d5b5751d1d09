"""The command line starts without what only some commands need."""

import json
import subprocess
import sys

import pytest

from robustpo.base.registry import load_attribute
from robustpo.cli import main
from robustpo.cli.parsing import COMMANDS

HEAVY = {"envpool", "gymnasium", "jax", "matplotlib", "numpy", "polars", "ray", "scipy"}
CODE = """
import json, sys
from robustpo.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def _imported(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=True
    )
    *said, modules = done.stdout.splitlines()
    return said, set(json.loads(modules))


@pytest.mark.parametrize("argument", ["--help", "--version", "-V"])
def test_asking_what_there_is_imports_nothing_heavy(argument):
    said, modules = _imported(argument)
    assert "robustpo" in said[0]
    assert not HEAVY & modules


def test_asking_how_to_train_imports_no_simulator_and_no_jax():
    _, modules = _imported("train", "--help")
    assert not {"envpool", "jax", "matplotlib", "polars"} & modules


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_the_options_of_every_command(shell, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--tyro-print-completion", shell])
    assert not ended.value.code
    script = capsys.readouterr().out
    # Of train and compare, compare alone, evaluate, and a command within a command.
    for option in ("--num-minibatches", "--alphas", "--episodes", "--workers"):
        assert option in script


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_of_each_command_what_it_says_itself(name):
    place, line = COMMANDS[name]
    command = load_attribute(f"robustpo.cli.{place}")
    assert command.__doc__.splitlines()[0] == line
