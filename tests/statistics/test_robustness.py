"""Areas, where half is lost, and paired tests: by hand and by SciPy's own."""

import math

import numpy as np
import pytest
from scipy import stats

from robustpo.statistics.robustness import area, half_lost, paired


def test_the_area_is_the_mean_over_the_range():
    # 10 to 4 over one unit, then 4 to 0 over three: (7 · 1 + 2 · 3) / 4.
    assert area((0, 1, 4), np.array([10.0, 4.0, 0.0])) == pytest.approx(13 / 4)
    assert area((0, 1, 4), np.full((2, 3), 5.0)).tolist() == [5.0, 5.0]
    assert area((1,), np.array([[3.0], [4.0]])).tolist() == [3.0, 4.0]
    assert math.isnan(area((0, 1), np.array([1.0, math.nan])))


@pytest.mark.parametrize(
    ("returns", "floor", "above", "expected"),
    [
        # Of 8 above 2, half is lost at 6: halfway from 8 at 2 to 4 at 3.
        ((5.0, 10.0, 8.0, 4.0), 2.0, True, 2.5),
        # On the other side, 5 at 0 is below 6, which lies a fifth of the way from it to 10.
        ((5.0, 10.0, 8.0, 4.0), 2.0, False, 0.2),
        ((9.0, 10.0, 9.0, 9.0), 0.0, True, math.inf),
        ((9.0, 10.0, 9.0, 9.0), 0.0, False, -math.inf),
        # Returns below zero: -200 earns 1,000 above -1,200, and -700 is half.
        ((-200.0, -200.0, -700.0, -1200.0), -1200.0, True, 2.0),
        # The simulator breaks: all is lost there.
        ((9.0, 10.0, math.nan, 9.0), 0.0, True, 2.0),
        # Nothing is earned.
        ((1.0, 1.0, 1.0, 1.0), 1.0, True, math.nan),
        ((math.nan, math.nan, 1.0, 1.0), 0.0, True, math.nan),
    ],
)
def test_half_is_lost_where_a_line_between_levels_says(returns, floor, above, expected):
    found = half_lost((0, 1, 2, 3), returns, 1, floor, above=above)
    assert found == pytest.approx(expected, nan_ok=True)


def test_there_may_be_no_level_on_a_side():
    assert math.isnan(half_lost((0, 1), (1.0, 0.0), 0, 0.0, above=False))


def test_pairs_are_compared_as_scipy_does():
    rng = np.random.default_rng(3)
    a, b = rng.normal(1, 1, 7), rng.normal(0.5, 1, 7)
    found, known = paired(a, b), stats.ttest_rel(a, b)
    assert found.mean == pytest.approx(float(np.mean(a) - np.mean(b)))
    assert found.p_value == pytest.approx(float(known.pvalue))
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_pairs_that_are_not_there_do_not_count():
    assert paired([1.0, 2.0, math.nan], [0.0, 0.0, 5.0]).mean == 1.5
    assert math.isnan(paired([1.0], [0.0]).p_value)
    assert paired([1.0, 1.0], [1.0, 1.0]).p_value == 1.0
    assert math.isnan(paired([2.0, 2.0], [1.0, 1.0]).p_value)
    assert math.isnan(paired([], []).mean)
