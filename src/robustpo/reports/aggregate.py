"""Turns the frames of one task's runs into the rows of a comparison, dropping nothing silently."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import polars as pl

from robustpo.errors import ConfigError
from robustpo.reports.scores import is_usable
from robustpo.reports.statistics import (
    Difference,
    MeanInterval,
    compare_with_reference,
    mean_interval,
    reference_variant,
)
from robustpo.reports.verdict import count_seeds, decimals, verdict
from robustpo.studies.grid import short_labels
from robustpo.studies.store import COMPLETED
from robustpo.training.progress_state import format_count


@dataclass(frozen=True)
class VariantRow:
    """One variant of a comparison.

    Attributes:
        variant: its name, as its directory is called.
        label: its name without what all variants share and the subtitle states.
        seeds: seeds of the completed runs, in order.
        returns: their final returns, in the same order.
        interval: mean, standard deviation and 95% t interval of the final returns.
        entropy: policy entropy in the last recorded row, mean over the completed seeds, nan if
            not recorded.
        episodes: training episodes of all completed runs together.
        steps: simulator steps of one run; the smallest and the largest.
        difference: to the reference, None for the reference itself.
        runs: how many runs there are, completed or not.
        left_out: those that the numbers do not include, in words, such as `1 failed`.
    """

    variant: str
    label: str
    seeds: tuple[int, ...]
    returns: tuple[float, ...]
    interval: MeanInterval
    entropy: float
    episodes: int
    steps: tuple[int, int]
    difference: Difference | None
    runs: int
    left_out: str


@dataclass(frozen=True)
class Comparison:
    """Variants of one task, side by side.

    Attributes:
        task: id of the task.
        reference: label of the variant that the others are compared with.
        rows: one per variant, in order.
        digits: decimals that returns are written with.
        setup: steps, seeds and time-limit mode in words.
        sentence: the verdict.
        notes: one line per run that is left out of the numbers.
    """

    task: str
    reference: str
    rows: tuple[VariantRow, ...]
    digits: int
    setup: str
    sentence: str
    notes: tuple[str, ...]


def aggregate(
    results: pl.DataFrame, summary: pl.DataFrame, variants: Sequence[str] | None = None
) -> Comparison:
    """Compare the variants of one task by the final returns of their completed runs.

    Args:
        results: metrics as `load_results` returns them.
        summary: runs as `load_summary` returns them.
        variants: which variants and in which order; by default all, PPO first.

    Raises:
        ConfigError: if there is no run, there are runs of several tasks, a variant has no runs, or
            a seed of a variant occurs twice.
    """
    order = _variant_order(summary, variants)
    summary = summary.filter(pl.col("variant").is_in(order))
    task = _only_task(summary)
    _require_distinct_seeds(summary)
    usable = summary.filter(is_usable())
    returns = {
        name: tuple(_of(usable, name).sort("seed")["final_return"].to_list()) for name in order
    }
    reference = reference_variant(order)
    labels = short_labels(order)
    differences = compare_with_reference(returns, reference)
    rows = tuple(
        _row(name, labels[name], summary, results, returns[name], differences.get(name))
        for name in order
    )
    steps, limit = _steps_text(summary), _time_limit_text(summary, labels)
    sentence = verdict(
        {labels[name]: sample for name, sample in returns.items()},
        task=task,
        steps=steps,
        time_limit=limit,
        reference=labels[reference],
    )
    notes = _notes(summary, labels)
    if notes:
        sentence += f" {len(notes)} of {summary.height} runs are left out of these numbers."
    setup = f"{steps} steps, {_seeds_text(rows)}, time limit: {limit}"
    digits = decimals(returns)
    return Comparison(task, labels[reference], rows, digits, setup, sentence, notes)


def _variant_order(summary: pl.DataFrame, variants: Sequence[str] | None) -> tuple[str, ...]:
    found = sorted(summary["variant"].unique().to_list())
    if not found:
        raise ConfigError(
            "there is no run to compare: no directory with a readable config.json was found; "
            "give the directory that runs were written to"
        )
    if variants is None:
        labels, reference = short_labels(found), reference_variant(found)
        return tuple(sorted(found, key=lambda name: (name != reference, _natural(labels[name]))))
    missing = [name for name in variants if name not in found]
    if missing or not variants or len(set(variants)) < len(variants):
        raise ConfigError(
            f"variants={list(variants)} do not match the runs; name each once, out of "
            f"{', '.join(found)}"
        )
    return tuple(variants)


def _natural(text: str) -> list[tuple[float, str]]:
    """Return a sorting key that puts `alpha-3` before `alpha-10`."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return [(float(part), "") if part[:1].isdecimal() else (-1.0, part) for part in parts]


