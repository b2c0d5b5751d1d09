"""From a study and its runs on disk to all that its page, figures and tables show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from robustpo.config import RunConfig
from robustpo.environments import catalog
from robustpo.errors import ConfigError
from robustpo.reports.efficiency import Efficiency, sample_efficiency
from robustpo.reports.origins import differing_origins
from robustpo.reports.outcomes import TaskOutcome, task_outcomes
from robustpo.reports.scores import StudyReturns, is_usable, study_returns
from robustpo.reports.statistics import reference_variant
from robustpo.reports.suite import Suite, suites_of_study
from robustpo.studies.grid import short_labels
from robustpo.studies.store import load_runs
from robustpo.studies.study import Study
from robustpo.training.record import run_directory

OTHER_SUITE = "Other tasks"


@dataclass(frozen=True)
class StudyData:
    """A study and what its runs say so far.

    Attributes:
        study: as it was asked for.
        configs: every run of it.
        directories: where each is recorded.
        results: metrics, as `load_results` returns them.
        summary: ends, as `load_summary` returns them.
        variants: in order, those without a run included.
        labels: of each variant.
        reference: the variant that the others are compared with.
        returns: final returns by task and variant.
        outcomes: every variant against the reference on every task.
        suites: aggregates.
        efficiency: by task and variant.
    """

    study: Study
    configs: list[RunConfig]
    directories: dict[RunConfig, Path]
    results: pl.DataFrame
    summary: pl.DataFrame
    variants: tuple[str, ...]
    labels: dict[str, str]
    reference: str
    returns: StudyReturns
    outcomes: dict[tuple[str, str], TaskOutcome]
    suites: list[Suite]
    efficiency: dict[tuple[str, str], Efficiency]

    def by_task(self, task: str, variant: str) -> pl.DataFrame:
        """Return the metrics of a variant on a task."""
        return self.results.filter((pl.col("task") == task) & (pl.col("variant") == variant))

    @property
    def unreadable(self) -> list[Path]:
        """Directories of runs, empty or half-written, that hold no record that can be read."""
        read = set(self.summary["path"])
        return [
            path for path in self.directories.values() if str(path) not in read and path.exists()
        ]


def read_study_data(study: Study, out: Path) -> StudyData:
    """Read the runs of a study and compare them.

    Raises:
        ConfigError: if none of them has left anything that can be read.
    """
    configs = study.configs()
    directories = {config: run_directory(out, config) for config in configs}
    results, summary = load_runs(directories.values())
    if not summary.height:
        raise ConfigError(
            f"study {study.name!r} has no runs in {str(out)!r} yet; robustpo study run "
            f"{study.name} --out {out}"
        )
    variants = tuple(dict.fromkeys(config.variant for config in configs))
    reference = reference_variant(variants)
    returns = study_returns(summary, variants)
    return StudyData(
        study,
        configs,
        directories,
        results,
        summary,
        variants,
        short_labels(variants),
        reference,
        returns,
        {(one.task, one.variant): one for one in task_outcomes(returns, variants, reference)},
        suites_of_study(summary, variants, reference, {t: suite_of(t) for t in study.tasks}),
        {
            (one.task, one.variant): one
            for one in sample_efficiency(results, summary, variants, reference)
        },
    )


def suite_of(task: str) -> str:
    """Return the suite that a task is aggregated with."""
    entry = catalog.find(task)
    return entry.suite if entry else OTHER_SUITE


def setup_text(data: StudyData) -> str:
    """Say steps, seeds and time-limit mode of what was run."""
    steps = sorted({config.total_steps for config in data.configs})
    modes = sorted({config.settings.time_limit for config in data.configs})
    seeds = sorted(Counter((c.task, c.variant) for c in data.configs).values())
    return (
        f"{_span([f'{count:,}' for count in steps])} steps, "
        f"{_span([str(count) for count in dict.fromkeys(seeds)])} seeds each, "
        f"time limit: {' and '.join(modes)}"
    )


def _span(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"


def sentence(data: StudyData) -> str:
    """Say of each variant on how many tasks it is better, worse, or not told from the reference."""
    reference, parts = data.labels[data.reference], []
    for variant in data.variants:
        if variant == data.reference:
            continue
        found = Counter(one.outcome for (_, name), one in data.outcomes.items() if name == variant)
        judged = found["win"] + found["loss"] + found["tie"]
        text = f"{data.labels[variant]} is better than {reference} on {found['win']} of {judged} "
        text += f"tasks and worse on {found['loss']}"
        if not judged:
            text = f"no verdict on {data.labels[variant]}"
        elif found["none"]:
            text += f" ({found['none']} without a verdict)"
        parts.append(text)
    if not parts:
        return f"{data.labels[data.reference]} alone: nothing to compare."
    text = "; ".join(parts)
    # The name of a method is written as it is, at the beginning of a sentence too.
    text = f"N{text[1:]}" if text.startswith("no verdict") else text
    return f"{text} ({setup_text(data)})."


def notes(data: StudyData) -> list[str]:
    """Say what a reader must know before trusting the numbers."""
    found = [data.study.note] if data.study.note else []
    left_out = data.summary.filter(~is_usable())
    states = Counter(left_out["status"].to_list())
    unreadable = data.unreadable
    states["unreadable"] = len(unreadable)
    states["waiting"] = len(data.configs) - data.summary.height - len(unreadable)
    words = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    if words:
        found.append(f"Left out of the numbers, of {len(data.configs)} runs: {words}.")
    if unreadable:
        more = f" and {len(unreadable) - 1} more" if len(unreadable) > 1 else ""
        found.append(f"Cannot be read: {unreadable[0]}{more}.")
    return found + differing_origins(Path(path) for path in data.summary["path"])


def finite(value: float | None) -> float | None:
    """Return a number, or None for what is not one."""
    return float(value) if value is not None and math.isfinite(value) else None
