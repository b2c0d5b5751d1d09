"""The process behind `ProcessEnvironment`: builds its environments, then obeys until the pipe ends.

What environments print goes to standard error. It imports no JAX.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.pickling import register
from robustpo.errors import ConfigError, SimulatorError


def main() -> None:
    """Serve the pipe whose descriptor is the one argument."""
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    try:
        # What the task is made of may lie beside the program that was started, not here. The
        # working directory goes last, so that nothing in it stands in for a module.
        sys.path[:] = dict.fromkeys([*connection.recv(), *sys.path, os.getcwd()])
        task, seeds, name, registered = cloudpickle.loads(connection.recv_bytes())
        register(registered)
        try:
            environment = GymnasiumEnvironment(task, seeds, name=name)
        except ConfigError as error:
            connection.send(("config", str(error)))
            return
        connection.send(("done", environment.spec))
        while True:
            command, arguments = connection.recv()
            connection.send(_obey(environment, command, arguments))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _obey(environment: GymnasiumEnvironment, command: str, arguments: tuple) -> tuple[str, Any]:
    try:
        return "done", getattr(environment, command)(*arguments)
    except SimulatorError as error:
        return "simulator", (str(error), error.index)


if __name__ == "__main__":
    main()