def _only_task(summary: pl.DataFrame) -> str:
    tasks = sorted(summary["task"].unique().to_list())
    if len(tasks) != 1:
        raise ConfigError(
            f"a comparison is about one task but the runs are of {len(tasks)}: "
            f"{', '.join(tasks)}; choose one of them"
        )
    return tasks[0]


def _require_distinct_seeds(summary: pl.DataFrame) -> None:
    twice = summary.filter(pl.struct("variant", "seed").is_duplicated())
    if twice.height:
        variant, seed = twice["variant"][0], twice["seed"][0]
        same = twice.filter(pl.col("variant").eq(variant) & pl.col("seed").eq(seed))
        raise ConfigError(
            f"seed {seed} of variant {variant} occurs more than once "
            f"({', '.join(same['path'])}); compare the runs of one output directory"
        )


def _of(frame: pl.DataFrame, variant: str) -> pl.DataFrame:
    return frame.filter(pl.col("variant") == variant)


def _row(
    variant: str,
    label: str,
    summary: pl.DataFrame,
    results: pl.DataFrame,
    returns: tuple[float, ...],
    difference: Difference | None,
) -> VariantRow:
    runs = _of(summary, variant)
    used = runs.filter(is_usable()).sort("seed")
    last = (
        _of(results, variant)
        .filter(pl.col("seed").is_in(used["seed"].to_list()))
        .sort("step")
        .group_by("seed")
        .last()
    )
    entropies = last["entropy"].drop_nulls().drop_nans().to_list()
    steps = [int(step) for step in used["steps"].drop_nulls().to_list()]
    return VariantRow(
        variant=variant,
        label=label,
        seeds=tuple(used["seed"].to_list()),
        returns=returns,
        interval=mean_interval(returns),
        entropy=fmean(entropies) if entropies else math.nan,
        episodes=int(used["episodes"].sum()),
        steps=(min(steps, default=0), max(steps, default=0)),
        difference=difference,
        runs=runs.height,
        left_out=_count_left_out(runs),
    )


def _count_left_out(runs: pl.DataFrame) -> str:
    left_out = runs.filter(~is_usable())
    reasons = [_reason(row) for row in left_out.iter_rows(named=True)]
    return ", ".join(f"{reasons.count(r)} {r}" for r in sorted(set(reasons)))


def _reason(run: dict) -> str:
    return "without a return" if run["status"] == COMPLETED else run["status"]


def _notes(summary: pl.DataFrame, labels: dict[str, str]) -> tuple[str, ...]:
    notes = []
    left_out = summary.filter(~is_usable()).sort("variant", "seed")
    for run in left_out.iter_rows(named=True):
        at = "" if run["steps"] is None else f" at step {run['steps']:,}"
        text = f"{labels[run['variant']]} seed {run['seed']}: {_reason(run)}{at}"
        # A traceback belongs in the run's own files; its first line says what happened.
        error = (run["error"] or "").strip().split("\n")[0]
        notes.append(f"{text} ({error})" if error else text)
    return tuple(notes)


def _steps_text(summary: pl.DataFrame) -> str:
    planned = summary.select(pl.coalesce("total_steps", "steps")).to_series().drop_nulls()
    counts = sorted({format_count(count): count for count in planned}.items(), key=lambda p: p[1])
    if not counts:
        return "unknown"
    return counts[0][0] if len(counts) == 1 else f"{counts[0][0]} to {counts[-1][0]}"


def _time_limit_text(summary: pl.DataFrame, labels: dict[str, str]) -> str:
    modes = summary.with_columns(pl.col("time_limit").fill_null("unknown"))
    distinct = modes["time_limit"].unique().sort().to_list()
    if len(distinct) == 1:
        return distinct[0]
    parts = []
    for mode in distinct:
        having = modes.filter(pl.col("time_limit") == mode)["variant"].to_list()
        parts.append(f"{mode} ({', '.join(labels[v] for v in labels if v in having)})")
    return " and ".join(parts)


def _seeds_text(rows: Sequence[VariantRow]) -> str:
    counts = sorted({len(row.seeds) for row in rows})
    text = count_seeds(counts[-1])
    if len(counts) > 1:
        text = f"{counts[0]} to {text}"
    elif len(rows) > 1:
        text += " each"
    # The curves show the other seeds too, so the number must say which it counts.
    left_out = any(row.left_out for row in rows)
    return text.replace(" seed", " completed seed") if left_out else text
