"""Finding the settings of a method for a task, from Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex

from robustpo.api.training import Seeds, compare
from robustpo.api.values import NO_ARGUMENTS, count_of, with_env_kwargs
from robustpo.base.files import user_path
from robustpo.base.validation import plain, require, require_choice
from robustpo.config.published import default_preset
from robustpo.execution.limits import default_workers
from robustpo.execution.manner import Execution
from robustpo.studies.grid import make_grid, parse_seeds
from robustpo.studies.study import Part, Study, name_methods
from robustpo.studies.vector_choice import settle_vectors
from robustpo.tuning.plan import parse_budget
from robustpo.tuning.report import Found, rows, write
from robustpo.tuning.request import Request
from robustpo.tuning.samplers import SAMPLERS, make_sampler
from robustpo.tuning.search import Search, best_of, run_search
from robustpo.tuning.space import parse_dimension
from robustpo.tuning.trials import Journal

# Far from those that anybody trains with.
CONFIRMATION = tuple(range(1000, 1005))


@dataclass(frozen=True)
class TuningReport:
    """What a search has come to, and where it was written.

    Attributes:
        found: all of it.
        files: paths of what was written, the page first.
    """

    found: Found
    files: tuple[Path, ...]

    @property
    def setting(self) -> dict[str, float]:
        """The recommended numbers."""
        return self.found.best.setting

    @cached_property
    def sentences(self) -> list[str]:
        """What it says, a sentence each."""
        return self.found.sentences

    @property
    def table(self) -> list[tuple[str, ...]]:
        """The trials as texts, headings first."""
        return rows(self.found)


def tune(
    task: str,
    *,
    env_kwargs: Mapping[str, Any] = NO_ARGUMENTS,
    budget: str = "30m",
    over: str | Iterable[str] = ("alpha",),
    method: str = "rpo",
    sampler: str = "halving",
    seeds: Seeds = "0:2",
    confirmation_seeds: Seeds = CONFIRMATION,
    steps: SupportsIndex | None = None,
    points: SupportsIndex = 5,
    seed: SupportsIndex = 0,
    out: str | os.PathLike[str] = "runs",
    workers: SupportsIndex | None = None,
    step_timeout: SupportsFloat = 60.0,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
    **options: Any,
) -> TuningReport:
    """Find the numbers of a method for a task, and confirm them on fresh seeds.

    Settings are trained side by side and compared at a quarter, at a half and at the whole of the
    steps; with `halving` and `optuna` the worse half ends there, and others take its places. The
    best, the method's own default and PPO are then trained with seeds that had no part in it. The
    same call goes on where it was stopped.

    Args:
        task: id of the task, or `module:callable`.
        env_kwargs: as in `train`.
        budget: time for all of it: `90s`, `30m`, `2h`.
        over: what is searched: names of settings, with ends of your own as in `alpha=0.01:1`.
        method: name of the method, with options of its own if wanted.
        sampler: `halving` (random draws, the worse half ended early), `optuna` (extra `tune`),
            `random`, or `grid`.
        seeds: selection seeds, of every setting.
        confirmation_seeds: none of these; at least 5 for a verdict.
        steps: of a whole run; by default as many as let about eight whole settings be tried.
        points: values of each setting on a grid.
        seed: of the draws.
        out: directory that holds it.
        workers: processes; by default one per core.
        step_timeout: as in `train`.
        progress: whether the confirmation shows its progress.
        say: takes a line on how far the search is.
        **options: as in `train`, shared by all settings.

    Raises:
        ConfigError: if it cannot be carried out as asked, or the budget is too small.
        UnfinishedError: if runs could not be trained.
    """
    named = str(with_env_kwargs(task, env_kwargs))
    dimensions = tuple(map(parse_dimension, (over,) if isinstance(over, str) else tuple(over)))
    require(bool(dimensions), "over", over, "at least one setting")
    name_methods([method])
    shared = {name: plain(value) for name, value in options.items() if value is not None}
    shared.setdefault("preset", default_preset(named))
    study = settle_vectors(Study("tuning", method, (Part((named,), (method,), (0,), 1, shared),)))
    shared = study.parts[0].options
    request = Request(
        task=named,
        method=method,
        dimensions=dimensions,
        sampler=sampler,
        seeds=parse_seeds(seeds),
        confirmation_seeds=parse_seeds(confirmation_seeds),
        points=count_of("points", points),
        seed=count_of("seed", seed),
        steps=None if steps is None else count_of("steps", steps),
        options=shared,
    )
    execution = Execution(
        out=user_path(out),
        workers=default_workers()[0] if workers is None else count_of("workers", workers),
        progress=progress,
        step_timeout=float(step_timeout),
    )
    return _carry_out(request, budget, execution, say)


def _confirmed(search: Search, setting: dict[str, float]) -> list[str]:
    """Return PPO, the method as it comes and at its best setting, each once."""
    found: dict[str, str] = {}
    for method in ("ppo", search.method, search.method_of(setting)):
        (config,) = make_grid(search.task, [method], (0,), steps=search.steps, **search.options)
        found.setdefault(config.variant, method)
    return list(found.values())


def _carry_out(
    request: Request, budget: str, execution: Execution, say: Callable[[str], None]
) -> TuningReport:
    """Search, confirm and report."""
    out, workers, seconds = execution.out, execution.workers or 1, parse_budget(budget)
    directory = request.directory(out)
    steps, selection = request.planned(out, seconds, workers)
    search = request.search(steps)
    # An unknown sampler is refused before anything is written, and Optuna writes at once.
    require_choice("sampler", request.sampler, SAMPLERS)
    request.save(out, search.steps, selection / seconds)
    sampler = make_sampler(
        request.sampler, request.dimensions, request.seed, request.points, directory
    )
    say(f"{steps:,} steps a run; about {selection / 60:.0f} minutes of search, then confirmed")
    trials = run_search(
        search,
        sampler,
        Journal(directory, out),
        replace(execution, out=directory / "selection", progress=False),
        workers=workers,
        budget=selection,
        say=say,
    )
    best = best_of(trials)
    confirmation = compare(
        search.task,
        methods=_confirmed(search, best.setting),
        seeds=request.confirmation_seeds,
        steps=search.steps,
        out=directory / "confirmation",
        workers=workers,
        step_timeout=execution.step_timeout,
        progress=execution.progress,
        **search.options,
    )
    found = Found(
        search,
        request.dimensions,
        request.sampler,
        tuple(trials),
        best,
        confirmation,
        request.confirmation_seeds,
        request.training_command(search, best.setting, out),
        request.command(budget, out),
    )
    return TuningReport(found, tuple(write(found, directory, out)))
