"""The verdict's sentence in every case it distinguishes."""

import pytest

from robustpo.reports.verdict import decimals, format_p, format_value, verdict

SETUP = {"task": "Walker", "steps": "8M", "time_limit": "terminal"}
LOW = [100.0, 110.0, 120.0, 130.0, 140.0]
HIGH = [500.0, 510.0, 520.0, 530.0, 540.0]


def test_a_clear_difference():
    # Means 120 and 520, variances 250 each: se = √(250/5 + 250/5) = 10, df = 8,
    # t_{0.975, 8} = 2.306004, so 400 ± 23.06.
    sentence = verdict({"ppo": LOW, "rpo": HIGH}, **SETUP)
    assert sentence == (
        "On Walker, rpo ended 400 above ppo in final return (mean of the last 100 training "
        "episodes): 95% Welch interval 377 to 423, p < 0.001; 5 seeds each, 8M steps, time "
        "limit terminal."
    )


def test_a_clear_difference_the_other_way():
    sentence = verdict({"ppo": HIGH, "rpo": LOW}, **SETUP)
    assert "rpo ended 400 below ppo" in sentence
    assert "interval -423 to -377" in sentence


def test_no_difference_is_called_so():
    shifted = [value + 5 for value in LOW]
    sentence = verdict({"ppo": LOW, "rpo": shifted}, **SETUP)
    # t = 5/10 with 8 degrees of freedom: p = 0.63.
    assert "no difference could be shown between rpo and ppo: rpo ended 5 above ppo" in sentence
    assert "p = 0.63" in sentence


@pytest.mark.parametrize("short", ["ppo", "rpo"])
def test_too_few_seeds_give_no_verdict(short):
    returns = {"ppo": LOW, "rpo": HIGH}
    returns[short] = returns[short][:4]
    sentence = verdict(returns, **SETUP)
    assert "no verdict: the single seeds are shown, and at least 5 completed seeds" in sentence
    assert "above" not in sentence
    assert f"{short} 4" in sentence


def test_the_best_of_several_is_said_to_be_chosen():
    returns = {"rpo_alpha-1": LOW, "ppo": LOW, "rpo": HIGH, "bad": [v - 300 for v in LOW]}
    sentence = verdict(returns, **SETUP)
    assert "rpo, chosen as the best of 3 variants compared with ppo, ended 400 above it" in sentence
    assert "Holm-adjusted p < 0.001" in sentence
    assert "of the 3, 1 could be shown to be above and 1 below ppo" in sentence


def test_the_best_of_several_may_show_no_difference():
    returns = {"ppo": LOW, "a": [v + 3 for v in LOW], "b": [v + 5 for v in LOW]}
    sentence = verdict(returns, **SETUP)
    assert "no difference could be shown between b and ppo: b, chosen as the best of 2" in sentence


def test_seeds_that_all_agree_allow_no_test():
    sentence = verdict({"ppo": [0.0] * 5, "rpo": [1000.0] * 5}, **SETUP)
    assert "rpo ended 1000 above ppo" in sentence
    assert "agree each at its own value, so there is no interval and no test" in sentence
    same = verdict({"ppo": [3.0] * 5, "rpo": [3.0] * 5}, **SETUP)
    assert "no difference could be shown between rpo and ppo: rpo ended equal to ppo" in same


def test_one_variant_has_nothing_to_be_compared_with():
    sentence = verdict({"rpo": HIGH}, **SETUP)
    assert "no verdict: there is one variant (rpo, 5 seeds), nothing to compare" in sentence


def test_decimals_follow_the_largest_mean():
    assert decimals({"a": [783.2], "b": [0.1]}) == 0
    assert decimals({"a": [-45.0]}) == 1
    assert decimals({"a": [0.5]}) == 3
    assert decimals({"a": [0.0], "b": []}) == 0


def test_numbers_read_well():
    assert format_value(-0.2, 0) == "0"
    assert format_value(1.5e9, 0) == "1.5e+09"
    assert format_value(float("nan"), 0) == "n/a"
    assert format_p(0.0004) == "p < 0.001"
    assert format_p(0.0496) == "p = 0.049"
    assert format_p(0.5) == "p = 0.50"
