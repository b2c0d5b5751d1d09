"""The page of a study as text: nothing escapes, nothing is loaded, the policy fits, it is small."""

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from reports.page_examples import example_study
from reports.summaries import summary_of
from robustpo.errors import StorageError
from robustpo.reports.page import colour_rules, render_page, write_page
from robustpo.reports.page_data import (
    ALPHABET,
    PageData,
    embedded_json,
    pack_line,
    page_of,
    run_address,
)
from robustpo.reports.style import PPO_COLOUR, RPO_COLOUR, method_looks

TASKS = [("dmc", "dmc/walker-walk"), ("gym", "Humanoid-v4")]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\u2028\"'$data"


class Elements(HTMLParser):
    """Collects elements, and the texts of styles and scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.is_open = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.is_open = True

    def handle_endtag(self, tag):
        self.is_open = False

    def handle_data(self, data):
        if self.is_open:
            tag, attributes = self.tags[-1]
            key = attributes.get("id") or tag
            self.texts[key] = self.texts.get(key, "") + data


def example() -> PageData:
    return example_study(TASKS, ["ppo", "rpo"], seeds=2, points=3)


def hostile_study():
    data = example_study([(HOSTILE, HOSTILE)], ["ppo", HOSTILE], seeds=2, points=3)
    for name in ("title", "sentence", "setup", "worth", "command"):
        data[name] = HOSTILE
    data["notes"] = data["rules"] = [HOSTILE]
    data["provenance"] = {
        "generated": HOSTILE,
        "versions": {HOSTILE: HOSTILE},
        "machine": HOSTILE,
    }
    data["settings"] = [
        {"name": HOSTILE, "values": [HOSTILE, "1"]},
        {"name": HOSTILE, "values": [HOSTILE] * 2},
    ]
    for cell in data["cells"]:
        cell["command"] = cell["left_out"] = HOSTILE
    return data


def test_no_text_becomes_an_element():
    data = example()
    data["notes"] = ["x"]
    benign, hostile = Elements(render_page(data)), Elements(render_page(hostile_study()))
    assert {tag for tag, _ in hostile.tags} == {tag for tag, _ in benign.tags}
    assert [tag for tag, _ in hostile.tags].count("script") == 2
    assert not any(name.startswith("on") for _, attrs in hostile.tags for name in attrs)


def test_embedded_json_has_no_sign_that_ends_a_script_and_loses_nothing():
    text = embedded_json(hostile_study())
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text)["tasks"][0]["id"] == HOSTILE


def test_the_policy_allows_exactly_the_inline_style_and_script():
    page = Elements(render_page(example()))
    (policy,) = [
        attrs["content"]
        for tag, attrs in page.tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    expected = {"default-src 'none'", "base-uri 'none'", "form-action 'none'"}
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.texts[kind].encode()).digest()).decode()
        expected.add(f"{kind}-src 'sha256-{digest}'")
    assert set((policy or "").split("; ")) == expected


def test_nothing_is_loaded_and_nothing_is_parsed_as_html():
    html = render_page(example())
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:|//)""", html)
    assert {"link", "img", "iframe"}.isdisjoint(tag for tag, _ in Elements(html).tags)
    script = Elements(html).texts["script"]
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(|XMLHttp"
    assert not re.findall(forbidden, script)


def test_without_javascript_there_are_the_sentence_and_a_table():
    data = example()
    data["sentence"] = "rpo > ppo"
    for cell in data["cells"]:
        cell["mean"], cell["std"] = 783.4, 21.2
    html = render_page(data)
    assert '<p class="sentence" dir="auto">rpo &gt; ppo</p>' in html
    plain = html[html.index("<noscript>") : html.index("</noscript>")]
    assert plain.count("783 ± 21 (n = 2)") == 2
    assert plain.count("783 ± 21 (n = 2, no verdict)") == 2
    assert '<th scope="row"><bdi>dmc/walker-walk</bdi></th>' in plain


def test_a_page_of_twelve_tasks_is_well_below_a_mebibyte():
    tasks = [("dmc", f"dmc/task-{number}") for number in range(12)]
    methods = ["ppo", "ppo-entropy", "rpo", "rpo-annealed"]
    assert len(render_page(example_study(tasks, methods)).encode()) < 500 * 1024


def test_equal_steps_are_stored_once(tmp_path):
    same = {"ppo": {0: [1.0, 2, 3]}, "rpo": {0: [1.0, 2, 4]}}
    page = page_of(summary_of(same), tmp_path / "index.html", "")
    assert page["steps"] == [[10, 20, 30]]
    assert [curve["steps"] for curve in page["curves"]] == [0, 0]
    other = page_of(summary_of(same | {"rpo": {0: [1.0, 2]}}), tmp_path / "index.html", "")
    assert other["steps"] == [[10, 20, 30], [10, 20]]


def test_a_cell_has_both_tests_in_words(tmp_path):
    # As in test_verdict: 400 ± 23, and 2 of 252 divisions are as far apart.
    low = {seed: [100.0 + 10 * seed] for seed in range(5)}
    high = {seed: [500.0 + 10 * seed] for seed in range(5)}
    page = page_of(summary_of({"ppo": low, "rpo": high}), tmp_path / "index.html", "")
    ppo, rpo = page["cells"]
    assert ppo["difference"] is None and ppo["improvement"] is None
    difference = rpo["difference"]
    assert (difference["mean"], difference["verdict"]) == (400, "win")
    assert (difference["pText"], difference["permutationText"]) == ("p < 0.001", "p = 0.008")
    few = page_of(summary_of({"ppo": low, "rpo": {0: [1.0]}}), tmp_path / "index.html", "")
    none = few["cells"][1]["difference"]
    assert (none["p"], none["pText"], none["verdict"]) == (None, "", "none")


def test_a_line_keeps_its_ends_its_gaps_and_its_values():
    # Levels 0, 1365 = 21·64 + 21 (a third of 4095) and 4095 = 63·64 + 63.
    assert pack_line([-1.0, None, 0.0, 2.0]) == [-1, 2, "AA..VV//"]
    assert pack_line([-1.0, math.nan, 0.0, 2.0]) == [-1, 2, "AA..VV//"]
    assert ALPHABET[21] == "V"


@pytest.mark.parametrize("values", [[], [None], [5.0, 5.0]])
def test_lines_without_extent(values):
    low, high, text = pack_line(values)
    assert low == high == (5 if 5.0 in values else 0)
    assert len(text) == 2 * len(values)


def test_a_number_that_is_not_finite_is_refused():
    data = example()
    data["cells"][0]["mean"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        render_page(data)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("runs/a b/seed-0", "./runs/a%20b/seed-0"),
        ("../runs/x", "./../runs/x"),
        ("javascript:alert(1)", "./javascript%3Aalert%281%29"),
        ("//host/x", "file:///host/x"),
        ("/data/runs/50%", "file:///data/runs/50%25"),
        ('a?b#c"', "./a%3Fb%23c%22"),
    ],
)
def test_addresses_of_runs_stay_paths(path, address):
    assert run_address(path) == address
    assert unquote(address).endswith(path.lstrip("/"))


