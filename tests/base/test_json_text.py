"""What is printed for programs is JSON, whatever numbers are in it."""

import json
import math

from robustpo.base.json_text import to_json


def test_what_json_has_no_word_for_becomes_null():
    data = {"a": math.nan, "b": [1, (math.inf, -math.inf)], "c": {"d": 2.5}, "e": "NaN"}

    def refuse(name):
        raise ValueError(name)

    found = json.loads(to_json(data), parse_constant=refuse)
    assert found == {"a": None, "b": [1, [None, None]], "c": {"d": 2.5}, "e": "NaN"}
    assert json.loads(to_json(data, indent=2)) == found
