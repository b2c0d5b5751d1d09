"""`robustpo tune`: find alpha, and what goes with it, for a task."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, arg

import robustpo
from robustpo.cli.options import METHOD_HELP, AgentOptions, EnvKwargs, ShapeOptions
from robustpo.cli.streams import name_page, prints_on_stderr
from robustpo.environments.task_arguments import parse_arguments


@dataclass(frozen=True)
class Tune:
    """Find alpha, and what goes with it, for a task; confirm it on fresh seeds."""

    task: Annotated[str, tyro.conf.Positional, arg(metavar="TASK")]
    """Id of the task (`robustpo envs`), or module:callable."""
    env_kwargs: EnvKwargs = ()
    budget: str = "30m"
    """Time for all of it: 90s, 30m, 2h."""
    over: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME[=LOW:HIGH] [NAME …]",
            help="Settings that are searched: alpha, learning_rate, entropy_coef, …, with ends of "
            "your own as in alpha=0.01:1.",
        ),
    ] = ("alpha",)
    method: Annotated[str, arg(metavar="METHOD", help=METHOD_HELP)] = "rpo"
    sampler: Literal["halving", "optuna", "random", "grid"] = "halving"
    """Random draws of which the worse half ends early, Optuna's model (extra `tune`), random draws
    trained to the end, or a grid."""
    seeds: Annotated[str, arg(metavar="SEEDS")] = "0:2"
    """Selection seeds, of every setting."""
    confirmation_seeds: str = "1000:1005"
    """Fresh seeds that confirm the best; at least 5 for a verdict."""
    steps: Annotated[
        int | None, arg(metavar="INT", help_behavior_hint="(default: what the budget allows)")
    ] = None
    """Simulator steps of a whole run."""
    points: int = 5
    """Values of each setting on a grid."""
    seed: int = 0
    """Seed of the draws."""
    preset: Annotated[
        Literal["paper", "own", "isaac"] | None,
        arg(metavar="{paper,own,isaac}", help_behavior_hint="(default: as there)"),
    ] = None
    """Defaults that the method is laid over, as in `train`."""
    out: Path = Path("runs")
    """Directory that holds it."""
    workers: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: all)")] = None
    """Processes; by default one per core, as far as memory goes."""
    step_timeout: float = 60.0
    """Seconds that a worker waits for a simulator outside the compiled program; 0 for no limit."""
    agent: OmitArgPrefixes[AgentOptions] = field(default_factory=AgentOptions)
    shape: OmitArgPrefixes[ShapeOptions] = field(default_factory=ShapeOptions)

    def __call__(self) -> int:
        """Search, then print the table, what it says, the command and the files."""
        from rich import box
        from rich.table import Table

        from robustpo.base.console import make_console

        own = {**asdict(self.agent), **asdict(self.shape), "preset": self.preset}
        chosen: dict[str, Any] = {
            name: value == "on" if value in ("on", "off") else value
            for name, value in own.items()
            if value is not None
        }
        with prints_on_stderr():
            report = robustpo.tune(
                self.task,
                env_kwargs=parse_arguments(self.env_kwargs),
                budget=self.budget,
                over=self.over,
                method=self.method,
                sampler=self.sampler,
                seeds=self.seeds,
                confirmation_seeds=self.confirmation_seeds,
                steps=self.steps,
                points=self.points,
                seed=self.seed,
                out=self.out,
                workers=self.workers,
                step_timeout=self.step_timeout,
                **chosen,
            )
        head, *body = report.table
        drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in head:
            drawn.add_column(title)
        for line in body:
            drawn.add_row(*line)
        console = make_console()
        console.print(drawn)
        if report.found.confirmation is not None:
            seeds = ", ".join(map(str, report.found.confirmed))
            print(f"Confirmed on fresh seeds ({seeds}):\n")
            console.print(report.found.confirmation.terminal)
        # The verdict stands under the table of the comparison.
        for text in dict.fromkeys([report.sentences[0], report.sentences[-1]]):
            print(text)
        print(f"\n{report.found.command}")
        name_page(report.files)
        return 0
