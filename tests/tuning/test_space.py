"""What is searched, and how long runs may be for a budget."""

import math

import pytest

from robustpo.config.run import make_config
from robustpo.errors import ConfigError
from robustpo.tuning.plan import make_plan, parse_budget
from robustpo.tuning.space import Dimension, grid, parse_dimension


def test_the_way_from_end_to_end_is_in_ratios_where_these_count():
    alpha = Dimension("alpha", 0.01, 1.0)
    assert [alpha.at(share) for share in (0.0, 0.5, 1.0)] == [0.01, 0.1, 1.0]
    value = Dimension("value_coef", 0.5, 1.0)
    assert [value.at(share) for share in (0.0, 0.5, 1.0)] == [0.5, 0.75, 1.0]
    # Half the way from 0.9 to 0.999 is by the square root of 1/100 closer to 1.
    gamma = Dimension("gamma", 0.9, 0.999)
    assert gamma.at(0.0) == pytest.approx(0.9)
    assert gamma.at(0.5) == pytest.approx(0.99)
    assert gamma.at(1.0) == pytest.approx(0.999)
    # Never beyond the ends, whatever three digits make of them.
    assert Dimension("alpha", 0.012345, 1.0).at(0.0) == 0.012345
    assert Dimension("alpha", 0.01, 2.0).at(1 / 3) == float(f"{0.01 * 200 ** (1 / 3):.3g}")


def test_ends_of_ones_own_are_read():
    assert parse_dimension("alpha=0.1:1") == Dimension("alpha", 0.1, 1.0)
    assert parse_dimension("learning-rate").name == "learning_rate"
    assert parse_dimension("kl_target=0.01:0.1") == Dimension("kl_target", 0.01, 0.1)


@pytest.mark.parametrize("text", ["kl_target", "alpha=1", "alpha=1:x", "alpha=2:1", "alpha=0:inf"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(ConfigError, match="over="):
        parse_dimension(text)


def test_a_grid_has_every_combination():
    found = grid([Dimension("alpha", 0.01, 1.0), Dimension("value_coef", 0.5, 1.0)], 3)
    assert len(found) == len({tuple(one.items()) for one in found}) == 9
    assert found[0] == {"alpha": 0.01, "value_coef": 0.5}
    assert found[-1] == {"alpha": 1.0, "value_coef": 1.0}
    assert grid([Dimension("alpha", 0.01, 1.0)], 1) == [{"alpha": 0.1}]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172_800)]
)
def test_budgets_are_times(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "0m", "-1h", "m", "1w", "nan"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ConfigError, match="budget="):
        parse_budget(text)


def plan(budget=3600.0, per_step: float | None = 1e-5, steps: int | None = None):
    return make_plan(
        make_config("Pendulum-v1", steps=10**7),
        budget=budget,
        per_step=per_step,
        workers=2,
        seeds=2,
        confirmed=15,
        steps=steps,
    )


def test_the_length_lets_eight_whole_settings_be_tried_and_the_best_be_confirmed():
    # 7,200 s of two workers would do for 23M steps of 8 · 2 + 15 runs of 10 µs a step.
    assert plan().steps == 7_999_488
    short = plan(budget=600.0)
    assert short.steps == pytest.approx(1200 / 31 * 1e5, rel=0.01)
    assert short.steps % 2048 == 0
    assert short.selection == pytest.approx(600 - 15 * short.steps * 1e-5 / 2 - 12)
    assert plan(steps=1_000_000).steps == 999_424


def test_a_budget_that_is_too_small_says_what_fits():
    with pytest.raises(ConfigError, match=r"too small: .* --steps \d+ would fit") as caught:
        plan(budget=120.0, steps=8_000_000)
    text = str(caught.value)
    fits = int(text.partition("--steps ")[2].partition(" ")[0])
    assert plan(budget=120.0, steps=fits).steps == fits


def test_a_task_of_unknown_speed_needs_a_length():
    with pytest.raises(ConfigError, match="--steps"):
        plan(per_step=None)
    assert plan(per_step=None, steps=50_000).selection == 3600


def test_nothing_here_is_infinite():
    assert math.isfinite(plan().selection)
