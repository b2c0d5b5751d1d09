"""How fast a run learns: when its curve reaches a mark, its area, and the return that is watched.

The curve that is watched is the mean return of the last episodes, which at the end of a run is its
final return. Single rows of metrics can be of two episodes, and the first of many noisy rows to
pass a mark passes it too early.
"""

from __future__ import annotations

import numpy as np

from robustpo.statistics.alignment import Curve

# Means of the same numbers in another order differ by rounding.
_EQUAL = 1e-9


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
    window: int,
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
