"""The one summary of a set of runs, computed once; pages, figures, tables and words draw it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from robustpo.base.naming import reference_variant, variant_labels
from robustpo.config.run import RunConfig
from robustpo.environments import catalog
from robustpo.errors import ConfigError
from robustpo.reports.decision import Decision, decide
from robustpo.reports.formats import decimals
from robustpo.reports.left_out import LeftOut, is_usable, left_out_runs, list_runs
from robustpo.reports.quantity import Quantity, quantity_of, said_by
from robustpo.reports.rows import QUANTITIES, Row, summarize_row
from robustpo.reports.scores import StudyReturns
from robustpo.reports.suite import Suite, suites_of_study
from robustpo.runs.record import run_directory
from robustpo.runs.store import LoadedRun, load_runs
from robustpo.statistics.means import mean_interval
from robustpo.studies.commands import train_command
from robustpo.studies.preset_choice import preset_notes
from robustpo.studies.study import Study

OTHER_SUITE = "Other tasks"
# Of what environments say, so many are drawn.
MAX_CURVES = 12
Pair = tuple[str, str]


@dataclass(frozen=True)
class Summary:
    """A study, or a comparison, which is a study of one task, and what its runs say so far.

    Attributes:
        study: as it was asked for.
        out: where all runs lie.
        directories: every run of it, and where it is recorded.
        runs: those that could be read, ordered by task, variant and seed.
        variants: in order, those without a run included.
        labels: of each variant, without what all share.
        shared: what that is, besides steps and time limit, as in the names of directories.
        reference: the variant that the others are compared with.
        rows: one per task and variant, in order.
        digits: decimals of returns, by task.
        decisions: every variant against the reference on every task.
        suites: aggregates of the suites of which several tasks have runs of every variant.
        left_out: runs that no number is of.
        quantity: what runs are judged by; `returns` of rows and their differences are of it.
        columns: of metrics, by the names of what is drawn over training.
    """

    study: Study
    out: Path
    directories: dict[RunConfig, Path]
    runs: tuple[LoadedRun, ...]
    variants: tuple[str, ...]
    labels: dict[str, str]
    shared: list[str]
    reference: str
    rows: tuple[Row, ...]
    digits: dict[str, int]
    decisions: list[Decision]
    suites: list[Suite]
    left_out: list[LeftOut]
    quantity: Quantity
    columns: dict[str, str]

    @property
    def has_one_task(self) -> bool:
        """Whether it is a comparison on a single task."""
        return len(self.study.tasks) == 1

    @cached_property
    def by_pair(self) -> dict[Pair, Row]:
        """The rows by task and variant."""
        return {(row.task, row.variant): row for row in self.rows}

    def command(self, row: Row) -> str:
        """Return what trains the runs of a row again."""
        seeds = [config.settings.seed for config in row.configs]
        return train_command(self.study, row.configs[0], seeds, self.out)


def read_summary(study: Study, out: Path) -> Summary:
    """Read the runs of a study and compare them.

    Raises:
        ConfigError: if none of them has left anything that can be read.
    """
    directories = {config: run_directory(out, config) for config in study.configs()}
    notes = dict.fromkeys([*study.notes, *preset_notes(directories)])
    loaded = load_runs(directories)
    quantity = quantity_of(study.judged_by, loaded.runs)
    left_out = left_out_runs(directories, loaded.runs, loaded.refused, quantity)
    if not loaded.runs:
        reasons = list_runs(left_out[:1], {c.variant: c.variant for c in directories}, tasks=True)
        why = f" that can be used ({reasons[0]})" if reasons else " yet"
        raise ConfigError(f"study {study.name!r} has no runs in {str(out)!r}{why}")
    return summarize(
        replace(study, notes=tuple(notes)), out, directories, loaded.runs, left_out=left_out
    )


def summarize(
    study: Study,
    out: Path,
    directories: dict[RunConfig, Path],
    runs: tuple[LoadedRun, ...],
    *,
    left_out: list[LeftOut],
) -> Summary:
    """Compare the runs of a study that could be read, in the order of `load_runs`."""
    quantity = quantity_of(study.judged_by, runs)
    columns = _columns(quantity, runs)
    variants = tuple(dict.fromkeys(config.variant for config in directories))
    reference = reference_variant(variants)
    labels, shared = variant_labels(variants)
    by_pair: dict[Pair, list[LoadedRun]] = {}
    for one in runs:
        by_pair.setdefault((one.run.task, one.run.variant), []).append(one)
    returns = _returns(by_pair, quantity)
    decisions = decide(returns, variants, reference, quantity)
    targets = _targets(returns, reference, quantity)
    rows = _rows(directories, by_pair, labels, targets, decisions, left_out, quantity, columns)
    suites = {task: suite_of(task) for task in study.tasks}
    return Summary(
        study=study,
        out=out,
        directories=directories,
        runs=runs,
        variants=variants,
        labels=labels,
        shared=shared,
        reference=reference,
        rows=rows,
        digits={
            task: decimals([row.returns for row in rows if row.task == task])
            for task in study.tasks
        },
        decisions=decisions,
        suites=[
            suite
            for suite in suites_of_study(returns, decisions, variants, reference, suites)
            # Of one task they would be its own numbers again, on another scale.
            if len(suite.tasks) > 1 and not quantity.name
        ],
        left_out=left_out,
        quantity=quantity,
        columns=columns,
    )


def _targets(returns: StudyReturns, reference: str, quantity: Quantity) -> dict[str, float]:
    """Return the mean of the reference by task, which its curves of the return are to reach."""
    return {
        task: mean_interval(by[reference].tolist()).mean
        for task, by in returns.items()
        if reference in by and not quantity.name
    }


def _columns(quantity: Quantity, runs: Sequence[LoadedRun]) -> dict[str, str]:
    """Return the columns of metrics that are drawn, what runs are judged by first."""
    own = [quantity.key] if quantity.name else []
    return QUANTITIES | {name: name for name in (*own, *said_by(runs)[:MAX_CURVES])}


def _returns(by_pair: dict[Pair, list[LoadedRun]], quantity: Quantity) -> StudyReturns:
    returns: StudyReturns = {}
    for (task, variant), runs in by_pair.items():
        values = [quantity.of(one.end) for one in runs if is_usable(one.end, quantity)]
        returns.setdefault(task, {})[variant] = np.array(values, dtype=float)
    return returns


def _rows(
    directories: dict[RunConfig, Path],
    by_pair: dict[Pair, list[LoadedRun]],
    labels: dict[str, str],
    targets: Mapping[str, float],
    decisions: Sequence[Decision],
    left_out: Sequence[LeftOut],
    quantity: Quantity,
    columns: Mapping[str, str],
) -> tuple[Row, ...]:
    groups: dict[Pair, list[RunConfig]] = {}
    for config in directories:
        groups.setdefault((config.task, config.variant), []).append(config)
    decided = {(one.task, one.variant): one for one in decisions}
    return tuple(
        summarize_row(
            labels[pair[1]],
            configs,
            by_pair.get(pair, []),
            targets.get(pair[0], math.nan),
            decided.get(pair),
            [one for one in left_out if (one.config.task, one.config.variant) == pair],
            quantity,
            columns,
        )
        for pair, configs in groups.items()
    )


def suite_of(task: str) -> str:
    """Return the suite that a task is aggregated with."""
    entry = catalog.find(task)
    return entry.suite if entry else OTHER_SUITE
