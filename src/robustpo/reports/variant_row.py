"""One variant on one task: its final returns over seeds and the decision on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import polars as pl

from robustpo.config import RunConfig
from robustpo.reports.decision import Decision
from robustpo.reports.left_out import LeftOut, count_states
from robustpo.reports.scores import TaskReturns, is_usable
from robustpo.reports.statistics import MIN_SEEDS, MeanInterval, mean_interval


@dataclass(frozen=True)
class VariantRow:
    """One variant on one task.

    Attributes:
        variant: its name, as its directory is called.
        label: its name without what all variants share and the setup states.
        configs: its runs, finished or not.
        seeds: seeds of those that the numbers are of, in order.
        returns: their final returns, in the same order.
        interval: mean, standard deviation and 95% t interval of the final returns.
        entropy: policy entropy in the last recorded row, mean over these seeds, nan if not
            recorded.
        episodes: training episodes of these runs together.
        steps: simulator steps of one run; the smallest and the largest.
        decision: on it against the reference; None for the reference itself, and if one of the
            two has no runs.
        left_out: those that the numbers do not include, in words, such as `1 failed`.
    """

    variant: str
    label: str
    configs: tuple[RunConfig, ...]
    seeds: tuple[int, ...]
    returns: tuple[float, ...]
    interval: MeanInterval
    entropy: float
    episodes: int
    steps: tuple[int, int]
    decision: Decision | None
    left_out: str

    @property
    def has_few_seeds(self) -> bool:
        """Whether its seeds are too few for a verdict."""
        return len(self.seeds) < MIN_SEEDS


def variant_row(
    label: str,
    configs: Sequence[RunConfig],
    returns: TaskReturns | None,
    decision: Decision | None,
    left_out: Sequence[LeftOut],
    summary: pl.DataFrame,
    results: pl.DataFrame,
) -> VariantRow:
    """Collect what is known of the runs of one variant on one task.

    Args:
        label: of the variant.
        configs: its runs on the task.
        returns: final returns of those that are finished, None if there is none on disk.
        decision: on it.
        left_out: its runs that are not among the returns.
        summary: ends of its runs.
        results: metrics of its runs.
    """
    seeds = returns.seeds if returns else ()
    values = tuple(float(value) for value in returns.values) if returns else ()
    used = summary.filter(is_usable())
    last = results.filter(pl.col("seed").is_in(list(seeds))).sort("step").group_by("seed").last()
    entropies = last["entropy"].drop_nulls().drop_nans().to_list()
    steps = used["steps"].drop_nulls().to_list()
    return VariantRow(
        variant=configs[0].variant,
        label=label,
        configs=tuple(configs),
        seeds=seeds,
        returns=values,
        interval=mean_interval(values),
        entropy=fmean(entropies) if entropies else math.nan,
        # Not in 64 bits: a damaged count must not wrap around.
        episodes=sum(used["episodes"].drop_nulls().to_list()),
        steps=(min(steps, default=0), max(steps, default=0)),
        decision=decision,
        left_out=count_states(left_out),
    )
