"""`robustpo robustness`: what policies are worth where something differs from training."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

import robustpo
from robustpo.base.amounts import format_duration
from robustpo.cli.options import EnvKwargs
from robustpo.cli.streams import CUT_HINT, name_page, prints_on_stderr
from robustpo.environments.task_arguments import parse_arguments

SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Robustness:
    """Measure policies where something differs from training, and say which method keeps more."""

    target: Annotated[str, Positional, arg(metavar="RUN_OR_STUDY")]
    """A run, a directory of runs, a policy file, or the name of a study (or its .toml file)."""
    shifts: Annotated[
        tuple[str, ...],
        arg(
            metavar="SHIFT[=LEVEL,…] [SHIFT …]",
            help="What differs, with levels of your own if wanted: observation-noise, "
            "mass=0.5,1,2, and env.length=1,2,3 for an argument of your own environment.",
            help_behavior_hint="(default: all that the task has)",
        ),
    ] = ()
    episodes: int = 10
    """Whole episodes of each policy at each level."""
    out: Path = Path("runs")
    """Directory that holds the runs of a study."""
    workers: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: all)")] = None
    """Processes; by default one per core, as far as memory goes."""
    max_steps: Annotated[int | None, arg(metavar="INT", help_behavior_hint=CUT_HINT)] = None
    """Steps after which an episode is cut that goes on."""
    stochastic: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Samples instead of the deterministic mode."""
    seed: int = 0
    """Seed of simulators and of what is random in a shift; never a training run's."""
    task: str | None = None
    """Another task than the policies' own; module:callable has to be given again."""
    env_kwargs: EnvKwargs = ()
    step_timeout: float = 60.0
    """Seconds that a step of a simulator may take; 0 for no limit."""
    allow: tuple[str, ...] = ()
    """Action distributions of the policies, module:name, that are extensions."""

    def __call__(self) -> int:
        """Measure, then print tables, sentences and files."""
        from robustpo.base.console import make_console
        from robustpo.execution.interruption import interruptible

        with interruptible(), prints_on_stderr():
            report = robustpo.robustness(
                self.target,
                shifts=self.shifts,
                episodes=self.episodes,
                out=self.out,
                workers=self.workers,
                max_steps=self.max_steps,
                stochastic=self.stochastic,
                seed=self.seed,
                task=self.task,
                env_kwargs=parse_arguments(self.env_kwargs),
                step_timeout=self.step_timeout,
                allow=self.allow,
                progress=_Progress(),
            )
        console = make_console()
        for table in report.terminal:
            console.print(table)
        for text in report.sentences:
            print(text)
        name_page(report.files)
        return 0


class _Progress:
    """A line now and then of how far the measurements are."""

    def __init__(self) -> None:
        self._start = self._said = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        now = time.monotonic()
        if of and (done in (0, of) or now - self._said >= SECONDS_BETWEEN_LINES):
            self._said = now
            gone = now - self._start
            left = f" | about {format_duration(gone / done * (of - done))} left" if done else ""
            text = (
                f"{done / of:.0%} | {done} of {of} measurements | elapsed {format_duration(gone)}"
            )
            print(text + left, file=sys.stderr, flush=True)
