"""Host environments stepped in processes of their own, side by side, for slow simulators.

Each process holds a `GymnasiumEnvironment` with its share of the seeds and answers one command
after the other. What comes back is, bit for bit, what one process would have returned.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import Pipe
from typing import Any

import numpy as np

from robustpo.environments.base import ExactEnvironment, Replayed, Step
from robustpo.environments.constructors import task_name
from robustpo.environments.information import Information
from robustpo.environments.inspection import Task
from robustpo.environments.pickling import pickled, registration
from robustpo.environments.probe import Probed
from robustpo.environments.watchdog import about_to_call
from robustpo.errors import ConfigError, SimulatorError

SECONDS_TO_END = 5.0
# Each process is one of many: threads of linear algebra would only be in each other's way.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class ProcessEnvironment(ExactEnvironment, Replayed, Probed):
    """`N` copies of a Gymnasium environment, shared out among processes that step at one time.

    Args:
        task: id, `module:callable` or constructor.
        env_seeds: one seed per environment.
        processes: processes; no more than environments are started.

    Raises:
        ConfigError: as `GymnasiumEnvironment` does.
    """

    def __init__(self, task: Task, env_seeds: Sequence[int], processes: int) -> None:
        if processes < 1:
            raise ConfigError(f"processes={processes} is not valid; expected at least 1")
        self.num_envs = len(env_seeds)
        count = max(1, min(processes, self.num_envs))
        self._shares = np.array_split(np.arange(self.num_envs), count)
        self._workers: list[_Worker] = []
        self._finalizer = weakref.finalize(self, _end, self._workers)
        try:
            for share in self._shares:
                self._workers.append(_Worker(task, [int(env_seeds[i]) for i in share]))
            # All of them build at one time.
            specs = [self._answer(i) for i in range(count)]
            self.spec = specs[0]
        except BaseException:
            self.close()
            raise

    def reset(self) -> np.ndarray:
        """Reset all environments; return observations `[N, O]` float32.

        Raises:
            SimulatorError: if an environment raises, or the process that steps it has died.
        """
        return np.concatenate(self._ask("reset", [() for _ in self._shares]))

    def reset_exact(self) -> np.ndarray:
        """Reset all environments; return observations `[N, O]` float64, no origin subtracted.

        Raises:
            SimulatorError: as `reset`.
        """
        return np.concatenate(self._ask("reset_exact", [() for _ in self._shares]))

    def set_origin(self, origin: np.ndarray) -> None:
        """Subtract `[N, O]` from all observations that follow, in float64."""
        self._ask("set_origin", [(origin[share],) for share in self._shares])

    def step(self, action: np.ndarray) -> Step:
        """Step all environments with actions `[N, A]` float32 inside the bounds.

        Raises:
            SimulatorError: as `reset`.
        """
        steps = self._ask("step", [(action[share],) for share in self._shares])
        return Step(*(np.concatenate(field) for field in zip(*steps, strict=True)))

    def take_information(self) -> list[Information]:
        """Return, once, what was said of episodes that have ended since."""
        found = self._ask("take_information", [() for _ in self._shares])
        return [
            replace(said, index=share[said.index])
            for share, own in zip(self._shares, found, strict=True)
            for said in own
        ]

    def describe(self) -> dict[str, Any]:
        """Return what the first environment is, but for its behaviour."""
        self._tell(0, "describe", ())
        return self._answer(0)

    def probe_reset(self, index: int, seed: int) -> np.ndarray:
        """Reset one environment with a seed, as `GymnasiumEnvironment` does."""
        return self._probe("probe_reset", index, seed)

    def probe_step(self, index: int, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Step one environment that `probe_reset` has reset, with an action `[A]`."""
        return self._probe("probe_step", index, action)

    def _probe(self, command: str, index: int, argument: Any) -> Any:
        worker = next(i for i, share in enumerate(self._shares) if index in share)
        self._tell(worker, command, (index - int(self._shares[worker][0]), argument))
        return self._answer(worker)

    def close(self) -> None:
        """End the processes; what does not end by itself is killed."""
        self._finalizer()

    def _reset_some(self, which: np.ndarray) -> np.ndarray:
        return self._ask_some("_reset_some", which, None)

    def _step_some(self, which: np.ndarray, action: np.ndarray) -> np.ndarray:
        return self._ask_some("_step_some", which, action)

    def _ask_some(self, command: str, which: np.ndarray, action: np.ndarray | None) -> np.ndarray:
        """Give a command for the environments named, to the processes that hold them."""
        obs = np.empty((len(which), self.spec.observation_size), np.float32)
        asked = []
        for index, share in enumerate(self._shares):
            mine = np.flatnonzero(np.isin(which, share))
            if len(mine):
                arguments = (which[mine] - share[0],)
                self._tell(
                    index, command, arguments if action is None else (*arguments, action[mine])
                )
                asked.append((index, mine))
        for index, mine in asked:
            obs[mine] = self._answer(index)
        return obs

    def _ask(self, command: str, arguments: Sequence[tuple]) -> list[Any]:
        """Give all processes a command, then take their answers."""
        for index, own in enumerate(arguments):
            self._tell(index, command, own)
        return [self._answer(index) for index in range(len(self._workers))]

    def _tell(self, index: int, command: str, arguments: tuple) -> None:
        try:
            self._workers[index].connection.send((command, arguments))
        except OSError as error:
            raise self._lost(index) from error

    def _answer(self, index: int) -> Any:
        about_to_call()
        try:
            kind, content = self._workers[index].connection.recv()
        except (EOFError, OSError) as error:
            raise self._lost(index) from error
        if kind == "config":
            raise ConfigError(content)
        if kind == "simulator":
            text, own = content
            raise SimulatorError(text, None if own is None else int(self._shares[index][own]))
        return content

    def _lost(self, index: int) -> SimulatorError:
        """Say how a process ended that does not answer."""
        worker = self._workers[index]
        try:
            code = worker.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            how = "does not answer"
        else:
            how = f"ended with exit code {code}" if code >= 0 else f"was ended by {_signal(-code)}"
        return SimulatorError(
            f"task {worker.name!r}: the process that steps simulator seeds "
            f"{', '.join(map(str, worker.seeds))} {how}",
            int(self._shares[index][0]),
        )


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, task: Task, seeds: list[int]) -> None:
        self.name, self.seeds = task_name(task), seeds
        known = registration(task) if isinstance(task, str) else None
        # The name of a script's function is another one where that script is not the main module.
        content = pickled((task, seeds, self.name, known), self.name)
        self.connection, theirs = Pipe()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "robustpo.environments.process_worker",
                str(theirs.fileno()),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env=os.environ | ONE_THREAD,
            # Ctrl-C in the terminal is for the parent, which then ends this process.
            start_new_session=True,
        )
        theirs.close()
        self.connection.send(sys.path)
        self.connection.send_bytes(content)


def _end(workers: list[_Worker]) -> None:
    """Close the pipes, by which the processes end, and wait for them."""
    for worker in workers:
        worker.connection.close()
    for worker in workers:
        try:
            worker.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        # What an environment has left running there.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.process.pid, signal.SIGKILL)


def _signal(number: int) -> str:
    return f"signal {number} ({signal.Signals(number).name})"
