"""What measurements say: curves, areas, where half is lost, and which variant keeps more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robustpo.statistics.means import MIN_SEEDS, Difference, MeanInterval, holm, mean_interval
from robustpo.statistics.robustness import area, half_lost, paired
from robustpo.stress.study import Measured


@dataclass(frozen=True)
class Finding:
    """One variant under one shift of a task.

    Attributes:
        task: the task.
        shift: name of the shift.
        variant: the variant.
        seeds: of its policies.
        curve: mean return over seeds with its 95% t interval at each level.
        nominal: mean return where nothing differs.
        area: mean return over the range of levels, over seeds.
        kept: share of what is earned above random actions that is left over that range.
        half_below: median over seeds of the level below the nominal one at which half is lost.
        half_above: the same above it; infinite if it is not within the levels, nan if there are
            none on that side.
        broken: measurements in which the simulator broke, of all seeds and levels.
        pairs: seeds of which both variants have an area, so that they are compared; 0 for the
            reference. Fewer than five give no p-value.
        better: area less the reference's, paired by seed; None for the reference.
        loses_less: how much less of its own return where nothing differs is lost over the range
            than of the reference's; None for the reference.
    """

    task: str
    shift: str
    variant: str
    seeds: tuple[int, ...]
    curve: tuple[MeanInterval, ...]
    nominal: float
    area: MeanInterval
    kept: float
    half_below: float
    half_above: float
    broken: int
    pairs: int = 0
    better: Difference | None = None
    loses_less: Difference | None = None


def find(measured: Sequence[Measured], reference: str) -> list[Finding]:
    """Summarise measurements; p-values are corrected by Holm over the shifts of a task.

    Args:
        measured: in the order in which findings are wanted.
        reference: the variant that others are compared with.
    """
    found = [_finding(one, variant, reference) for one in measured for variant in one.scores]
    for task in dict.fromkeys(one.task for one in found):
        for variant in dict.fromkeys(one.variant for one in found):
            where = [i for i, one in enumerate(found) if (one.task, one.variant) == (task, variant)]
            _correct(found, where, "better")
            _correct(found, where, "loses_less")
    return found


def _finding(one: Measured, variant: str, reference: str) -> Finding:
    seeds = tuple(sorted(one.scores[variant]))
    returns = _returns(one, variant, seeds)
    areas, nominal = area(one.levels, returns), returns[:, one.nominal]
    whole = np.isfinite(areas)
    earned = float(nominal[whole].mean()) - one.random if whole.any() else math.nan
    over = mean_interval(areas[whole].tolist())
    better = loses_less = None
    pairs = 0
    if variant != reference and reference in one.scores:
        common = tuple(seed for seed in seeds if seed in one.scores[reference])
        ours, theirs = _returns(one, variant, common), _returns(one, reference, common)
        our_area, their_area = area(one.levels, ours), area(one.levels, theirs)
        lost = our_area - ours[:, one.nominal], their_area - theirs[:, one.nominal]
        pairs = int(np.isfinite(our_area - their_area).sum())
        better, loses_less = _told(paired(our_area, their_area), pairs), _told(paired(*lost), pairs)
    return Finding(
        task=one.task,
        shift=one.shift.name,
        variant=variant,
        seeds=seeds,
        curve=tuple(mean_interval(column[np.isfinite(column)].tolist()) for column in returns.T),
        nominal=float(np.nanmean(nominal)) if np.isfinite(nominal).any() else math.nan,
        area=over,
        kept=(over.mean - one.random) / earned if earned > 0 else math.nan,
        half_below=_median_half(one, returns, above=False),
        half_above=_median_half(one, returns, above=True),
        broken=int(np.isnan(returns).sum()),
        pairs=pairs,
        better=better,
        loses_less=loses_less,
    )


def _returns(one: Measured, variant: str, seeds: Sequence[int]) -> np.ndarray:
    """Return mean returns `[seeds, L]`, nan where the simulator broke."""
    rows = (one.scores[variant][seed] for seed in seeds)
    values = [[math.nan if s.mean is None else s.mean for s in row] for row in rows]
    return np.array(values, float).reshape(len(seeds), len(one.levels))


def _median_half(one: Measured, returns: np.ndarray, *, above: bool) -> float:
    halves = [
        half_lost(one.levels, row, one.nominal, one.random, above=above) for row in returns.tolist()
    ]
    known = [value for value in halves if not math.isnan(value)]
    # Of two middle ones that where more is lost: a mean with what is infinite would say nothing.
    known.sort(key=lambda level: abs(level - one.levels[one.nominal]))
    return known[(len(known) - 1) // 2] if known else math.nan


def _told(difference: Difference, pairs: int) -> Difference:
    """Leave out the p-value of so few pairs that no verdict is given."""
    if pairs >= MIN_SEEDS:
        return difference
    return replace(difference, p_value=math.nan, p_adjusted=math.nan)


def _correct(found: list[Finding], where: Sequence[int], name: str) -> None:
    tested = [i for i in where if getattr(found[i], name) is not None]
    for i, adjusted in zip(
        tested, holm([getattr(found[i], name).p_value for i in tested]), strict=True
    ):
        difference = replace(getattr(found[i], name), p_adjusted=adjusted)
        found[i] = replace(found[i], **{name: difference})
