"""The sentences in every case that they distinguish: what a person would say, and no more."""

import numpy as np
import pytest

from robustpo.reports.decision import decide
from robustpo.reports.verdict import suite_sentence, task_sentence, worth

LOW = [100.0, 110.0, 120.0, 130.0, 140.0]
HIGH = [500.0, 510.0, 520.0, 530.0, 540.0]
CLOSE = [value + 5 for value in LOW]


def decided(*tasks):
    """Decide on tasks `t0`, `t1`, … of returns by variant, the first of which is the reference."""
    returns = {
        f"t{number}": {name: np.array(values) for name, values in task.items()}
        for number, task in enumerate(tasks)
    }
    variants = tuple(dict.fromkeys(name for task in tasks for name in task))
    return decide(returns, variants, variants[0]), variants


def on_one_task(returns):
    decisions, variants = decided(returns)
    return task_sentence("Walker", decisions, {name: name for name in variants}, 0)


def on_tasks(*tasks):
    decisions, variants = decided(*tasks)
    asked = {name: sum(name in task for task in tasks) for name in variants[1:]}
    return suite_sentence(decisions, asked, variants[0], {name: name for name in variants})


def test_a_clear_difference():
    # Means 120 and 520, variances 250 each: se = √(250/5 + 250/5) = 10, df = 8,
    # t_{0.975, 8} = 2.306004, so 400 ± 23.06; 2 of 252 divisions are as far apart.
    assert on_one_task({"ppo": LOW, "rpo": HIGH}) == (
        "On Walker, rpo is better than ppo: its mean final return is 400 higher (95% interval of "
        "the difference 377 to 423; Welch's test p < 0.001, permutation test p = 0.008)."
    )


def test_a_clear_difference_the_other_way():
    sentence = on_one_task({"ppo": HIGH, "rpo": LOW})
    assert "rpo is worse than ppo: its mean final return is 400 lower" in sentence
    assert "difference -423 to -377" in sentence


def test_no_difference_is_called_so():
    # t = 5/10 with 8 degrees of freedom: p = 0.63.
    assert on_one_task({"ppo": LOW, "rpo": CLOSE}).startswith(
        "On Walker, no difference between rpo and ppo was shown: rpo's mean final return is 5 "
        "higher (95% interval of the difference -18 to 28; Welch's test p = 0.63, permutation"
    )


def test_tests_that_disagree_are_said_to():
    sentence = on_one_task({"ppo": [0.0, 4, 2, 1, 5], "rpo": [6.0, 7, 3, 4, 7]})
    assert "no difference between rpo and ppo was shown" in sentence
    assert "p = 0.041, permutation test p = 0.063; only one of the two" in sentence


@pytest.mark.parametrize("short", ["ppo", "rpo"])
def test_too_few_seeds_give_no_verdict(short):
    returns = {"ppo": LOW, "rpo": HIGH}
    returns[short] = returns[short][:4]
    assert on_one_task(returns) == (
        "On Walker, no verdict on rpo against ppo: a verdict takes at least 5 finished seeds on "
        f"either side, and {short} has 4 seeds."
    )


def test_of_several_the_best_is_said_to_be_the_best():
    returns = {"ppo": LOW, "rpo_alpha-1": LOW, "rpo": HIGH, "bad": [v - 300 for v in LOW]}
    sentence = on_one_task(returns)
    assert sentence.startswith(
        "On Walker, rpo is better than ppo; bad is worse than ppo; no difference between ppo and "
        "rpo_alpha-1 was shown. Of these 3, rpo has the best mean, 400 higher than ppo's ("
    )
    assert "Welch's test (Holm-adjusted) p < 0.001" in sentence


def test_a_method_without_a_verdict_does_not_take_it_from_the_others():
    sentence = on_one_task({"ppo": LOW, "rpo": HIGH, "x": HIGH[:4]})
    assert "rpo is better than ppo" in sentence
    assert "; no verdict on x against ppo: a verdict takes at least 5" in sentence


def test_seeds_that_all_agree_allow_no_test():
    sentence = on_one_task({"ppo": [0.0] * 5, "rpo": [1000.0] * 5})
    assert "no verdict on rpo against ppo: no seed of a method differs from its others" in sentence
    assert "rpo's mean final return is 1000 higher (permutation test p = 0.008)" in sentence
    same = on_one_task({"ppo": [3.0] * 5, "rpo": [3.0] * 5})
    assert "no difference between rpo and ppo was shown: their mean final returns are eq" in same


def test_one_variant_has_nothing_to_be_compared_with():
    assert on_one_task({"rpo": HIGH}) == "On Walker, no verdict: rpo alone, nothing to compare."
    assert on_tasks({"rpo": HIGH}, {"rpo": HIGH}) == "rpo alone: nothing to compare."


def test_several_tasks_without_any_difference():
    tasks = [{"ppo": LOW, "rpo": CLOSE}, {"ppo": LOW, "rpo": CLOSE}, {"ppo": CLOSE, "rpo": LOW}]
    assert on_tasks(*tasks) == (
        "No difference between ppo and rpo shown on 3 tasks; rpo's mean is higher on 2."
    )
    assert on_tasks(*(task | {"x": LOW} for task in tasks)) == (
        "No difference between ppo and rpo or x shown on 3 tasks; their means are higher on 2 and "
        "0."
    )
    assert on_tasks(tasks[0], {"ppo": LOW, "rpo": LOW[:4]}) == (
        "No difference between ppo and rpo shown on 1 task; rpo's mean is higher on 1 (no verdict "
        "on 1)."
    )


def test_several_tasks_with_everything():
    tasks = [
        {"ppo": LOW, "rpo": HIGH, "x": LOW},
        {"ppo": HIGH, "rpo": LOW, "x": LOW},
        {"ppo": LOW, "rpo": CLOSE, "x": LOW[:3]},
        {"ppo": LOW, "rpo": LOW[:3], "x": LOW[:3]},
    ]
    assert on_tasks(*tasks) == (
        "rpo is better than ppo on 1 and worse on 1 of 4 tasks, with no difference shown on 1 (its "
        "mean is higher on 1), and no verdict on 1; x is worse than ppo on 1 of 4 tasks, with no "
        "difference shown on 1 (its mean is higher on 0), and no verdict on 2."
    )


def test_several_tasks_without_a_verdict():
    few = {"ppo": LOW[:2], "rpo": HIGH[:2]}
    assert on_tasks(few, few) == "No verdict on rpo on any of 2 tasks."


def test_few_seeds_are_said_to_be_few():
    decisions, _ = decided({"ppo": LOW, "rpo": HIGH})
    text = worth(decisions)
    assert text.startswith("What a verdict of 5 seeds is worth")
    # 1 - 0.7⁵ - 0.3⁵ = 0.83.
    assert "83 times in 100" in text and "p is at least 0.008" in text
    assert worth(decided({"ppo": LOW, "rpo": HIGH[:4]})[0]) == ""
    assert worth(decided({"ppo": LOW + HIGH, "rpo": LOW + HIGH})[0]) == ""
