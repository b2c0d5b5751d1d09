"""Robustness of trained policies, from Python."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex

from robustpo.api.values import NO_ARGUMENTS, count_of, with_env_kwargs
from robustpo.base.files import user_path
from robustpo.base.naming import reference_variant
from robustpo.base.registry import allow as allow_names
from robustpo.environments.task_arguments import split_arguments, with_arguments
from robustpo.errors import ConfigError
from robustpo.execution.limits import default_workers
from robustpo.reports.report import write_study_report
from robustpo.reports.robustness import sentences, terminal_tables, write_page, write_report
from robustpo.stress.measure import Terms
from robustpo.stress.results import DIRECTORY, Results, results_of, save_results
from robustpo.stress.store import Store
from robustpo.stress.study import measure_all
from robustpo.stress.subjects import Subjects, subjects_in, subjects_of_study
from robustpo.studies.manifest import load_manifest, study_directory
from robustpo.studies.paper import find_study
from robustpo.studies.study import Study
from robustpo.studies.study_file import read_study


@dataclass(frozen=True)
class RobustnessReport:
    """What was found, and where it was written.

    Attributes:
        results: the numbers.
        files: paths of what was written, the page first.
    """

    results: Results
    files: tuple[Path, ...]

    @cached_property
    def sentences(self) -> list[str]:
        """What it says of each task and method, a sentence each."""
        return sentences(self.results)

    @property
    def terminal(self) -> list[Any]:
        """A rich renderable for each task."""
        return terminal_tables(self.results)


def robustness(
    target: str | os.PathLike[str],
    *,
    shifts: str | Iterable[str] = (),
    episodes: SupportsIndex = 10,
    out: str | os.PathLike[str] = "runs",
    workers: SupportsIndex | None = None,
    max_steps: SupportsIndex | None = None,
    stochastic: bool = False,
    seed: SupportsIndex = 0,
    task: str | None = None,
    env_kwargs: Mapping[str, Any] = NO_ARGUMENTS,
    step_timeout: SupportsFloat = 60.0,
    allow: Iterable[str] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> RobustnessReport:
    """Measure frozen policies where something differs from training.

    What is measured is kept in `robustness/points.jsonl` as it comes, in the directory given or in
    that of the study; asked for again, only what is missing is measured.

    Args:
        target: a run, a directory of runs, a policy file, or the name of a study of the paper or a
            .toml file of one, whose runs are in `out`.
        shifts: `observation-noise`, `-delay`, `-dropout`; `action-noise`, `-delay`, `-scale`,
            `-dropout`; `mass`, `friction`, `damping`, `gravity`, `strength`, `timestep`;
            `env.<argument>`: what differs, with levels of your own as in `mass=0.5,1,2`. None is
            all that the task has.
        episodes: of each policy at each level, of the same seeds for every policy.
        out: directory that holds the runs of a study.
        workers: processes; by default one per core.
        max_steps: as in `evaluate`.
        stochastic: samples instead of the deterministic mode.
        seed: of simulators, samples and what is random in a shift; never a training run's.
        task: as in `evaluate`.
        env_kwargs: as in `evaluate`.
        step_timeout: seconds that a step of a simulator may take; 0 for no limit.
        allow: as in `evaluate`.
        progress: called with how many measurements are done, and of how many.

    Raises:
        ConfigError: if there are no policies, a shift is none of a task's, or a task cannot be
            simulated.
        StorageError: if something could not be written.
    """
    allow, asked = tuple(allow), (shifts,) if isinstance(shifts, str) else tuple(shifts)
    allow_names(allow)
    terms = Terms(
        episodes=count_of("episodes", episodes),
        seed=count_of("seed", seed),
        deterministic=not stochastic,
        max_steps=None if max_steps is None else count_of("max_steps", max_steps),
    )
    study = _study(target, user_path(out))
    subjects, root = _subjects(target, task, study, user_path(out))
    subjects = _made_with(subjects, env_kwargs)
    directory = root / DIRECTORY
    measured = measure_all(
        subjects.found,
        asked,
        terms,
        Store(directory, root),
        workers=default_workers()[0] if workers is None else count_of("workers", workers),
        step_timeout=float(step_timeout),
        progress=progress,
    )
    more = [*_words("--allow", allow), *_words("--env-kwargs", _pairs(env_kwargs))]
    more += ["--task", task] if task else []
    more += ["--out", str(user_path(out))] if study is not None else []
    command = _command(target, asked, terms, more)
    variants = list(dict.fromkeys(one.variant for one in subjects.found))
    results = results_of(measured, reference_variant(variants), terms, _notes(subjects), command)
    files = _written(results, directory, root)
    if study is not None:
        files = [write_study_report(study, user_path(out)).files[0], *files]
    return RobustnessReport(results, tuple(files))


def _written(results: Results, directory: Path, root: Path) -> list[Path]:
    save_results(results, directory, root)
    return [write_page(results, directory, root), *write_report(results, directory, root)]


def _subjects(
    target: str | os.PathLike[str], task: str | None, study: Study | None, out: Path
) -> tuple[Subjects, Path]:
    """Return the policies that are meant, and the directory that results belong to."""
    if study is None:
        path = user_path(target)
        return subjects_in(target, task), path if path.is_dir() else path.parent
    found = subjects_of_study(study.configs(), out)
    if not found.found:
        raise ConfigError(f"no run of {os.fspath(target)!r} is done; train it first")
    return found, study_directory(out, study.name)


def _study(target: str | os.PathLike[str], out: Path) -> Study | None:
    """Return the study that is meant; None if it is a place."""
    if user_path(target).exists() and not str(target).endswith(".toml"):
        return None
    text = os.fspath(target)
    named = read_study(user_path(text)) if text.endswith(".toml") else find_study(text)
    study = load_manifest(out, named.name)
    if study is None:
        raise ConfigError(f"study {named.name!r} has not been run in {str(out)!r}")
    for task in study.tasks:
        # What is recorded does not decide which module is imported.
        if ":" in split_arguments(task)[0] and task not in named.tasks:
            raise ConfigError(f"study {named.name!r} has no task {task!r}; add it to its file")
    return study


def _made_with(subjects: Subjects, env_kwargs: Mapping[str, Any]) -> Subjects:
    """Return the same policies in tasks that are made with other arguments."""
    if not env_kwargs:
        return subjects
    tasks = {
        one.task: str(with_env_kwargs(one.task, env_kwargs, replace=True)) for one in subjects.found
    }
    return replace(
        subjects, found=tuple(replace(one, task=tasks[one.task]) for one in subjects.found)
    )


def _notes(subjects: Subjects) -> list[str]:
    count = len(subjects.missing)
    if not count:
        return []
    more = f" and {count - 1} more" if count > 1 else ""
    return [f"Left out, for they are not done: {subjects.missing[0]}{more}."]


def _command(
    target: str | os.PathLike[str],
    shifts: tuple[str, ...],
    terms: Terms,
    more: Sequence[str],
) -> str:
    words = ["robustpo", "robustness", os.fspath(target)]
    words += ["--shifts", *shifts] if shifts else []
    words += ["--episodes", str(terms.episodes), "--seed", str(terms.seed)]
    words += [] if terms.deterministic else ["--stochastic"]
    words += [] if terms.max_steps is None else ["--max-steps", str(terms.max_steps)]
    return shlex.join([*words, *more])


def _words(option: str, values: Iterable[str]) -> list[str]:
    values = list(values)
    return [option, *values] if values else []


def _pairs(env_kwargs: Mapping[str, Any]) -> list[str]:
    text = with_arguments("", env_kwargs).removeprefix(":")
    return text.split(",") if text else []
