"""How runs are carried out: what a person chooses that changes no result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robustpo.errors import ConfigError
from robustpo.validation import require_count

MAX_ENV_PROCESSES = 1024


@dataclass(frozen=True)
class Execution:
    """How runs are carried out; none of it changes a result.

    Attributes:
        out: directory that holds all runs.
        workers: processes; None is one per core.
        pin: whether each process claims a core.
        fresh: whether recorded runs are moved aside and trained again.
        track: name of a tracker, or None.
        progress: whether progress is shown.
        checkpoint_every: steps between checkpoints; 0 for one every two minutes.
        step_timeout: seconds a host simulator may take for a step in a worker; 0 is no limit.
        env_processes: processes of each worker that step host simulators; 0 steps them in it.
        ray: address of the Ray cluster that trains, `auto`, or None for this machine alone.
            `workers` then only says into how many shards the runs are packed.
        gpus: GPUs, or the fraction of one, that each worker asks Ray for.
    """

    out: Path
    workers: int | None = None
    pin: bool = True
    fresh: bool = False
    track: str | None = None
    progress: bool = True
    checkpoint_every: int = 0
    step_timeout: float = 60.0
    env_processes: int = 0
    ray: str | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.workers is not None and (not isinstance(self.workers, int) or self.workers < 1):
            raise ConfigError(
                f"workers={self.workers!r} is not valid; expected a whole number of at least 1"
            )
        if not isinstance(self.checkpoint_every, int) or self.checkpoint_every < 0:
            raise ConfigError(
                f"checkpoint_every={self.checkpoint_every!r} is not valid; expected a number of "
                "steps, or 0 for a checkpoint every two minutes"
            )
        require_count("env_processes", self.env_processes, 0, high=MAX_ENV_PROCESSES)
        if not 0 <= self.step_timeout < 1e9:
            raise ConfigError(
                f"step_timeout={self.step_timeout!r} is not valid; expected seconds, or 0 for none"
            )
        if not 0 <= self.gpus < 1e3 or (self.gpus and self.ray is None):
            raise ConfigError(
                f"gpus={self.gpus!r} is not valid; expected a number of GPUs, or a fraction of "
                "one, with --ray; 0 for none"
            )
