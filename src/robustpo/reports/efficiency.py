"""How fast variants learn: steps to the reference's final return, and the mean return so far.

The curve that is watched is the mean return of the last 100 training episodes, which at the end of
a run is its final return. Single rows of metrics can be of two episodes, and the first of many
noisy rows to pass a mark passes it too early.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from robustpo.errors import ConfigError
from robustpo.reports.alignment import Curve, curves_of, mean_band
from robustpo.reports.scores import StudyReturns, is_usable
from robustpo.reports.statistics import MeanInterval, mean_interval
from robustpo.training.bookkeeping import RECENT_EPISODES

EFFICIENCY_RULES = (
    "Steps to the reference's final return: the first recorded step at which the mean over seeds "
    "of the return (mean of the last 100 training episodes) is at least the mean final return of "
    "the reference; 'not reached' if it never is. For single seeds, their median counts a seed "
    "that never got there as later than all others, and is 'not reached' if at least half did "
    "not.",
    "Area under the learning curve: trapezoid over the recorded rows, divided by the steps they "
    "span: the mean return during training. Mean ± standard deviation over seeds.",
)

# Means of the same numbers in another order differ by rounding.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Efficiency:
    """How fast one variant learned one task.

    Attributes:
        task: id of the task.
        variant: name of the variant.
        target: mean final return of the reference, nan if it has no completed run.
        reached: steps at which the mean over seeds first was at least that, None if never.
        seeds: completed seeds with a recorded return, in order.
        seed_steps: the same for each of them.
        seeds_reached: how many of them got there.
        median_steps: median of `seed_steps`, None counted as later than all.
        areas: mean return over training of each seed.
        area: their mean, standard deviation and t interval.
        left_out: runs that are incomplete, failed or without recorded returns.
    """

    task: str
    variant: str
    target: float
    reached: int | None
    seeds: tuple[int, ...]
    seed_steps: tuple[int | None, ...]
    seeds_reached: int
    median_steps: float | None
    areas: tuple[float, ...]
    area: MeanInterval
    left_out: int


def sample_efficiency(
    results: pl.DataFrame,
    summary: pl.DataFrame,
    returns: StudyReturns,
    variants: Sequence[str],
    reference: str,
) -> list[Efficiency]:
    """Measure every variant on every task where it has runs, task by task in alphabetical order.

    Args:
        results: metrics as `load_results` returns them.
        summary: runs as `load_summary` returns them.
        returns: their final returns.
        variants: which are measured, in order.
        reference: the variant whose final return is to be reached.

    Raises:
        ConfigError: if the reference is not one of the variants.
    """
    if reference not in variants:
        raise ConfigError(
            f"reference={reference!r} is not measured; choose one of {', '.join(variants)}"
        )
    usable = summary.filter(is_usable()).select("task", "variant", "seed", "final_return")
    rows = results.join(usable, on=["task", "variant", "seed"], how="inner", maintain_order="left")
    measured = []
    for task, by_variant in returns.items():
        ends = by_variant[reference].values if reference in by_variant else np.array([])
        target = float(ends.mean()) if len(ends) else math.nan
        for variant in variants:
            if variant not in by_variant:
                continue
            here = rows.filter((pl.col("task") == task) & (pl.col("variant") == variant))
            one = by_variant[variant]
            measured.append(_measure(task, variant, here, target, len(one.seeds) + one.left_out))
    return measured


def steps_to_reach(curve: Curve, target: float) -> int | None:
    """Return the first recorded step at which a curve is at least `target`, None if none is."""
    enough = curve.values >= target - _EQUAL * abs(target)
    return int(curve.steps[np.argmax(enough)]) if enough.any() else None


def area_under_curve(curve: Curve) -> float:
    """Return the mean of a curve over the steps it spans, ∫ R ds / (s_last - s_first).

    The integral is the trapezoid rule's. A curve of one row is as high as that row.
    """
    span = float(curve.steps[-1] - curve.steps[0])
    if span == 0:
        return float(curve.values[0])
    return float(np.trapezoid(curve.values, curve.steps)) / span


def recent_return(
    steps: np.ndarray,
    returns: np.ndarray,
    episodes: np.ndarray,
    final_return: float,
    window: int = RECENT_EPISODES,
) -> Curve:
    """Return the mean return of the last `window` episodes at every recorded step.

    A row's episodes all count with the row's mean, so where the window begins within a row it is
    exact up to that row's spread. While fewer have ended, all that have count. The last value is
    the recorded final return, which is the same mean over the single episodes.

    Args:
        steps: environment steps of the rows, ascending, `[R]`.
        returns: mean return of the episodes that ended in each row, nan where none did, `[R]`.
        episodes: episodes ended so far, `[R]`.
        final_return: mean return of the last episodes of the whole run.
        window: how many episodes.

    Returns:
        The curve from the first row with a return on.
    """
    known = np.isfinite(returns)
    ended = np.diff(episodes, prepend=0.0)
    # A row with a return is of one episode at least, whatever a damaged count says.
    weights = np.where(known, np.maximum(ended, 1.0), 0.0)
    counts = np.concatenate([[0.0], np.cumsum(weights)])
    totals = np.concatenate([[0.0], np.cumsum(weights * np.where(known, returns, 0.0))])
    first = int(np.argmax(known))
    now = counts[1 + first :]
    # The sum of returns up to any episode is linear between rows.
    before = np.interp(now - window, counts, totals)
    values = (totals[1 + first :] - before) / np.minimum(now, window)
    values[-1] = final_return
    return Curve(steps[first:], values)


def _measure(task: str, variant: str, rows: pl.DataFrame, target: float, runs: int) -> Efficiency:
    rows = rows.with_columns(pl.col("return_mean", "episodes").cast(pl.Float64).fill_null(math.nan))
    recent, seeds = [], []
    for part in rows.sort("seed", "step").partition_by("seed", maintain_order=True):
        returns, episodes = part["return_mean"].to_numpy(), part["episodes"].to_numpy()
        if not np.isfinite(returns).any():
            continue
        seeds.append(int(part["seed"][0]))
        steps, final = part["step"].to_numpy(), float(part["final_return"][0])
        recent.append(recent_return(steps, returns, np.nan_to_num(episodes), final))
    band = mean_band(recent)
    seed_steps = tuple(steps_to_reach(curve, target) for curve in recent)
    areas = tuple(area_under_curve(curve) for curve in curves_of(rows, variant, "return_mean"))
    return Efficiency(
        task=task,
        variant=variant,
        target=target,
        reached=None if band is None else steps_to_reach(Curve(band.steps, band.mean), target),
        seeds=tuple(seeds),
        seed_steps=seed_steps,
        seeds_reached=sum(steps is not None for steps in seed_steps),
        median_steps=_median(seed_steps),
        areas=areas,
        area=mean_interval(areas),
        left_out=runs - len(seeds),
    )


def _median(steps: Sequence[int | None]) -> float | None:
    if not steps:
        return None
    median = float(np.median([math.inf if one is None else one for one in steps]))
    return median if math.isfinite(median) else None
