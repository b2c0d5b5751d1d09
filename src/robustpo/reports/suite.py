"""Variants over all tasks of a suite: aggregate scores with intervals, wins, ties and losses."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robustpo.errors import ConfigError
from robustpo.reports.decision import Decision
from robustpo.reports.scores import ScoreScale, StudyReturns, score_scales
from robustpo.reports.suite_row import SuiteRow, suite_row

SUITE_RULES = (
    "Interquartile mean (IQM): mean of the middle half of the scores of all runs of all tasks. "
    "Optimality gap: mean distance below 1, scores above 1 counted as 1; lower is better. Every "
    "task weighs alike, however many runs it has.",
    "Intervals of a suite: 95%, stratified bootstrap over seeds within each task, tasks fixed "
    "(arXiv 2108.13264). With 5 seeds they cover about 90%, with 10 about 93%; a task with one "
    "run leaves none. Performance profiles have intervals for each score by itself. The interval "
    "of P(better) is another: see there.",
    "Aggregates are over the tasks on which every variant has a completed run; the others are "
    "named. Wins, ties and losses are counted over all tasks of the suite.",
)


@dataclass(frozen=True)
class Suite:
    """The variants of a study over one suite.

    Attributes:
        name: of the suite.
        tasks: those that the aggregates are over.
        left_out_tasks: those on which some variant has no completed run.
        rows: one per variant, in order.
    """

    name: str
    tasks: tuple[str, ...]
    left_out_tasks: tuple[str, ...]
    rows: tuple[SuiteRow, ...]


def suites_of_study(
    returns: StudyReturns,
    decisions: Sequence[Decision],
    variants: Sequence[str],
    reference: str,
    suites: Mapping[str, str],
    scales: Mapping[str, ScoreScale] | None = None,
    *,
    seed: int = 0,
) -> list[Suite]:
    """Aggregate a study suite by suite, in the order in which `suites` first names them.

    Args:
        returns: final returns of the study.
        decisions: of all its comparisons.
        variants: which are compared, in order.
        reference: the variant that the others are compared with.
        suites: the suite of each task.
        scales: the scale of each task; by default those of `score_scales`.
        seed: of the bootstrap. A variant's intervals do not depend on the other variants' samples.

    Raises:
        ConfigError: if a task has runs but no suite or no scale.
    """
    scales = score_scales(returns, suites) if scales is None else scales
    if missing := sorted(task for task in returns if task not in suites):
        raise ConfigError(f"no suite is given for {', '.join(missing)}; name one for each task")
    names = dict.fromkeys(suites[task] for task in suites if task in returns)
    return [
        _suite(
            name,
            {task: returns[task] for task in suites if suites[task] == name and task in returns},
            [one for one in decisions if suites[one.task] == name],
            variants,
            reference,
            scales,
            seed,
        )
        for name in names
    ]


def _suite(
    name: str,
    returns: StudyReturns,
    decisions: Sequence[Decision],
    variants: Sequence[str],
    reference: str,
    scales: Mapping[str, ScoreScale],
    seed: int,
) -> Suite:
    # A variant that has nothing yet has no numbers, and must not take them from the others.
    begun = {v for v in variants for by in returns.values() if v in by and len(by[v])}
    tasks = tuple(
        task for task, by in returns.items() if begun and all(v in by and len(by[v]) for v in begun)
    )
    if unscaled := [task for task in tasks if task not in scales]:
        raise ConfigError(f"no scale is given for {', '.join(unscaled)}; give low and high of each")
    scores = {
        variant: [scales[task].normalize(returns[task][variant]) for task in tasks]
        for variant in variants
        if variant in begun
    }
    rows = tuple(
        suite_row(
            variant,
            scores.get(variant, []),
            None if variant == reference else [one for one in decisions if one.variant == variant],
            tasks,
            len(returns),
            # By name, so that a variant more or less does not change the others' intervals.
            np.random.default_rng([seed, zlib.crc32(f"{name}\0{variant}".encode())]),
        )
        for variant in variants
    )
    return Suite(name, tasks, tuple(task for task in returns if task not in tasks), rows)
