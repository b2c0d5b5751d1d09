"""`robustpo compare`: several methods on a task, and which is better."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import tyro
from tyro.conf import OmitArgPrefixes, arg

import robustpo
from robustpo.cli.options import (
    METHOD_HELP,
    OFTEN,
    AgentOptions,
    ConfigFile,
    EnvKwargs,
    RunOptions,
    ShapeOptions,
    Vectorized,
    keywords,
    task_of,
)
from robustpo.cli.streams import name_page, prints_on_stderr
from robustpo.config.methods import METHODS
from robustpo.environments.task_arguments import parse_arguments
from robustpo.errors import UnfinishedError


@dataclass(frozen=True)
class Compare:
    """Train several methods on a task and say which is better, with what certainty."""

    often: ClassVar = OFTEN

    task: Annotated[str, tyro.conf.Positional, arg(metavar="TASK")]
    """Id of the task (`robustpo envs`), or module:callable."""
    env_kwargs: EnvKwargs = ()
    vectorized: Vectorized = False
    methods: Annotated[
        tuple[str, ...],
        arg(metavar="METHOD [METHOD ...]", help=f"{METHOD_HELP} Any of {', '.join(METHODS)}."),
    ] = (
        "ppo",
        "rpo",
    )
    seeds: Annotated[str, arg(metavar="SEEDS")] = "0:10"
    """A seed (3), several (0,4,7) or a half-open range (0:10); a verdict takes 5."""
    alphas: tuple[float, ...] = ()
    """Values of alpha to sweep, for the methods that perturb."""
    learning_rates: tuple[float, ...] = ()
    """Initial learning rates to sweep."""
    entropy_coefs: tuple[float, ...] = ()
    """Entropy coefficients to sweep."""
    judge_by: Annotated[str, arg(metavar="NAME", help_behavior_hint="(default: the return)")] = ""
    """A number in the environment's `info` at an episode's end, such as is_success, or
    distance:min where less is better."""
    config: ConfigFile = None
    run: OmitArgPrefixes[RunOptions] = field(default_factory=RunOptions)
    """Length, place and processes."""
    agent: OmitArgPrefixes[AgentOptions] = field(default_factory=AgentOptions)
    shape: OmitArgPrefixes[ShapeOptions] = field(default_factory=ShapeOptions)

    def __call__(self) -> int:
        """Train, then print the table, the verdict and the files."""
        from robustpo.base.console import make_console

        unfinished = None
        try:
            with prints_on_stderr():
                report = robustpo.compare(
                    task_of(self),
                    env_kwargs=parse_arguments(self.env_kwargs),
                    methods=self.methods,
                    seeds=self.seeds,
                    alphas=self.alphas,
                    learning_rates=self.learning_rates,
                    entropy_coefs=self.entropy_coefs,
                    judge_by=self.judge_by,
                    **keywords(self),
                )
        except UnfinishedError as error:
            if error.report is None:
                raise
            unfinished, report = error, error.report
        make_console().print(report.terminal)
        name_page(report.files)
        if unfinished:
            sys.stdout.flush()
            raise unfinished
        return 0
