"""Final returns of a study by task and variant, and their normalisation to scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from robustpo.errors import ConfigError
from robustpo.studies.store import COMPLETED

DEEPMIND_CONTROL = "DeepMind Control"


@dataclass(frozen=True)
class TaskReturns:
    """Final returns of one variant on one task.

    Attributes:
        seeds: seeds of the completed runs, in order.
        values: their final returns, `[n]`.
        left_out: runs that are incomplete, failed or without a return.
    """

    seeds: tuple[int, ...]
    values: np.ndarray
    left_out: int


# By task, then by variant; a pair without any run on disk is not in it.
StudyReturns = dict[str, dict[str, TaskReturns]]


@dataclass(frozen=True)
class ScoreScale:
    """Which return counts as 0 and which as 1.

    Attributes:
        low: the return that scores 0.
        high: the return that scores 1.
    """

    low: float
    high: float

    def normalize(self, returns: np.ndarray) -> np.ndarray:
        """Return (returns - low) / (high - low), or 1 for all if the two are equal."""
        if self.high == self.low:
            return np.ones_like(returns)
        return (returns - self.low) / (self.high - self.low)


def study_returns(summary: pl.DataFrame, variants: Sequence[str]) -> StudyReturns:
    """Collect the final returns of the completed runs and count the others.

    Args:
        summary: runs as `load_summary` returns them, of any number of tasks.
        variants: which are read, each once.

    Raises:
        ConfigError: if a variant is named twice or a seed of a variant occurs twice on a task.
    """
    if len(set(variants)) < len(variants):
        raise ConfigError(f"variants={list(variants)} name one more than once; name each once")
    runs = summary.filter(pl.col("variant").is_in(list(variants))).sort("task", "variant", "seed")
    twice = runs.filter(pl.struct("task", "variant", "seed").is_duplicated())
    if twice.height:
        raise ConfigError(
            f"seed {twice['seed'][0]} of {twice['variant'][0]} on {twice['task'][0]} occurs more "
            f"than once ({twice['path'][0]}, {twice['path'][1]}); read one output directory"
        )
    returns: StudyReturns = {}
    for part in runs.partition_by("task", "variant", maintain_order=True):
        usable = part.filter(is_usable())
        returns.setdefault(part["task"][0], {})[part["variant"][0]] = TaskReturns(
            seeds=tuple(usable["seed"].to_list()),
            values=usable["final_return"].to_numpy(),
            left_out=part.height - usable.height,
        )
    return returns


def is_usable() -> pl.Expr:
    """Select the runs of a summary that are completed and have a finite final return."""
    return pl.col("status").eq(COMPLETED) & pl.col("final_return").is_finite().fill_null(False)


def score_scales(returns: StudyReturns, suites: Mapping[str, str]) -> dict[str, ScoreScale]:
    """Return the scale of every task that has a completed run; `scale_text` says it in words.

    Args:
        returns: of all compared variants.
        suites: the suite of each task.
    """
    scales = {}
    for task, variants in returns.items():
        values = np.concatenate([one.values for one in variants.values()])
        if suites.get(task) == DEEPMIND_CONTROL:
            scales[task] = ScoreScale(0.0, 1000.0)
        elif len(values):
            scales[task] = ScoreScale(float(values.min()), float(values.max()))
    return scales


def scale_text(suite: str) -> str:
    """Say how the returns of a suite become scores."""
    if suite == DEEPMIND_CONTROL:
        return "Score: final return / 1000, the most that an episode can return."
    return (
        "Score: linear from 0 at the worst to 1 at the best final return among the compared runs "
        "of the task, so it depends on what is compared and says nothing about how good the best "
        "is; if all are equal, all score 1. The intervals take the two ends as given."
    )
