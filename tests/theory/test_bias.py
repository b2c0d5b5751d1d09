"""The bias of the gradient: zero where theory says so, the closed form where it does not."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from robustpo.algorithm.networks import action_distribution
from robustpo.theory.bias import OBJECTIVES, measure_bias
from robustpo.theory.estimates import cosine_interval, t_interval, zero_test
from theory.policies import SHAPE, coefficients, key, small_policy, small_rows

ALPHA = 0.4


def measure(noise_location=0.0):
    params = small_policy()
    rows = small_rows(params)
    numbers = coefficients(ALPHA, noise_location)
    found = measure_bias("small", params, rows, numbers, SHAPE, key=key(1), count=400)
    return params, rows, dict(zip(OBJECTIVES, found, strict=True))


@pytest.fixture(scope="module")
def unbiased():
    import jax

    with jax.enable_x64(True):
        return measure()


def test_the_means_parameters_have_no_bias(unbiased):
    for objective in OBJECTIVES[:3]:
        assert unbiased[2][objective].mean.p_value > 0.01


def test_the_bias_of_the_log_scale_is_the_closed_form(unbiased, float64):
    params, rows, found = unbiased
    per_dimension = ALPHA**2 / 3 * np.exp(-2 * np.asarray(params.log_std))
    raw = float((rows.weight * rows.raw_advantage).sum())
    for objective, factor in zip(OBJECTIVES[:3], (1.0, raw, 0.0), strict=True):
        for one, expected in zip(found[objective].log_std, factor * per_dimension, strict=True):
            assert one.predicted == pytest.approx(expected, abs=1e-12)
            half = one.bias.high - one.bias.mean
            # Four standard errors; half the interval is about two.
            assert abs(one.bias.mean - expected) < 2 * half
    assert not found["log-likelihood"].log_std[0].bias.covers(0.0)


def test_the_advantages_that_cancel_the_penalty_have_mean_zero(unbiased, float64):
    rows = unbiased[1]
    assert abs(float((rows.weight * rows.advantage).sum())) < 1e-15
    assert float(rows.weight.sum()) == pytest.approx(1)
    assert float(jnp.abs(rows.advantage[:7]).max()) == 0 and float(rows.weight[0]) == 0


def test_noise_that_is_shifted_is_found_to_bias_the_means_parameters(float64):
    found = measure(noise_location=0.05)[2]
    test = found["log-likelihood"].mean
    assert test.p_norm < 1e-6 and test.p_value < 1e-6
    assert test.unbiased_norm > test.noise_limit


def test_the_bias_of_the_ratio_is_that_of_the_mixture(unbiased, float64):
    """The mixture's gradient with respect to log σ, by quadrature over z, row by row."""
    params, rows, found = unbiased
    one = found["ratio × advantage"]
    assert one.agreement is not None and one.agreement > 0.01
    location = np.asarray(action_distribution(params, rows.obs, SHAPE).mode())
    sigma = np.exp(np.asarray(params.log_std))

    def gain(log_sigma, i):
        wide = np.array(sigma)
        wide[0] = np.exp(log_sigma)

        def average(j):
            x = rows.action[i, j] - location[i, j]
            mixture = integrate.quad(
                lambda z: stats.norm.pdf(float(x), z, wide[j]) / (2 * ALPHA), -ALPHA, ALPHA
            )[0]
            return mixture, stats.norm.pdf(float(x), 0, wide[j])

        pairs = [average(j) for j in range(2)]
        old = np.exp(float(rows.log_prob[i]))
        return (pairs[0][0] * pairs[1][0] - pairs[0][1] * pairs[1][1]) / old

    step, centre = 1e-4, np.log(sigma[0])
    expected = sum(
        float(rows.weight[i] * rows.advantage[i])
        * (gain(centre + step, i) - gain(centre - step, i))
        / (2 * step)
        for i in range(len(rows.weight))
        if rows.weight[i] > 0
    )
    assert one.log_std[0].predicted == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_clipping_biases_the_gradient(unbiased):
    one = unbiased[2]["clipped ratio × advantage"]
    assert one.mean.p_value < 1e-6 and one.predicted_norm is None and one.cosine.mean < 1


def test_results_do_not_depend_on_anything_but_the_key(float64):
    first, second = (dataclasses.asdict(measure()[2]["log-likelihood"]) for _ in range(2))
    assert first == second


def test_the_test_for_zero_is_wrong_as_often_as_it_says():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 300)) * np.array([5, 3, 1, 1, 1])[:, None]
    p_values = []
    for _ in range(300):
        noise = rng.normal(size=(40, 5)) @ mixing + 0.1 * rng.normal(size=(40, 300))
        p_values.append(zero_test(noise))
    # 5% of 300 is 15 with a standard deviation of 3.8; Bonferroni errs on the cautious side.
    assert 4 <= sum(one.p_norm < 0.05 for one in p_values) <= 30
    assert sum(one.p_largest < 0.05 for one in p_values) <= 26
    assert sum(one.p_value < 0.05 for one in p_values) <= 26


def test_lengths_of_the_test_for_zero():
    rng = np.random.default_rng(1)
    shift = np.full(100, 0.3)
    found = zero_test(shift + rng.normal(size=(500, 100)))
    # ‖shift‖ = 3, tr Σ/K = 100/500.
    assert found.unbiased_norm == pytest.approx(3.0, rel=0.03)
    assert found.noise_norm == pytest.approx(np.sqrt(0.2), rel=0.03)
    assert found.p_value < 1e-9
    assert zero_test(np.zeros((5, 3))).p_value == 1.0
    assert zero_test(np.ones((5, 3))).p_value == 0.0


def test_the_cosine_is_not_made_smaller_by_noise():
    rng = np.random.default_rng(2)
    mean = np.zeros(400)
    mean[:2] = 3, 4
    direction = np.zeros(400)
    direction[0] = 2.0
    found = cosine_interval(mean + rng.normal(size=(300, 400)), direction)
    assert found.low < 0.6 < found.high and found.high - found.low < 0.1


def test_a_t_interval_by_hand():
    # Mean 2, s = 1, t(0.975; 2 degrees) = 4.302653: half-width 4.302653/√3.
    found = t_interval(np.array([1.0, 2.0, 3.0]))
    assert found.mean == 2 and found.high - 2 == pytest.approx(2.484138, abs=1e-6)
