"""A summary as plain data, which is what its page is made from: a missing number is None.

Curves are nearly all of a page. Twelve tasks, four methods and five seeds at 150 points are 120,000
numbers, a megabyte in decimal figures. Each line is therefore stored in 4096 levels between its
least and its greatest value, which is finer than a screen, at two characters a point.
"""

from __future__ import annotations

import json
import math
import os
import string
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from robustpo.reports.decision import Decision
from robustpo.reports.figures import POINTS, own_title
from robustpo.reports.formats import format_p
from robustpo.reports.page_settings import settings_of
from robustpo.reports.rows import STATISTICS, Curves, Row
from robustpo.reports.scores import scale_text
from robustpo.reports.style import method_looks
from robustpo.reports.suite import Suite, SuiteRow
from robustpo.reports.summary import Summary, suite_of
from robustpo.reports.verdict import worth
from robustpo.reports.words import finding, notes, rules, setup_text
from robustpo.runs.provenance import machine, versions
from robustpo.statistics.bootstrap import Estimate

# In the order of base64, so that a level reads as two digits; `model.js` has the same.
ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
MISSING = ".."
_TOP_LEVEL = len(ALPHABET) ** 2 - 1
_SIGNIFICANT = 6
# What the script reads; all else stands in the page as text.
_EMBEDDED = (
    "measure",
    "quantities",
    "name",
    "methods",
    "tasks",
    "cells",
    "suites",
    "steps",
    "curves",
)

PageData = dict[str, Any]


def page_of(summary: Summary, page: Path, command: str) -> PageData:
    """Return what the page of a study shows, with its numbers as they are.

    Args:
        summary: of the study.
        page: where the page will lie; runs are linked relative to it.
        command: what repeats the study.
    """
    labels = list(summary.labels.values())
    steps, curves = _curves(summary)
    return {
        "name": summary.study.name,
        "measure": _measure(summary),
        "quantities": [
            {"name": name, "title": _title(name), "digits": 2 if name != "return" else None}
            for name in summary.columns
        ],
        "title": summary.study.title,
        "sentence": finding(summary),
        "setup": setup_text(summary),
        "worth": worth(summary.decisions),
        # Nothing else on the page warns.
        "notes": notes(summary),
        "command": command,
        "provenance": {
            "generated": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "versions": versions(),
            "machine": str(machine()["processor"]),
        },
        # In the order of their colours and columns; the reference is what others are compared with.
        "methods": [
            {
                "id": label,
                "label": label,
                "reference": label == summary.labels[summary.reference],
                "dash": " ".join(map(str, look.dash)),
            }
            for label, look in zip(labels, method_looks(labels), strict=True)
        ],
        "settings": settings_of(summary.directories, summary.labels),
        "tasks": [
            {"id": task, "suite": suite_of(task), "digits": summary.digits[task]}
            for task in summary.study.tasks
        ],
        "cells": [_cell(summary, row, page.parent) for row in summary.rows],
        "steps": steps,
        "curves": curves,
        "suites": [_suite(suite, summary.labels) for suite in summary.suites],
        "rules": rules(summary),
    }


def _measure(summary: Summary) -> dict[str, Any]:
    """Say what the numbers are of, and by which tests."""
    quantity = summary.quantity
    both = "Welch's test, then of the permutation test"
    return {
        "noun": quantity.noun,
        "title": quantity.name or "Final returns",
        "column": "return" if not quantity.name else quantity.name,
        "tests": "the permutation test over seeds" if quantity.proportion else both,
        "reached": not quantity.name,
    }


def _title(name: str) -> str:
    titles = {"return": "episodic return (training)", "entropy": "policy entropy (nats)"}
    return titles.get(name) or own_title(name)


