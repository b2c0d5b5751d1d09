"""From a study and its runs on disk to all that its page, figures and tables show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from robustpo.config import RunConfig
from robustpo.environments import catalog
from robustpo.errors import ConfigError
from robustpo.reports.decision import Decision, decide
from robustpo.reports.efficiency import Efficiency, sample_efficiency
from robustpo.reports.formats import count_seeds, decimals
from robustpo.reports.labels import variant_labels
from robustpo.reports.left_out import WAITING, LeftOut, count_states, left_out_runs, list_runs
from robustpo.reports.origins import differing_origins
from robustpo.reports.scores import StudyReturns, is_usable, study_returns
from robustpo.reports.statistics import reference_variant
from robustpo.reports.suite import Suite, suites_of_study
from robustpo.reports.variant_row import VariantRow, variant_row
from robustpo.reports.verdict import suite_sentence, task_sentence
from robustpo.studies.preset_choice import preset_notes
from robustpo.studies.store import load_runs
from robustpo.studies.study import Study
from robustpo.training.progress_state import format_count
from robustpo.training.record import run_directory

OTHER_SUITE = "Other tasks"
LISTED = 8


@dataclass(frozen=True)
class StudyData:
    """A study and what its runs say so far.

    Attributes:
        study: as it was asked for.
        out: where all runs lie.
        directories: every run of it, and where it is recorded.
        curves: metrics, as `load_results` returns them, of the runs that the numbers are of; of a
            variant without any such run on a task, of all.
        summary: ends, as `load_summary` returns them.
        variants: in order, those without a run included.
        labels: of each variant, without what all share.
        shared: what that is, besides steps and time limit, as in the names of directories.
        reference: the variant that the others are compared with.
        rows: by task and variant.
        digits: decimals of returns, by task.
        decisions: every variant against the reference on every task.
        suites: aggregates of the suites of which several tasks have runs of every variant.
        efficiency: by task and variant.
        left_out: runs that no number is of.
    """

    study: Study
    out: Path
    directories: dict[RunConfig, Path]
    curves: pl.DataFrame
    summary: pl.DataFrame
    variants: tuple[str, ...]
    labels: dict[str, str]
    shared: list[str]
    reference: str
    rows: dict[tuple[str, str], VariantRow]
    digits: dict[str, int]
    decisions: list[Decision]
    suites: list[Suite]
    efficiency: dict[tuple[str, str], Efficiency]
    left_out: list[LeftOut]

    @property
    def has_one_task(self) -> bool:
        """Whether it is a comparison on a single task."""
        return len(self.study.tasks) == 1


def read_study_data(study: Study, out: Path) -> StudyData:
    """Read the runs of a study and compare them.

    Raises:
        ConfigError: if none of them has left anything that can be read.
    """
    directories = {config: run_directory(out, config) for config in study.configs()}
    notes = dict.fromkeys([*study.notes, *preset_notes(directories)])
    study = replace(study, notes=tuple(notes))
    loaded = load_runs(directories)
    left_out = left_out_runs(directories, loaded.summary, loaded.refused)
    if not loaded.summary.height:
        reasons = list_runs(left_out[:1], {c.variant: c.variant for c in directories}, tasks=True)
        why = f" that can be used ({reasons[0]})" if reasons else " yet"
        raise ConfigError(
            f"study {study.name!r} has no runs in {str(out)!r}{why}; robustpo study run "
            f"{study.name} --out {out}"
        )
    variants = tuple(dict.fromkeys(config.variant for config in directories))
    reference = reference_variant(variants)
    labels, shared = variant_labels(variants)
    returns = study_returns(loaded.summary, variants)
    decisions = decide(returns, variants, reference)
    rows = _rows(directories, labels, returns, decisions, left_out, loaded.summary, loaded.results)
    suites = {task: suite_of(task) for task in study.tasks}
    efficiency = sample_efficiency(loaded.results, loaded.summary, returns, variants, reference)
    return StudyData(
        study=study,
        out=out,
        directories=directories,
        curves=_counted(loaded.results, loaded.summary),
        summary=loaded.summary,
        variants=variants,
        labels=labels,
        shared=shared,
        reference=reference,
        rows=rows,
        digits={task: _digits(task, rows) for task in study.tasks},
        decisions=decisions,
        suites=[
            suite
            for suite in suites_of_study(returns, decisions, variants, reference, suites)
            # Of one task they would be its own numbers again, on another scale.
            if len(suite.tasks) > 1
        ],
        efficiency={(one.task, one.variant): one for one in efficiency},
        left_out=left_out,
    )


def _rows(
    directories: dict[RunConfig, Path],
    labels: dict[str, str],
    returns: StudyReturns,
    decisions: Sequence[Decision],
    left_out: Sequence[LeftOut],
    summary: pl.DataFrame,
    results: pl.DataFrame,
) -> dict[tuple[str, str], VariantRow]:
    groups: dict[tuple[str, str], list[RunConfig]] = {}
    for config in directories:
        groups.setdefault((config.task, config.variant), []).append(config)
    by_pair = {(one.task, one.variant): one for one in decisions}
    ends = summary.partition_by("task", "variant", as_dict=True)
    metrics = results.partition_by("task", "variant", as_dict=True)
    return {
        pair: variant_row(
            labels[pair[1]],
            configs,
            returns.get(pair[0], {}).get(pair[1]),
            by_pair.get(pair),
            [run for run in left_out if (run.config.task, run.config.variant) == pair],
            ends.get(pair, summary.clear()),
            metrics.get(pair, results.clear()),
        )
        for pair, configs in groups.items()
    }


def _digits(task: str, rows: dict[tuple[str, str], VariantRow]) -> int:
    return decimals({variant: row.returns for (of, variant), row in rows.items() if of == task})


def _counted(results: pl.DataFrame, summary: pl.DataFrame) -> pl.DataFrame:
    """Return the metrics of the runs that count, or of all runs of a variant of which none does.

    A run that failed early would end the mean over seeds where it did.
    """
    usable = summary.filter(is_usable()).select("task", "variant", "seed")
    pair = ["task", "variant"]
    counted = results.join(usable, on=[*pair, "seed"], how="semi")
    others = results.join(usable, on=pair, how="anti")
    return pl.concat([counted, others]).sort("task", "variant", "seed", "step")


def suite_of(task: str) -> str:
    """Return the suite that a task is aggregated with."""
    entry = catalog.find(task)
    return entry.suite if entry else OTHER_SUITE


def setup_text(data: StudyData) -> str:
    """Say steps, seeds and time-limit mode of what was run."""
    steps = [format_count(n) for n in sorted({c.total_steps for c in data.directories})]
    counts = sorted({len(row.seeds) for row in data.rows.values()})
    seeds = count_seeds(counts[-1])
    if len(counts) > 1:
        seeds = f"{counts[0]} to {seeds}"
    if data.left_out:
        seeds = seeds.replace(" seed", " finished seed")
    each = " each" if len(counts) == 1 and len(data.rows) > 1 else ""
    span = steps[0] if len(set(steps)) == 1 else f"{steps[0]} to {steps[-1]}"
    all_with = f", all with {', '.join(data.shared)}" if data.shared else ""
    return f"{span} steps, {seeds}{each}, time limit: {_time_limits(data)}{all_with}"


def _time_limits(data: StudyData) -> str:
    modes: dict[str, list[str]] = {}
    for config in data.directories:
        modes.setdefault(config.settings.time_limit, []).append(data.labels[config.variant])
    if len(modes) == 1:
        return next(iter(modes))
    return " and ".join(
        f"{mode} ({', '.join(dict.fromkeys(labels))})" for mode, labels in sorted(modes.items())
    )


def sentence(data: StudyData) -> str:
    """Say what the study decides, how it was run, and that runs are left out."""
    return f"{finding(data)} {setup_text(data)}.{_omission(data)}"


def finding(data: StudyData) -> str:
    """Say what the study decides; where it is shown, so is `setup_text`."""
    if data.has_one_task:
        task = data.study.tasks[0]
        return task_sentence(task, data.decisions, data.labels, data.digits[task])
    others = [variant for variant in data.variants if variant != data.reference]
    asked = {one: sum(variant == one for _, variant in data.rows) for one in others}
    return suite_sentence(data.decisions, asked, data.reference, data.labels)


def _omission(data: StudyData) -> str:
    unfinished = [run for run in data.left_out if run.state != WAITING]
    if not unfinished:
        return ""
    verb = "is" if len(unfinished) == 1 else "are"
    return f" {len(unfinished)} of {len(data.directories)} runs {verb} left out of these numbers."


def left_out_lines(data: StudyData) -> list[str]:
    """Return a line for each run that has left something that cannot be used."""
    return list_runs(data.left_out, data.labels, tasks=not data.has_one_task)


def notes(data: StudyData) -> list[str]:
    """Say what a reader must know before trusting the numbers."""
    found = [note for note in (data.study.note, *data.study.notes) if note]
    if data.left_out:
        words = count_states(data.left_out)
        found.append(f"Left out of the numbers, of {len(data.directories)} runs: {words}.")
    lines = left_out_lines(data)
    found += [f"Left out: {line}." for line in lines[:LISTED]]
    if len(lines) > LISTED:
        found.append(f"Left out: {len(lines) - LISTED} more; robustpo study status lists them.")
    return found + differing_origins(Path(path) for path in data.summary["path"])


def finite(value: float | None) -> float | None:
    """Return a number, or None for what is not one."""
    return float(value) if value is not None and math.isfinite(value) else None
