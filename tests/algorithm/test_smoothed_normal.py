"""The log-density of normal plus uniform noise: exact at any width and distance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from algorithm.families import float32, float64, integrated, log_normal, single
from robustpo.algorithm.smoothed_normal import log_smoothed_normal

WIDTHS = [0.0, 1e-6, 1e-3, 0.05, 0.3, 0.8, 1.5, 1.99, 2.01, 3.0, 5.9, 6.1, 20.0, 100.0, 1e3]
DISTANCES = [0.0, 0.01, 0.5, 1.0, 2.9, 3.1, 5.0, 8.0, 12.0, 20.0, 40.0]

smoothed = jax.jit(log_smoothed_normal)
slopes = jax.jit(jax.vmap(jax.grad(log_smoothed_normal, argnums=(0, 1))))


def test_smoothed_normal_is_the_integral_at_any_width_and_distance():
    x, h = (grid.ravel() for grid in np.meshgrid(DISTANCES, WIDTHS))
    found = smoothed(*single(x, h))
    assert found.dtype == jnp.float32
    x, h = (float64(float32(grid)) for grid in (x, h))
    expected = np.array([integrated(*pair) for pair in zip(x, h, strict=True)])
    # A relative rounding of x moves a density as steep as x by x².
    steepness = np.where(np.abs(x) < h, 0, np.abs(x) - h) * np.abs(x)
    tolerance = 1e-6 * (2 + np.abs(expected) + steepness)
    assert (np.abs(found - expected) <= tolerance).all()
    np.testing.assert_array_equal(smoothed(*single(-x, h)), found)


def test_smoothed_normal_is_continuous_where_the_quadrature_hands_over():
    with jax.enable_x64(True):
        x, h, aside = jnp.linspace(0, 3, 31), jnp.linspace(0.05, 2, 40), 1e-9
        across_width = smoothed(x, jnp.full(31, 2 + aside)) - smoothed(x, jnp.full(31, 2 - aside))
        reach = 6 / h
        across_reach = smoothed(reach + aside, h) - smoothed(reach - aside, h)
    across_width, across_reach, x, reach = map(np.asarray, (across_width, across_reach, x, reach))
    # The slope in h is below 1/h + |x|, that in x below |x|; the rest is the quadrature's.
    assert (np.abs(across_width) < 2 * aside * (0.5 + x) + 1e-6).all()
    assert (np.abs(across_reach) < 2 * aside * reach + 1e-6).all()


@pytest.mark.parametrize("h", [0.0, 0.1, 1.0, 1.99, 2.01, 10.0])
def test_smoothed_normal_integrates_to_one(h):
    x = np.linspace(-h - 9, h + 9, 20_001)
    density = np.exp(float64(smoothed(*single(x, np.full_like(x, h)))))
    # The trapezoidal rule is exact here; float32's roundings average out.
    assert abs(scipy.integrate.trapezoid(density, x) - 1) < 2e-6


def test_smoothed_normal_has_the_slopes_of_the_integral():
    x, h = (grid.ravel() for grid in np.meshgrid(DISTANCES[:-1], WIDTHS[1:]))
    x, h = (float64(float32(grid)) for grid in (x, h))
    keep = np.abs(np.abs(x) - h) > 1e-3
    x, h = x[keep], h[keep]
    by_x, by_h = slopes(*single(x, h))
    # d/dx ∫ = [φ(x+h) − φ(x−h)]/2h and d/dh ∫ = [φ(x+h) + φ(x−h)]/2h − ∫/h, over ∫.
    value = np.array([integrated(*pair) for pair in zip(x, h, strict=True)])
    right, left = (np.exp(log_normal(x + s * h) - value) for s in (1, -1))
    slope = (right - left) / (2 * h)
    np.testing.assert_allclose(by_x, slope, rtol=1e-4, atol=1e-4)
    wide = h >= 0.05  # below, what is subtracted is too large for float64
    growth = (right + left) / (2 * h) - 1 / h
    np.testing.assert_allclose(by_h[wide], growth[wide], rtol=2e-4, atol=2e-4)
    # As h → 0: log φ(x) + (x² − 1) h²/6.
    narrow = h <= 1e-3
    near = narrow & (np.abs(x) < 4)
    np.testing.assert_allclose(by_h[near], ((x**2 - 1) * h / 3)[near], atol=1e-5)


def test_slopes_of_the_smoothed_normal_are_those_of_finite_differences_in_float64():
    with jax.enable_x64(True):
        x, h = (jnp.ravel(g) for g in jnp.meshgrid(jnp.array(DISTANCES) + 0.003, jnp.array(WIDTHS)))
        by_x, by_h = slopes(x, h)
        assert by_x.dtype == jnp.float64
        step = 1e-6 * jnp.maximum(1.0, x)
        slope = (smoothed(x + step, h) - smoothed(x - step, h)) / (2 * step)
        np.testing.assert_allclose(by_x, slope, rtol=1e-6, atol=1e-6)
        step = 1e-5 * jnp.maximum(h, 1e-3)
        inside = np.asarray((h > step) & (jnp.abs(h - 2) > 0.005))
        growth = (smoothed(x, h + step) - smoothed(x, h - step)) / (2 * step)
        np.testing.assert_allclose(by_h[inside], growth[inside], rtol=1e-4, atol=1e-4)


def test_smoothed_normal_and_its_slopes_are_finite_far_out():
    x = np.array([0.0, 1e-30, 1.0, 50.0, 200.0, 1e3, 9e3, 3e4, 1e6])
    x, h = (grid.ravel() for grid in np.meshgrid(np.concatenate([x, -x]), [*WIDTHS, 1e6, 1e12]))
    value = smoothed(*single(x, h))
    assert all(np.isfinite(values).all() for values in (value, *slopes(*single(x, h))))
