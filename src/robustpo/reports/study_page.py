"""All that a study's page shows, as plain data."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from robustpo.reports import page_data
from robustpo.reports.alignment import Curve, mean_band, seed_curves
from robustpo.reports.bootstrap import Estimate
from robustpo.reports.decision import Decision, decision_rule
from robustpo.reports.efficiency import EFFICIENCY_RULES
from robustpo.reports.improvement import IMPROVEMENT_RULE
from robustpo.reports.page_settings import settings_of
from robustpo.reports.published_results import PROTOCOL, published_results
from robustpo.reports.scores import scale_text
from robustpo.reports.study_data import (
    StudyData,
    finding,
    finite,
    notes,
    setup_text,
    suite_of,
)
from robustpo.reports.suite import SUITE_RULES, Suite, SuiteRow
from robustpo.reports.variant_row import VariantRow
from robustpo.reports.verdict import worth
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
    return {
        "name": study.name,
        "title": study.title,
        "sentence": finding(data),
        "setup": setup_text(data),
        "worth": worth(data.decisions),
        "notes": notes(data),
        "command": command,
        "provenance": {
            "generated": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "versions": versions(),
            "machine": str(machine()["processor"]),
        },
        "methods": [
            {
                "id": data.labels[name],
                "label": data.labels[name],
                "reference": name == data.reference,
            }
            for name in data.variants
        ],
        "settings": settings_of(data.directories, data.labels),
        "tasks": [
            {"id": task, "suite": suite_of(task), "digits": data.digits[task]}
            for task in study.tasks
        ],
        "cells": [_cell(data, task, row, page) for (task, _), row in data.rows.items()],
        "curves": [
            curve
            for task in study.tasks
            for variant in data.variants
            if (curve := _curve(data, task, variant))
        ],
        "suites": [_suite(suite, data.labels) for suite in data.suites],
        "rules": _rules(data),
    }


def _rules(data: StudyData) -> list[str]:
    rules = [decision_rule(data.labels[data.reference], len(data.decisions)), IMPROVEMENT_RULE]
    rules += SUITE_RULES if data.suites else ()
    return [
        *rules,
        *EFFICIENCY_RULES,
        f"Published: other people's numbers ({PROTOCOL}), shown beside and never mixed.",
    ]


def _cell(data: StudyData, task: str, row: VariantRow, page: Path) -> page_data.Cell:
    by_seed = dict(zip(row.seeds, row.returns, strict=True))
    efficiency = data.efficiency.get((task, row.variant))
    return {
        "task": task,
        "method": row.label,
        "seeds": len(row.seeds),
        "left_out": row.left_out,
        "few": row.has_few_seeds,
        "mean": finite(row.interval.mean),
        "std": finite(row.interval.std),
        "low": finite(row.interval.low),
        "high": finite(row.interval.high),
        "entropy": finite(row.entropy),
        "returns": [
            {
                "seed": config.settings.seed,
                "value": by_seed.get(config.settings.seed),
                "path": os.path.relpath(data.directories[config], page.parent),
            }
            for config in row.configs
        ],
        "difference": _difference(row.decision),
        "improvement": None if row.decision is None else _estimate(row.decision.improvement),
        "area": None if efficiency is None else finite(efficiency.area.mean),
        "reached": None if efficiency is None else efficiency.reached,
        "published": published_results(row.configs[0]),
        "command": train_command(
            data.study, row.configs[0], [config.settings.seed for config in row.configs], data.out
        ),
    }


def _difference(decision: Decision | None) -> page_data.MeanDifference | None:
    if decision is None or finite(decision.difference.mean) is None:
        return None
    difference = decision.difference
    return {
        "mean": finite(difference.mean),
        "low": finite(difference.low),
        "high": finite(difference.high),
        "p": finite(difference.p_adjusted),
        "permutation": finite(decision.permutation),
        "verdict": decision.outcome,
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
    rows = data.curves.filter((pl.col("task") == task) & (pl.col("variant") == variant))
    return seed_curves(rows, column)


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