def embedded_json(data: PageData) -> str:
    """Write what the script reads as JSON that no text in it can end the surrounding script with.

    Raises:
        ValueError: if a number is not finite.
    """
    embedded = _short({name: data[name] for name in _EMBEDDED})
    text = json.dumps(embedded, allow_nan=False, separators=(",", ":"))
    # JSON in ASCII has U+2028 and U+2029 escaped already.
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _short(value: Any) -> Any:
    """Round to the figures that any part of the page shows; whole numbers lose their `.0`."""
    if isinstance(value, dict):
        return {name: _short(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_short(one) for one in value]
    if not isinstance(value, float):
        return value
    rounded = float(f"{value:.{_SIGNIFICANT}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _cell(summary: Summary, row: Row, directory: Path) -> dict[str, Any]:
    """Return one method on one task: final returns over its seeds, and how to repeat them."""
    by_seed = dict(zip(row.seeds, row.returns, strict=True))
    paths = {
        config.settings.seed: os.path.relpath(summary.directories[config], directory)
        for config in row.configs
    }
    return {
        "task": row.task,
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
            {"seed": seed, "value": by_seed.get(seed), "path": path, "address": run_address(path)}
            for seed, path in paths.items()
        ],
        "difference": _difference(row.decision) if row.decision else None,
        "improvement": _estimate(row.decision.improvement) if row.decision else None,
        "statistics": [
            {
                "title": statistic.title,
                "digits": statistic.digits,
                "value": finite(row.statistics[name]),
            }
            for name, statistic in STATISTICS.items()
        ],
        "reached": row.reached,
        "published": row.published,
        "command": summary.command(row),
    }


def _difference(decision: Decision) -> dict[str, Any] | None:
    difference = decision.difference
    if finite(difference.mean) is None:
        return None
    one_test = decision.quantity.proportion
    return {
        "mean": finite(difference.mean),
        "low": finite(difference.low),
        "high": finite(difference.high),
        "p": finite(difference.p_adjusted),
        "pText": _p_text(difference.p_adjusted),
        "permutation": finite(decision.permutation),
        "permutationText": "" if one_test else _p_text(decision.permutation),
        "verdict": decision.outcome,
    }


def _p_text(value: float) -> str:
    return "" if math.isnan(value) else format_p(value)


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {name: finite(getattr(estimate, name)) for name in ("value", "low", "high")}


def _curves(summary: Summary) -> tuple[list[list[int]], list[dict[str, Any]]]:
    """Return the grids of steps, of which nearly all curves share one, and every curve."""
    grids, curves = [], []
    for task in summary.study.tasks:
        for variant in summary.variants:
            row = summary.by_pair.get((task, variant))
            band = row.curves["return"].band if row else None
            if row is None or band is None:
                continue
            steps = band.thinned(POINTS).steps
            grid = [int(step) for step in steps]
            if grid not in grids:
                grids.append(grid)
            lines = {name: _lines(row.curves[name], steps) for name in summary.columns}
            where = {"task": task, "method": row.label, "steps": grids.index(grid)}
            curves.append(where | lines)
    return grids, curves


def _lines(curves: Curves, steps: np.ndarray) -> dict[str, Any]:
    """Return a quantity over training: mean over seeds, 95% t interval, single seeds."""

    def line(own_steps: np.ndarray, values: np.ndarray) -> list[Any]:
        return pack_line(np.interp(steps, own_steps, values, left=np.nan, right=np.nan).tolist())

    unknown, band = np.array([np.nan]), curves.band
    return {
        **{
            name: line(band.steps, getattr(band, name)) if band else line(steps[:1], unknown)
            for name in ("mean", "low", "high")
        },
        "seeds": [
            {"seed": seed, "values": line(curve.steps, curve.values)}
            for seed, curve in curves.seeds.items()
        ],
    }


def pack_line(values: Iterable[float | None]) -> list[Any]:
    """Return a line as [least value, greatest value, two characters a point]."""
    known = [finite(value) for value in values]
    present = [value for value in known if value is not None]
    low, high = (min(present), max(present)) if present else (0.0, 0.0)
    scale = _TOP_LEVEL / (high - low) if high > low else 0.0
    levels = [None if value is None else round((value - low) * scale) for value in known]
    size = len(ALPHABET)
    text = (
        MISSING if level is None else ALPHABET[level // size] + ALPHABET[level % size]
        for level in levels
    )
    return [low, high, "".join(text)]


def _suite(suite: Suite, labels: dict[str, str]) -> dict[str, Any]:
    """Return aggregates over the tasks of a suite, and in words how scores were normalised."""
    profiles = [(row.variant, row.profile) for row in suite.rows if row.tasks]
    return {
        "suite": suite.name,
        "tasks": len(suite.tasks),
        "scale": scale_text(suite.name),
        "rows": [_suite_row(row, labels) for row in suite.rows],
        "profile": {
            "tau": profiles[0][1].tau.tolist() if profiles else [],
            "methods": [
                {
                    "method": labels[name],
                    **{key: pack_line(getattr(one, key)) for key in ("value", "low", "high")},
                }
                for name, one in profiles
            ],
        },
    }


def _suite_row(row: SuiteRow, labels: dict[str, str]) -> dict[str, Any]:
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


def run_address(path: str) -> str:
    """Return the address of a run's directory that a link on the page may have.

    A path that looks like an address (`javascript:…`, `//host`) stays a path.
    """
    absolute = path.startswith("/")
    address = quote(path.lstrip("/"), safe="/", errors="surrogatepass")
    return f"file:///{address}" if absolute else f"./{address}"


def finite(value: float | None) -> float | None:
    """Return a number, or None for what is not one."""
    return float(value) if value is not None and math.isfinite(value) else None
