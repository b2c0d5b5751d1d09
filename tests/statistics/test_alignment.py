"""Curves of several seeds on one grid."""

import math

import numpy as np
import pytest

from robustpo.statistics.alignment import Curve, mean_band


def curve(steps, values):
    return Curve(np.array(steps, dtype=float), np.array(values, dtype=float))


def test_band_by_hand_on_a_shared_grid():
    band = mean_band([curve([1, 2], [0, 1]), curve([1, 2], [2, 2]), curve([1, 2], [1, 3])])
    assert band is not None
    # Both columns are {0, 1, 2} and {1, 2, 3}: standard deviation 1.
    half = 4.302653 / math.sqrt(3)
    assert band.mean == pytest.approx([1, 2])
    assert band.low == pytest.approx([1 - half, 2 - half], abs=1e-6)
    assert band.high == pytest.approx([1 + half, 2 + half], abs=1e-6)


def test_different_grids_are_interpolated_on_the_common_range_only():
    band = mean_band([curve([0, 10, 20], [0, 10, 20]), curve([5, 15, 40], [0, 10, 10])])
    assert band is not None
    assert band.steps.tolist() == [5, 10, 15, 20]
    assert band.mean == pytest.approx([2.5, 7.5, 12.5, 15.0])


def test_one_seed_has_no_interval():
    band = mean_band([curve([1, 2], [3, 4])])
    assert band is not None
    assert band.mean.tolist() == [3, 4]
    assert np.isnan(band.low).all()


def test_nothing_in_common_has_no_mean():
    assert mean_band([curve([1, 2], [0, 0]), curve([3, 4], [0, 0])]) is None
    assert mean_band([]) is None
