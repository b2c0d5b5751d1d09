"""`robustpo theory`: the paper's equations, checked with numbers on policies trained here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from robustpo.cli.options import EnvKwargs
from robustpo.cli.streams import name_page, prints_on_stderr
from robustpo.environments.task_arguments import parse_arguments, with_arguments


@dataclass(frozen=True)
class Theory:
    """Check the paper's theory with numbers, on fresh and on trained policies."""

    task: Annotated[str, Positional, arg(metavar="TASK")] = "dm_control/pendulum-swingup-v0"
    """Id of the task (`robustpo envs`), or module:callable."""
    env_kwargs: EnvKwargs = ()
    seeds: str = "0:5"
    """A seed (3), several (0,4,7) or a half-open range (0:5); a verdict on flatness takes 5."""
    steps: int = 500_000
    """Simulator steps of each agent."""
    alpha: float = 0.5
    """Magnitude of the noise, in the policy's units of action."""
    init_policy: Annotated[
        str | None, arg(metavar="PATH", help_behavior_hint="(default: none)")
    ] = None
    """Policy file or run directory that all agents start from."""
    out: Path = Path("runs/theory")
    """Directory to write to."""

    def __call__(self) -> int:
        """Train, check, and print what was found and the files."""
        from robustpo.base.console import make_console
        from robustpo.theory.theory import check_theory

        with prints_on_stderr():
            report = check_theory(
                with_arguments(self.task, parse_arguments(self.env_kwargs)),
                seeds=self.seeds,
                steps=self.steps,
                alpha=self.alpha,
                init_policy=self.init_policy,
                out=self.out,
            )
        make_console().print(report.terminal)
        name_page(report.files)
        return 0
