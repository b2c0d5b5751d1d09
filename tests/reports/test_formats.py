"""How numbers are written."""

from robustpo.reports.formats import decimals, format_p, format_value, join_words


def test_decimals_follow_the_largest_mean():
    assert decimals([[783.2], [0.1]]) == 0
    assert decimals([[-45.0]]) == 1
    assert decimals([[0.5]]) == 3
    assert decimals([[0.0], []]) == 0


def test_numbers_read_well():
    assert format_value(-0.2, 0) == "0"
    assert format_value(1.5e9, 0) == "1.5e+09"
    assert format_value(float("nan"), 0) == "n/a"
    assert format_p(0.0004) == "p < 0.001"
    assert format_p(0.0496) == "p = 0.049"
    assert format_p(0.5) == "p = 0.50"


def test_words_are_joined_as_they_are_spoken():
    assert join_words([]) == ""
    assert join_words(["a", "b"], "or") == "a or b"
    assert join_words(["a", "b", "c"]) == "a, b and c"
