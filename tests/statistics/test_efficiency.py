"""Areas, steps to a mark and the return of the last episodes, by hand and against a loop."""

import math

import numpy as np
import pytest

from robustpo.statistics.alignment import Curve
from robustpo.statistics.efficiency import area_under_curve, recent_return, steps_to_reach


def test_area_weighs_steps_and_not_rows():
    # 2 · 1/2 over one step and 2 over nine.
    curve = Curve(np.array([0, 1, 10]), np.array([0.0, 2.0, 2.0]))
    assert area_under_curve(curve) == pytest.approx((1 + 18) / 10)
    assert area_under_curve(Curve(np.array([5]), np.array([3.0]))) == 3


def test_first_step_at_or_above():
    curve = Curve(np.array([1, 2, 3]), np.array([0.0, 5.0, 1.0]))
    assert steps_to_reach(curve, 5.0) == 2
    assert steps_to_reach(curve, -1.0) == 1
    assert steps_to_reach(curve, 5.1) is None
    assert steps_to_reach(curve, math.nan) is None
    # A mean that misses by rounding only has reached it, also below zero.
    assert steps_to_reach(curve, 5.0 + 1e-12) == 2
    negative = Curve(np.array([1]), np.array([-5.0 - 1e-12]))
    assert steps_to_reach(negative, -5.0) == 1


def test_recent_return_against_a_loop_over_episodes():
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 6, 40)
    counts[:2], counts[-1] = 0, 3
    rows = [np.full(n, generator.normal()) for n in counts]
    returns = np.array([row[0] if len(row) else math.nan for row in rows])
    final = float(np.concatenate(rows)[-20:].mean())
    steps = np.arange(40)
    curve = recent_return(steps, returns, np.cumsum(counts).astype(float), final, window=20)
    first = int(np.argmax(counts > 0))
    assert curve.steps.tolist() == list(range(first, 40))
    loop = [np.concatenate(rows[: i + 1])[-20:].mean() for i in range(first, 40)]
    assert curve.values == pytest.approx(loop)
