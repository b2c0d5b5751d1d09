"""One variant on one task: all that is said of its runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from robustpo.config.run import RunConfig
from robustpo.reports.decision import Decision
from robustpo.reports.left_out import LeftOut, count_states, is_usable
from robustpo.reports.published_results import Published, published_results
from robustpo.reports.quantity import RETURN, Quantity
from robustpo.runs.store import LoadedRun
from robustpo.statistics.alignment import Band, Curve, mean_band
from robustpo.statistics.efficiency import area_under_curve, recent_return, steps_to_reach
from robustpo.statistics.means import MIN_SEEDS, MeanInterval, mean_interval
from robustpo.statistics.proportions import proportion_interval
from robustpo.training.information_log import RECENT_EPISODES

# What is drawn over training of every run, and the column of metrics that it is; what environments
# said of episodes comes beside it.
QUANTITIES = {"return": "return_mean", "entropy": "entropy"}

EFFICIENCY_RULES = (
    "Steps to the reference's final return: the first recorded step at which the mean over seeds "
    "of the return (mean of the last 100 training episodes) is at least the mean final return of "
    "the reference; 'not reached' if it never is.",
    "Area under the learning curve: trapezoid over the recorded rows, divided by the steps they "
    "span: the mean return during training. Mean over seeds.",
)


@dataclass(frozen=True)
class Curves:
    """A quantity over training.

    Attributes:
        seeds: the curve of every seed that has recorded it, in the order of the seeds.
        band: their mean with its 95% t interval; None if they have no common steps.
        runs: of how many runs with metrics these are.
    """

    seeds: dict[int, Curve]
    band: Band | None
    runs: int


@dataclass(frozen=True)
class Statistic:
    """One more number on a variant's runs, in `table.csv` and behind the numbers of a page.

    Attributes:
        of: `(runs, curves) -> value`, given the runs that the numbers are of, one or more, and
            their curves by the names of `QUANTITIES`; nan if it cannot be told.
        title: what a page calls it.
        digits: decimals; None for those of the task's returns.
    """

    of: Callable[[Sequence[LoadedRun], dict[str, Curves]], float]
    title: str
    digits: int | None = None


def area(runs: Sequence[LoadedRun], curves: dict[str, Curves]) -> float:
    """Return the mean over seeds of the area under the learning curve, as a mean return."""
    del runs
    areas = [area_under_curve(curve) for curve in curves["return"].seeds.values()]
    return mean_interval(areas).mean


# By their columns in `table.csv`.
STATISTICS = {"area": Statistic(area, "mean return over training")}


@dataclass(frozen=True)
class Row:
    """One variant on one task.

    Attributes:
        task: id of the task.
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
        statistics: by the names of `STATISTICS`; nan for what is not known.
        reached: steps at which the mean over seeds first was the reference's final return, None if
            never.
        curves: by the names of `QUANTITIES`, of the runs that the numbers are of; of all if they
            are of none.
        left_out: those that the numbers do not include, in words, such as `1 failed`.
        published: what others report for the same task and settings.
    """

    task: str
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
    statistics: dict[str, float]
    reached: int | None
    curves: dict[str, Curves]
    left_out: str
    published: list[Published]

    @property
    def has_few_seeds(self) -> bool:
        """Whether its seeds are too few for a verdict."""
        return len(self.seeds) < MIN_SEEDS


def summarize_row(
    label: str,
    configs: Sequence[RunConfig],
    runs: Sequence[LoadedRun],
    target: float,
    decision: Decision | None,
    left_out: Sequence[LeftOut],
    quantity: Quantity,
    columns: Mapping[str, str],
) -> Row:
    """Say all of one variant on one task.

    Args:
        label: of the variant.
        configs: its runs on the task.
        runs: those that could be read, in the order of their seeds.
        target: mean final return of the reference, nan if it has none.
        decision: on it.
        left_out: its runs that the numbers are not of.
        quantity: what they are judged by.
        columns: of metrics, by the names of what is drawn over training.
    """
    used = [one for one in runs if is_usable(one.end, quantity)]
    returns = tuple(quantity.of(one.end) for one in used)
    last = [float(one.metrics["entropy"][-1]) for one in used if one.metrics["entropy"].size]
    entropies = [value for value in last if not math.isnan(value)]
    steps = [one.end.steps for one in used if one.end.steps is not None]
    curves = {name: curves_of(used or runs, column) for name, column in columns.items()}
    return Row(
        task=configs[0].task,
        variant=configs[0].variant,
        label=label,
        configs=tuple(configs),
        seeds=tuple(one.run.seed for one in used),
        returns=returns,
        interval=interval_of(returns, quantity),
        entropy=fmean(entropies) if entropies else math.nan,
        # Not in 64 bits: a damaged count must not wrap around.
        episodes=sum(one.end.episodes or 0 for one in used),
        steps=(min(steps, default=0), max(steps, default=0)),
        decision=decision,
        statistics={
            name: statistic.of(used, curves) if used else math.nan
            for name, statistic in STATISTICS.items()
        },
        reached=_reached(used, target),
        curves=curves,
        left_out=count_states(left_out),
        published=[] if quantity.name else published_results(configs[0]),
    )


def interval_of(returns: Sequence[float], quantity: Quantity) -> MeanInterval:
    """Return the mean of runs with the interval that suits what they are judged by."""
    if quantity.proportion:
        return proportion_interval(returns, quantity.episodes)
    return mean_interval(returns)


def curves_of(runs: Sequence[LoadedRun], column: str) -> Curves:
    """Return a column of metrics over training, of one run per seed.

    Rows where it is not known are left out, and seeds without any row.
    """
    seeds = {}
    for one in runs:
        values = one.metrics.get(column, np.full(one.metrics["step"].size, np.nan))
        if (known := np.isfinite(values)).any():
            seeds[one.run.seed] = Curve(one.metrics["step"][known], values[known])
    recorded = sum(one.metrics["step"].size > 0 for one in runs)
    return Curves(seeds, mean_band(list(seeds.values())), recorded)


def _reached(used: Sequence[LoadedRun], target: float) -> int | None:
    """Return when the mean over runs of the mean return of the last episodes was at `target`."""
    recent = [
        recent_return(
            one.metrics["step"],
            one.metrics["return_mean"],
            np.nan_to_num(one.metrics["episodes"]),
            RETURN.of(one.end),
            RECENT_EPISODES,
        )
        for one in used
        if np.isfinite(one.metrics["return_mean"]).any()
    ]
    band = mean_band(recent)
    return None if band is None else steps_to_reach(Curve(band.steps, band.mean), target)
