"""The process behind `ProcessEnvironment`: builds its environments, then obeys until the pipe ends.

What environments print goes to standard error. It imports no JAX.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

from robustpo.base.descriptors import keep_from_children
from robustpo.environments.fence import describe, importing
from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.pickling import register
from robustpo.errors import ConfigError, SimulatorError

PARENT = os.getppid()


def main() -> None:
    """Serve the pipe whose descriptor is the one argument."""
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    # Else the parent would wait for what an environment has left running, not for this process.
    keep_from_children([connection.fileno()])
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        # What the task is made of may lie beside the program that was started, not here. The
        # working directory goes last, so that nothing in it stands in for a module.
        sys.path[:] = dict.fromkeys([*connection.recv(), *sys.path, os.getcwd()])
        try:
            environment = _make(connection.recv_bytes())
        except ConfigError as error:
            connection.send(("config", str(error)))
            return
        try:
            connection.send(("done", environment.spec))
            while True:
                command, arguments = connection.recv()
                connection.send(_obey(environment, command, arguments))
        finally:
            environment.close()


def _make(pickled: bytes) -> GymnasiumEnvironment:
    try:
        with importing():
            task, seeds, name, registered = cloudpickle.loads(pickled)
            register(registered)
    except BaseException as error:
        raise ConfigError(
            f"the task could not be handed to the process that steps it ({describe(error)})"
        ) from error
    return GymnasiumEnvironment(task, seeds, name=name)


def _obey(environment: GymnasiumEnvironment, command: str, arguments: tuple) -> tuple[str, Any]:
    try:
        return "done", getattr(environment, command)(*arguments)
    except SimulatorError as error:
        return "simulator", (str(error), error.index)


if __name__ == "__main__":
    # Threads of simulators may live on.
    main()
    sys.stderr.flush()
    # The parent kills what an environment has left running; if it has died, nobody else does.
    if os.getppid() != PARENT:
        os.killpg(0, signal.SIGKILL)
    os._exit(0)
