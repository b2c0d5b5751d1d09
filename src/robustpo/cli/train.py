"""`robustpo train`: one method on a task."""

from __future__ import annotations

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
from robustpo.cli.streams import prints_on_stderr
from robustpo.config.methods import METHODS
from robustpo.environments.task_arguments import parse_arguments
from robustpo.errors import UnfinishedError


@dataclass(frozen=True)
class Train:
    """Train one method on a task, all seeds at once."""

    often: ClassVar = OFTEN

    task: Annotated[str, tyro.conf.Positional, arg(metavar="TASK")]
    """Id of the task (`robustpo envs`), or module:callable."""
    env_kwargs: EnvKwargs = ()
    vectorized: Vectorized = False
    method: Annotated[
        str | None,
        arg(
            metavar="METHOD",
            help=f"{METHOD_HELP} One of {', '.join(METHODS)}.",
            help_behavior_hint="(default: rpo)",
        ),
    ] = None
    seeds: Annotated[str | None, arg(metavar="SEEDS", help_behavior_hint="(default: 0)")] = None
    """A seed (3), several (0,4,7) or a half-open range (0:10)."""
    config: ConfigFile = None
    extend: Annotated[str | None, arg(metavar="RUN", help_behavior_hint="(default: none)")] = None
    """Finished run, or variant with all its seeds, that a new run goes on with, up to --steps."""
    run: OmitArgPrefixes[RunOptions] = field(default_factory=RunOptions)
    """Length, place and processes."""
    agent: OmitArgPrefixes[AgentOptions] = field(default_factory=AgentOptions)
    shape: OmitArgPrefixes[ShapeOptions] = field(default_factory=ShapeOptions)

    def __call__(self) -> int:
        """Train and name the directories of the runs that are done."""
        unfinished = None
        try:
            with prints_on_stderr():
                directories = robustpo.train(
                    task_of(self),
                    env_kwargs=parse_arguments(self.env_kwargs),
                    method=self.method,
                    seeds=self.seeds,
                    extend=self.extend,
                    **keywords(self),
                )
        except UnfinishedError as error:
            unfinished, directories = error, error.directories
        for directory in directories:
            print(directory)
        if unfinished:
            raise unfinished
        return 0