def test_colours_are_those_of_the_figures_and_all_differ():
    looks = method_looks(["ppo-entropy", "rpo", "x", "ppo"])
    assert looks[1].light == RPO_COLOUR and looks[3].light == PPO_COLOUR
    many = method_looks([f"method-{number}" for number in range(20)])
    assert len({(look.light, look.dash) for look in many}) == 20
    assert f"--method-0: light-dark({PPO_COLOUR}, " in colour_rules(["ppo"])


def test_dark_colours_stand_out_from_a_dark_page():
    # WCAG: contrast is (lighter + 0.05) / (darker + 0.05) of relative luminances.
    ground = luminance("#14171c")
    for look in method_looks(["ppo", "rpo", *"abcde"]):
        assert (luminance(look.dark) + 0.05) / (ground + 0.05) > 4.5


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_writing_replaces_the_file_and_says_what_went_wrong(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    assert write_page(example(), path) == path
    assert path.read_text(encoding="utf-8") == render_page(example())
    with pytest.raises(StorageError):
        write_page(example(), tmp_path / "missing" / "page.html")


def test_names_that_are_no_unicode_are_still_written(tmp_path):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    data = example_study([("dmc", name)], ["ppo", "rpo"], seeds=2, points=3)
    assert write_page(data, tmp_path / "page.html").stat().st_size > 0
