"""`robustpo study`: comparisons that are declared, run in part or whole, and read back."""

from __future__ import annotations

import dataclasses
import functools
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import OmitArgPrefixes, Positional, arg

from robustpo.base.amounts import format_count, format_duration
from robustpo.base.json_text import to_json
from robustpo.base.registry import allow as allow_names
from robustpo.cli.options import EnvKwargs, ExecutionOptions
from robustpo.cli.streams import name_page, prints_on_stderr
from robustpo.environments.task_arguments import parse_arguments
from robustpo.errors import ConfigError, UnfinishedError
from robustpo.execution.limits import default_workers
from robustpo.runs.run_state import STATES
from robustpo.studies.grid import parse_seeds
from robustpo.studies.manifest import extend, load_manifest, save_manifest
from robustpo.studies.paper import STUDIES, find_study
from robustpo.studies.preset_choice import settle_study
from robustpo.studies.request import request_notes, with_left_alone
from robustpo.studies.status import RunStatus, count_states, run_statuses
from robustpo.studies.study import Study, name_methods
from robustpo.studies.study_file import read_study
from robustpo.studies.vector_choice import settle_vectors

NAME_HELP = "Name of a study of the paper (`robustpo study list`), or a .toml file of your own."
Name = Annotated[str, Positional, arg(metavar="NAME", help=NAME_HELP)]


@dataclass(frozen=True)
class Selection:
    """A part of a study, or a study at another length."""

    tasks: tuple[str, ...] = ()
    """Only these of its tasks; a part of a name will do."""
    env_kwargs: EnvKwargs = ()
    methods: tuple[str, ...] = ()
    """These methods instead of its own."""
    seeds: str | None = None
    """These seeds instead of its own: 3, 0,4,7 or 0:5."""
    steps: int | None = None
    """Simulator steps of each run instead of its own."""

    def of(self, study: Study) -> Study:
        """Return what is selected of a study."""
        return study.select(
            tasks=self.tasks,
            env_kwargs=parse_arguments(self.env_kwargs),
            methods=self.methods,
            seeds=parse_seeds(self.seeds) if self.seeds is not None else (),
            steps=self.steps,
        )


@dataclass(frozen=True)
class List:
    """List the studies of the paper."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print a list of JSON objects."""

    def __call__(self) -> int:
        """Print name, size and title of each."""
        if self.json:
            print(to_json([_as_data(study) for study in STUDIES], indent=2))
            return 0
        for study in STUDIES:
            names = ", ".join((study.name, *study.aliases))
            print(f"{names:<32}{len(study.configs()):>6} runs  {study.title}")
        print("\nA study of your own is a .toml file: docs/studies.md shows one.")
        return 0


@dataclass(frozen=True)
class Show:
    """Show what a study trains and, with --measure, how long that takes on this machine."""

    name: Name
    select: OmitArgPrefixes[Selection] = field(default_factory=Selection)
    workers: int | None = None
    """Processes to expect; by default as many as would train."""
    measure: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Step every task for a moment, and say how long training takes here."""
    allow: tuple[str, ...] = ()
    """Extensions that the study names, module:name; what a file names alone is not imported."""

    def __call__(self) -> int:
        """Print the study and its forecast."""
        study = _asked(self.name, self.select, self.allow)
        configs = study.configs()
        print(f"{study.name}: {study.title}")
        notes = [("note", text) for text in (study.note, *request_notes(study))]
        for label, text in [("source", study.source), *notes]:
            if text:
                print(f"{label}: {text}")
        for part in study.parts:
            print(
                f"\n{len(part.tasks)} tasks × {len(part.methods)} methods × {len(part.seeds)} "
                f"seeds, {format_count(part.steps)} steps each"
            )
            print(f"  tasks    {' '.join(part.tasks)}")
            print(f"  methods  {' '.join(part.methods)}")
            if part.options:
                options = " ".join(f"{key}={value}" for key, value in part.options.items())
                print(f"  options  {options}")
        steps = sum(config.total_steps for config in configs)
        print(f"\n{len(configs)} runs, {format_count(steps)} steps")
        if self.measure:
            print(_expectation(configs, self.workers or default_workers()[0]))
        else:
            print("how long that takes here: add --measure (a few seconds for each task)")
        return 0


@dataclass(frozen=True)
class Run:
    """Train what a study asks for and is not yet there, then write its report."""

    name: Name
    select: OmitArgPrefixes[Selection] = field(default_factory=Selection)
    run: OmitArgPrefixes[ExecutionOptions] = field(default_factory=ExecutionOptions)
    report: bool = True
    """Whether to write the report at the end."""

    def __call__(self) -> int:
        """Train and report."""
        from robustpo.execution.execution import execute
        from robustpo.execution.manner import Execution

        out = self.run.out
        study = with_left_alone(_asked(self.name, self.select, self.run.allow))
        asked, kept = settle_study(settle_vectors(study), out)
        extend(load_manifest(out, asked.name), asked, out)
        configs = asked.configs()
        execution = Execution(**dataclasses.asdict(self.run))
        print(f"{asked.name}: {len(configs)} runs", file=sys.stderr)
        unfinished = None
        try:
            with prints_on_stderr():
                execute(
                    configs,
                    execution,
                    accepted=functools.partial(save_manifest, out, asked),
                    notes=[*kept, *request_notes(asked)],
                )
        except UnfinishedError as error:
            unfinished = error
        if self.report and (unfinished is None or unfinished.directories):
            Report(self.name, out)()
        if unfinished:
            raise unfinished
        return 0


@dataclass(frozen=True)
class Status:
    """Say how far the runs of a study have come."""

    name: Name
    out: Path = Path("runs")
    """Directory that holds all runs."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object."""

    def __call__(self) -> int:
        """Print counts, then one line per task and method."""
        study = _recorded(self.name, self.out)
        statuses = run_statuses(study.configs(), self.out)
        counts = count_states(statuses)
        if self.json:
            runs = [_status_data(status) for status in statuses]
            print(to_json({"study": study.name, "counts": counts, "runs": runs}))
            return 0
        total = sum(status.config.total_steps for status in statuses)
        made = sum(min(status.step, status.config.total_steps) for status in statuses)
        words = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        print(f"{study.name}: {words} of {len(statuses)} runs; {made / total:.0%} of the steps")
        groups: dict[tuple[str, str], list[RunStatus]] = {}
        for status in statuses:
            groups.setdefault((status.config.task, status.config.variant), []).append(status)
        for (task, variant), group in groups.items():
            states = count_states(group)
            words = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
            print(f"  {task}  {variant}: {words}")
        for status in statuses:
            if status.error:
                print(f"  {status.directory}: {status.error.splitlines()[0]}")
        return 0


