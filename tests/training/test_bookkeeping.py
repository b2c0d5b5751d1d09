"""What is remembered of an agent: rows, their averages, recent returns."""

import math

import pytest

from robustpo.config.run import make_config
from robustpo.training.bookkeeping import AVERAGED, AgentLog


def make_log(iterations):
    return AgentLog(make_config("Pendulum-v1", steps=2048 * iterations))


def metrics(value) -> dict[str, float]:
    return {name: value for name in AVERAGED}


def full_row(log, seconds):
    row = log.take_row(seconds)
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("iterations", "rows", "last_step"),
    [
        (1, 1, 2048),
        (500, 500, 500 * 2048),
        (501, 251, 501 * 2048),  # two iterations a row, and one left over
        (3906, 489, 3906 * 2048),  # the published 8M steps: eight a row, two left over
    ],
)
def test_at_most_500_rows_and_none_lost(iterations, rows, last_step):
    log, taken = make_log(iterations), []
    for i in range(iterations):
        log.add(2048, [], [], metrics(0.0))
        row = log.take_row(float(i), final=i == iterations - 1)
        taken += [row] if row else []
    assert len(taken) == rows
    assert taken[-1]["step"] == last_step
    assert log.take_row(0.0, final=True) is None


def test_a_row_averages_over_its_iterations():
    log = make_log(1200)  # three iterations a row
    log.add(2046, [10.0, 20.0], [5, 7], metrics(1.0))
    assert log.take_row(0.5) is None
    log.add(2048, [], [], metrics(2.0))
    log.add(2047, [60.0], [9], metrics(6.0))
    row = full_row(log, 2.5)
    assert row["step"] == 3 * 2048
    assert row["transitions"] == 2046 + 2048 + 2047
    assert (row["seconds"], row["episodes"]) == (2.5, 3)
    assert (row["return_mean"], row["length_mean"]) == (30.0, 7.0)
    assert all(row[name] == 3.0 for name in AVERAGED)
    for _ in range(3):
        log.add(2048, [5.0], [1], metrics(4.0))
    row = full_row(log, 3.0)
    assert (row["step"], row["episodes"], row["return_mean"]) == (6 * 2048, 6, 5.0)
    assert all(row[name] == 4.0 for name in AVERAGED)


def test_without_an_episode_there_is_no_return():
    log = make_log(2)
    log.add(2048, [], [], metrics(1.0))
    row = full_row(log, 1.0)
    assert math.isnan(row["return_mean"]) and math.isnan(row["length_mean"])
    assert math.isnan(log.final_return)


def test_what_is_not_finite_leaves_the_average_alone():
    log = make_log(1200)
    for value in (1.0, math.nan, 3.0):
        log.add(2048, [], [], metrics(value))
    assert full_row(log, 1.0)["explained_variance"] == 2.0
    for _ in range(3):
        log.add(2048, [], [], metrics(math.nan))
    assert math.isnan(full_row(log, 1.0)["explained_variance"])


def test_the_final_return_is_the_mean_of_the_last_100_episodes():
    log = make_log(10)
    log.add(2048, [float(i) for i in range(60)], [1] * 60, metrics(0.0))
    assert log.final_return == 29.5  # (0 + … + 59) / 60
    log.add(2048, [float(i) for i in range(60, 150)], [1] * 90, metrics(0.0))
    assert log.final_return == 99.5  # (50 + … + 149) / 100
