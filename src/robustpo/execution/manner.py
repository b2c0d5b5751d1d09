"""How runs are carried out: what a person chooses that changes no result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from robustpo.base.files import user_path
from robustpo.base.registry import allow, allowed
from robustpo.base.validation import make_plain, require, require_count
from robustpo.config.options import option

MAX_ENV_PROCESSES = 1024


@dataclass(frozen=True)
class WorkerOptions:
    """What of it a worker process is told, by these names.

    Attributes:
        pin: whether it claims a core.
        checkpoint_every: steps between checkpoints; 0 for one every two minutes.
        step_timeout: seconds after which a host simulator that does not return ends the process;
            0 waits for ever.
        env_processes: processes that step host simulators; 0 steps them in the worker.
        leashed: whether it ends at once with its parent.
        allow: extensions that it may import.
    """

    pin: bool = False
    checkpoint_every: int = 0
    step_timeout: float = 0.0
    env_processes: int = 0
    leashed: bool = False
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Execution:
    """Place and processes; none of it changes a result.

    This is the one declaration of these options: `robustpo.train`, `robustpo.compare` and the
    command line take them by the same names, with the same defaults.

    Raises:
        ConfigError: if a value is out of range.
    """

    out: Path = option(Path("runs"), "Directory that holds all runs.")
    workers: int | None = option(
        None, "Processes; by default one per core, as far as memory goes.", shown="all"
    )
    pin: bool = option(
        True, "Let each process claim a core for itself, as long as others leave it alone."
    )
    fresh: bool = option(
        False, "Train again what is recorded, however far it is; the old record is moved aside."
    )
    checkpoint_every: int = option(
        0,
        "Steps between checkpoints, from which a stopped run goes on; 0 for one every two minutes.",
    )
    step_timeout: float = option(
        60.0,
        "Seconds that a worker waits for a simulator outside the compiled program; 0 for no limit.",
    )
    env_processes: int = option(
        0,
        "Processes of each worker that step simulators outside the compiled program; 0 for none.",
    )
    # `workers` then only says into how many shards the runs are packed.
    ray: str | None = option(
        None,
        "Train on the Ray cluster at HOST:PORT; `auto` takes a running one, or starts one here.",
        shown="this machine alone",
        metavar="ADDRESS",
    )
    gpus: float = option(0.0, "GPUs, or the fraction of one, that each worker asks Ray for.")
    track: Literal["tensorboard"] | None = option(
        None, "Write scalars beside each run (extra `tensorboard`).", shown="nothing"
    )
    progress: bool = option(True, "Show progress on standard error.")
    allow: tuple[str, ...] = option(
        (),
        "Extensions that a file names, module:name: only what is named here or by an option, or is "
        "installed, is imported.",
    )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Execution:
        """Take what is asked for, by name, from among other things."""
        return cls(**{f.name: given[f.name] for f in fields(cls)})

    def __post_init__(self) -> None:
        make_plain(self)
        object.__setattr__(self, "out", user_path(self.out))
        require(isinstance(self.allow, tuple), "allow", self.allow, "names such as module:name")
        allow(self.allow)
        workers, every = self.workers, self.checkpoint_every
        whole = workers is None or (isinstance(workers, int) and workers >= 1)
        require(whole, "workers", workers, "a whole number of at least 1")
        require(
            isinstance(every, int) and every >= 0,
            "checkpoint_every",
            every,
            "a number of steps, or 0 for a checkpoint every two minutes",
        )
        require_count("env_processes", self.env_processes, 0, high=MAX_ENV_PROCESSES)
        require(
            0 <= self.step_timeout < 1e9,
            "step_timeout",
            self.step_timeout,
            "seconds, or 0 for none",
        )
        possible = 0 <= self.gpus < 1e3 and (not self.gpus or self.ray is not None)
        expected = "a number of GPUs, or a fraction of one, with --ray; 0 for none"
        require(possible, "gpus", self.gpus, expected)

    @property
    def cores(self) -> float:
        """Cores that each worker asks Ray for."""
        return 1.0 + self.env_processes

    @property
    def worker(self) -> WorkerOptions:
        """What a worker process is told."""
        return WorkerOptions(
            # The processes of a pinned worker would all run on its core.
            pin=self.pin and not self.env_processes,
            checkpoint_every=self.checkpoint_every,
            step_timeout=self.step_timeout,
            env_processes=self.env_processes,
            allow=tuple(allowed()),
        )