@dataclass(frozen=True)
class Report:
    """Write the page, figures and tables of what a study has so far."""

    name: Name
    out: Path = Path("runs")
    """Directory that holds all runs."""

    def __call__(self) -> int:
        """Write and say where."""
        from robustpo.reports.report import write_study_report

        report = write_study_report(_recorded(self.name, self.out), self.out)
        print(report.sentence)
        name_page(report.files)
        return 0


StudyCommand = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Status, tyro.conf.subcommand("status")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)


@dataclass(frozen=True)
class StudyGroup:
    """List, show, run and report studies: every experiment of the paper, or your own."""

    command: Annotated[tyro.conf.OmitSubcommandPrefixes[StudyCommand], arg(name="")]

    def __call__(self) -> int:
        """Carry out the subcommand."""
        return self.command()


def get_study(name: str) -> Study:
    """Return a study by the name of one of the paper's, or from a file.

    Raises:
        ConfigError: if there is no such study, or the file is not valid.
    """
    return read_study(Path(name)) if name.endswith(".toml") else find_study(name)


def _asked(name: str, select: Selection, allow: tuple[str, ...]) -> Study:
    """Return what a person asks for of a study, who names its extensions here."""
    allow_names(allow)
    name_methods(select.methods)
    return select.of(get_study(name)).expanded()


def _recorded(name: str, out: Path) -> Study:
    """Return a study as far as it has been asked for in a directory."""
    canonical = get_study(name).name
    study = load_manifest(out, canonical)
    if study is None:
        raise ConfigError(
            f"study {canonical!r} has not been run in {str(out)!r}; robustpo study run {name} "
            f"--out {out}"
        )
    return study


def _expectation(configs: list, workers: int) -> str:
    from robustpo.studies.forecast import forecast

    with prints_on_stderr():
        found = forecast(configs, workers, lambda task: print(f"measuring {task}", file=sys.stderr))
    count = "1 worker" if workers == 1 else f"{workers} workers"
    text = f"about {format_duration(found.seconds)} of training with {count} here"
    if found.unknown:
        text += f", without {', '.join(found.unknown)}, which cannot be measured beforehand"
    return text


def _as_data(study: Study) -> dict:
    return {
        "name": study.name,
        "aliases": study.aliases,
        "title": study.title,
        "source": study.source,
        "note": study.note,
        "tasks": study.tasks,
        "methods": study.methods,
        "runs": len(study.configs()),
    }


def _status_data(status: RunStatus) -> dict:
    return {
        "task": status.config.task,
        "variant": status.config.variant,
        "seed": status.config.settings.seed,
        "state": status.state,
        "step": status.step,
        "total_steps": status.config.total_steps,
        "final_return": status.final_return,
        "error": status.error,
        "directory": str(status.directory),
    }
