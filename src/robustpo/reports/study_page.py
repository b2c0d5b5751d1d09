"""All that a study's page shows, as plain data."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from robustpo.config import RunConfig
from robustpo.reports import page_data
from robustpo.reports.alignment import Curve, mean_band
from robustpo.reports.bootstrap import Estimate
from robustpo.reports.efficiency import EFFICIENCY_RULES
from robustpo.reports.outcomes import TaskOutcome, outcome_rule
from robustpo.reports.published_results import PROTOCOL, published_results
from robustpo.reports.scores import scale_text
from robustpo.reports.statistics import mean_interval
from robustpo.reports.study_data import (
    StudyData,
    finite,
    notes,
    sentence,
    setup_text,
    suite_of,
)
from robustpo.reports.suite import SUITE_RULES, Suite, SuiteRow
from robustpo.studies.commands import train_command
from robustpo.training.provenance import machine, versions

POINTS = 150


def page_of(data: StudyData, page: Path, command: str) -> page_data.PageData:
    """Return what the page of a study shows.

    Args:
        data: the study and its runs.
        page: where the page will lie; runs are linked relative to it.
        command: what repeats the study.
    """
    study = data.study
    reference = data.labels[data.reference]
    return {
        "name": study.name,
        "title": study.title,
        "sentence": sentence(data),
        "setup": setup_text(data),
        "notes": notes(data),
        "provenance": {
            "generated": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "versions": versions(),
            "machine": str(machine()["processor"]),
            "command": command,
        },
        "methods": [
            {
                "id": data.labels[name],
                "label": data.labels[name],
                "reference": name == data.reference,
            }
            for name in data.variants
        ],
        "tasks": [{"id": task, "suite": suite_of(task)} for task in study.tasks],
        "cells": [_cell(data, group, page) for group in _groups(data)],
        "curves": [
            curve
            for task in study.tasks
            for variant in data.variants
            if (curve := _curve(data, task, variant))
        ],
        "suites": [_suite(suite, data.labels) for suite in data.suites],
        "rules": [
            outcome_rule(reference, len(data.outcomes)),
            *SUITE_RULES,
            *EFFICIENCY_RULES,
            f"Published: other people's numbers ({PROTOCOL}), shown beside and never mixed.",
        ],
    }


def _groups(data: StudyData) -> list[list[RunConfig]]:
    groups: dict[tuple[str, str], list[RunConfig]] = {}
    for config in data.configs:
        groups.setdefault((config.task, config.variant), []).append(config)
    return list(groups.values())


def _cell(data: StudyData, group: list[RunConfig], page: Path) -> page_data.Cell:
    first = group[0]
    key = (first.task, first.variant)
    found = data.returns.get(first.task, {}).get(first.variant)
    values = [] if found is None else [float(value) for value in found.values]
    by_seed = dict(zip(found.seeds if found else (), values, strict=True))
    interval = mean_interval(values)
    outcome, efficiency = data.outcomes.get(key), data.efficiency.get(key)
    missing = len(group) - len(values)
    return {
        "task": first.task,
        "method": data.labels[first.variant],
        "seeds": len(values),
        "left_out": f"{missing} of {len(group)} not completed" if missing else "",
        "mean": finite(interval.mean),
        "std": finite(interval.std),
        "low": finite(interval.low),
        "high": finite(interval.high),
        "entropy": _entropy(data, first),
        "returns": [
            {
                "seed": config.settings.seed,
                "value": by_seed.get(config.settings.seed),
                "path": os.path.relpath(data.directories[config], page.parent),
            }
            for config in group
        ],
        "difference": _difference(outcome),
        "improvement": None if outcome is None else _estimate(outcome.improvement),
        "area": None if efficiency is None else finite(efficiency.area.mean),
        "reached": None if efficiency is None else efficiency.reached,
        "published": published_results(first),
        "command": train_command(data.study, first, [config.settings.seed for config in group]),
    }


def _entropy(data: StudyData, config: RunConfig) -> float | None:
    curves = _curves(data, config.task, config.variant, "entropy")
    ends = [curve.values[-1] for _, curve in curves]
    return finite(float(np.mean(ends))) if ends else None


def _difference(outcome: TaskOutcome | None) -> page_data.MeanDifference | None:
    if outcome is None or finite(outcome.difference.mean) is None:
        return None
    difference = outcome.difference
    return {
        "mean": finite(difference.mean),
        "low": finite(difference.low),
        "high": finite(difference.high),
        "p": finite(difference.p_adjusted),
        "verdict": outcome.outcome,
    }


def _estimate(estimate: Estimate) -> page_data.Estimate:
    return {
        "value": finite(estimate.value),
        "low": finite(estimate.low),
        "high": finite(estimate.high),
    }


def _curve(data: StudyData, task: str, variant: str) -> page_data.Curve | None:
    returns = _curves(data, task, variant, "return_mean")
    band = mean_band([curve for _, curve in returns])
    if band is None:
        return None
    chosen = np.unique(np.linspace(0, len(band.steps) - 1, POINTS).round().astype(int))
    steps = band.steps[chosen]
    return {
        "task": task,
        "method": data.labels[variant],
        "step": [int(step) for step in steps],
        "return": _lines(returns, steps),
        "entropy": _lines(_curves(data, task, variant, "entropy"), steps),
    }


def _lines(curves: list[tuple[int, Curve]], steps: np.ndarray) -> page_data.Lines:
    seeds = [
        (seed, np.interp(steps, curve.steps, curve.values, left=np.nan, right=np.nan))
        for seed, curve in curves
    ]
    band = mean_band([curve for _, curve in curves])

    def column(name: str) -> list[float | None]:
        if band is None:
            return [None] * len(steps)
        values = np.interp(steps, band.steps, getattr(band, name), left=np.nan, right=np.nan)
        return [finite(value) for value in values]

    return {
        "mean": column("mean"),
        "low": column("low"),
        "high": column("high"),
        "seeds": [
            {"seed": seed, "values": [finite(value) for value in values]} for seed, values in seeds
        ],
    }


def _curves(data: StudyData, task: str, variant: str, column: str) -> list[tuple[int, Curve]]:
    """Return a quantity's curve of every seed of a variant on a task."""
    rows = data.by_task(task, variant).drop_nulls(column).drop_nans(column)
    return [
        (int(part["seed"][0]), Curve(part["step"].to_numpy(), part[column].to_numpy()))
        for part in rows.partition_by("seed", maintain_order=True)
    ]


def _suite(suite: Suite, labels: dict[str, str]) -> page_data.Suite:
    profiles = [(row.variant, row.profile) for row in suite.rows if row.tasks]
    return {
        "suite": suite.name,
        "tasks": len(suite.tasks),
        "scale": scale_text(suite.name),
        "rows": [_suite_row(row, labels) for row in suite.rows],
        "profile": {
            "tau": [float(tau) for tau in profiles[0][1].tau] if profiles else [],
            "methods": [
                {
                    "method": labels[name],
                    "value": [finite(value) for value in profile.value],
                    "low": [finite(value) for value in profile.low],
                    "high": [finite(value) for value in profile.high],
                }
                for name, profile in profiles
            ],
        },
    }


def _suite_row(row: SuiteRow, labels: dict[str, str]) -> page_data.SuiteRow:
    return {
        "method": labels[row.variant],
        "runs": row.runs,
        "iqm": _estimate(row.iqm),
        "mean": _estimate(row.mean),
        "gap": _estimate(row.optimality_gap),
        "improvement": None if row.improvement is None else _estimate(row.improvement),
        "wins": row.wins,
        "ties": row.ties,
        "losses": row.losses,
        "undecided": row.undecided,
    }
