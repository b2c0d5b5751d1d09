"""The page of a study in a real browser: what a reader does with it, and what must not happen."""

import base64
import io
import json
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from reports.page_browser import (
    background,
    chromium,
    click,
    count,
    emulate_scheme,
    resize,
    texts,
    wait_for,
)
from reports.page_examples import example_study
from reports.robustness_examples import results
from robustpo.reports.page import write_page
from robustpo.reports.page_data import pack_line
from robustpo.reports.robustness import section

# Selenium's names of keys, which are plain characters; it may not be installed here.
ENTER, ESCAPE, HOME, ARROW_RIGHT = "\ue007", "\ue00c", "\ue011", "\ue014"
TASKS = [("dmc", "walker-walk"), ("dmc", "pendulum-swingup"), ("gym", "Humanoid-v4")]
METHODS = ["ppo", "ppo-entropy", "rpo"]
HOSTILE_NAMES = [
    "<img src=x onerror=\"document.title='broken'\">",
    "</script><script>alert(1)</script>",
    "\"'`&lt;b&gt;${1}",
    "__proto__",
    "\u202eabc שלום",
    "long-" * 60,
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as session:
        yield session


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def page(browser, folder):
    """Open a page of three tasks, wide and light, in which all returns are known."""
    return open_study(browser, folder, known_study())


def known_study():
    data = example_study(TASKS, METHODS, seeds=5, points=20)
    for number, cell in enumerate(data["cells"]):
        # ppo 100, 40, 70; ppo-entropy 130, 70, 100; rpo 160, 100, 130 on the three tasks.
        task, method = divmod(number, len(METHODS))
        cell["mean"] = (100.0, 40.0, 70.0)[task] + 30 * method
        if cell["difference"]:
            # Not in the order of the returns; one is missing.
            cell["difference"]["mean"] = (5.0, None, -12.0)[task]
            cell["difference"]["verdict"] = ("win", "none", "loss")[task]
    return data


def open_study(browser, folder, data, width=1280):
    resize(browser, width)
    # The browser's own first page asks for things as long as it stands.
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(write_page(data, folder / f"{data['name']}.html").as_uri())
    return browser


def visible_tasks(browser):
    return texts(browser, "#results tbody .task-name")


def test_it_opens_from_the_disk_silently_and_asks_for_nothing(page):
    wait_for(lambda: count(page, "#curves .chart svg") == 6, "not every chart was drawn")
    assert page.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert sent == [page.current_url]


def test_a_script_that_is_not_the_pages_own_does_not_run(page):
    page.execute_script(
        "const script = document.createElement('script');"
        "script.textContent = 'window.ran = true';"
        "document.body.append(script);"
    )
    assert page.execute_script("return window.ran") is None
    assert any("Content Security Policy" in entry["message"] for entry in page.get_log("browser"))


def test_sorting_by_a_column_in_both_directions(page):
    assert visible_tasks(page) == ["Humanoid-v4", "pendulum-swingup", "walker-walk"]
    button = '#results .sort[data-sort="return"][data-method="rpo"]'
    click(page, button)
    assert visible_tasks(page) == ["walker-walk", "Humanoid-v4", "pendulum-swingup"]
    assert page.execute_script(SORTED_COLUMN) == ["rpo", "descending"]
    click(page, button)
    assert visible_tasks(page) == ["pendulum-swingup", "Humanoid-v4", "walker-walk"]
    assert page.execute_script(SORTED_COLUMN) == ["rpo", "ascending"]
    click(page, '#results .sort[data-sort="task"]')
    assert visible_tasks(page) == ["Humanoid-v4", "pendulum-swingup", "walker-walk"]


SORTED_COLUMN = """
const sorted = [...document.querySelectorAll('[aria-sort]:not([aria-sort="none"])')];
return sorted.length === 1 ? [sorted[0].dataset.method, sorted[0].getAttribute('aria-sort')] : [];
"""


def test_what_is_missing_comes_last_in_both_directions(page):
    button = '#results .sort[data-sort="difference"][data-method="ppo-entropy"]'
    click(page, button)
    assert visible_tasks(page) == ["walker-walk", "Humanoid-v4", "pendulum-swingup"]
    click(page, button)
    assert visible_tasks(page) == ["Humanoid-v4", "walker-walk", "pendulum-swingup"]


def test_sorting_works_from_the_keyboard_and_keeps_the_focus(page):
    button = '#results .sort[data-sort="return"][data-method="ppo"]'
    page.execute_script("document.querySelector(arguments[0]).focus()", button)
    page.switch_to.active_element.send_keys(ENTER)
    assert visible_tasks(page) == ["walker-walk", "Humanoid-v4", "pendulum-swingup"]
    page.switch_to.active_element.send_keys(ENTER)
    assert visible_tasks(page) == ["pendulum-swingup", "Humanoid-v4", "walker-walk"]


def test_filters_hide_and_show(page):
    click(page, '.chip[data-name="dmc"]')
    assert visible_tasks(page) == ["Humanoid-v4"]
    assert texts(page, "#curves .card:not([hidden]) h3 bdi") == ["Humanoid-v4"]
    assert texts(page, ".suite h3 bdi") == ["gym"]
    assert texts(page, "#count") == ["1 of 3 tasks"]
    click(page, '.chip[data-name="dmc"]')
    click(page, '.chip[data-name="ppo-entropy"]')
    assert len(visible_tasks(page)) == 3
    assert count(page, '#results [data-method="ppo-entropy"]') == 0
    assert count(page, '#results td[data-method="rpo"]') == 6
    page.find_element("id", "search").send_keys("PENDU")
    assert visible_tasks(page) == ["pendulum-swingup"]
    page.find_element("id", "search").send_keys("x")
    assert visible_tasks(page) == []
    assert "Nothing is selected" in texts(page, "#table-scroll")[0]


def test_single_seeds_add_one_line_each(page):
    wait_for(lambda: count(page, "#curves path.mean") == 18, "3 tasks × 2 charts × 3 methods")
    assert count(page, "#curves path.seed") == 0
    click(page, "#single-seeds")
    wait_for(lambda: count(page, "#curves path.seed") == 90, "3 × 2 charts × 3 methods × 5 seeds")
    click(page, '.chip[data-name="rpo"]')
    wait_for(lambda: count(page, "#curves path.seed") == 60, "3 × 2 charts × 2 methods × 5 seeds")
    click(page, "#single-seeds")
    wait_for(lambda: count(page, "#curves path.seed") == 0, "the seeds stay")
    assert count(page, "#curves path.mean") == 12


def test_a_number_opens_its_runs_and_its_command(page):
    row = '#results tr[data-task="walker-walk"] td[data-method="rpo"] .number'
    page.execute_script("document.querySelector(arguments[0]).focus()", row)
    page.switch_to.active_element.send_keys(ENTER)
    assert texts(page, "#detail[open] h2") == ["rpo on walker-walk"]
    links = page.execute_script(
        "return [...document.querySelectorAll('#detail a')].map((a) => a.getAttribute('href'))"
    )
    assert links == [
        f"./runs/walker-walk/{name}/seed-{seed}" for name in ("rpo", "ppo") for seed in range(5)
    ]
    assert texts(page, "#detail code") == [
        f"robustpo train walker-walk --method {name} --seeds 0-4" for name in ("rpo", "ppo")
    ]
    assert "paper, table 3" in texts(page, "#detail .published")[0]
    page.switch_to.active_element.send_keys(ESCAPE)
    assert count(page, "#detail[open]") == 0
    focused = page.execute_script("return document.activeElement.textContent")
    assert focused == "160 ± " + focused.split(" ± ")[1]


def test_an_aggregate_leads_to_its_tasks_and_they_to_their_runs(page):
    click(page, '.suite tr[data-method="rpo"] .number')
    assert texts(page, "#detail[open] tbody th") == ["walker-walk", "pendulum-swingup"]
    click(page, "#detail tbody .number")
    assert texts(page, "#detail[open] h2") == ["rpo on walker-walk"]


def test_copying_gives_the_command_or_selects_it(page):
    click(page, '#results td[data-method="rpo"] .number')
    page.execute_script(
        "Object.defineProperty(navigator, 'clipboard', "
        "{ value: { writeText: async (text) => { window.copied = text } } })"
    )
    click(page, "#detail .copy")
    wait_for(lambda: texts(page, "#detail .copy")[0] == "Copied", "no answer to copying")
    command = texts(page, "#detail code")[0]
    assert page.execute_script("return window.copied") == command
    page.execute_script("navigator.clipboard.writeText = () => Promise.reject(Error('denied'))")
    click(page, "#detail .copy")
    wait_for(lambda: "Ctrl+C" in texts(page, "#detail .copy")[0], "nothing said to be selected")
    assert page.execute_script("return getSelection().toString()") == command


def test_the_crosshair_reads_values_by_arrow_keys_and_pointer(browser, folder):
    data = known_study()
    data["curves"][0]["return"]["mean"] = pack_line([10.0 * point for point in range(20)])
    page = open_study(browser, folder, data)
    chart = '#curves .card[data-task="walker-walk"] svg[role="img"]'
    wait_for(lambda: count(page, chart) == 2, "no chart")
    page.execute_script("document.querySelector(arguments[0]).focus()", chart)
    page.switch_to.active_element.send_keys(HOME)
    page.switch_to.active_element.send_keys(ARROW_RIGHT)
    readout = '#curves .card[data-task="walker-walk"] .readout:not([hidden])'
    # The second of 20 points of 8M steps.
    assert texts(page, f"{readout} .at") == ["800k steps"]
    assert texts(page, f"{readout} b")[0] == "10"
    page.execute_script(
        "const chart = document.querySelector(arguments[0]);"
        "const box = chart.getBoundingClientRect();"
        "const at = { clientX: box.right - 13, clientY: box.top + 50 };"
        "chart.dispatchEvent(new PointerEvent('pointermove', at));",
        chart,
    )
    assert texts(page, f"{readout} .at") == ["8M steps"]
    assert texts(page, f"{readout} b")[0] == "190"


def test_the_theme_changes_the_background(page):
    emulate_scheme(page, "light")
    assert background(page) == "rgb(255, 255, 255)"
    click(page, "#theme")
    assert background(page) == "rgb(20, 23, 28)"
    click(page, "#theme")
    assert background(page) == "rgb(255, 255, 255)"


def test_the_systems_scheme_is_followed(page):
    emulate_scheme(page, "dark")
    assert background(page) == "rgb(20, 23, 28)"
    click(page, "#theme")
    assert background(page) == "rgb(255, 255, 255)"
    emulate_scheme(page, "light")


def hostile_study():
    tasks = [(name, name) for name in HOSTILE_NAMES]
    data = example_study(tasks, ["ppo", *HOSTILE_NAMES[:2], "rpo-" * 40], seeds=2, points=5)
    data["title"] = data["sentence"] = data["setup"] = HOSTILE_NAMES[0] + HOSTILE_NAMES[1]
    data["notes"] = data["rules"] = HOSTILE_NAMES
    for cell in data["cells"]:
        cell["left_out"] = HOSTILE_NAMES[1]
        cell["command"] = f"train '{HOSTILE_NAMES[0]}' {HOSTILE_NAMES[5]}"
    return data


def test_hostile_names_are_only_ever_text(browser, folder):
    page = open_study(browser, folder, hostile_study())
    numbers = count(page, "#results tbody .number")
    assert page.execute_script(OPEN_EVERY_PANEL) == [True] * numbers
    click(page, "#single-seeds")
    assert sorted(visible_tasks(page)) == sorted(HOSTILE_NAMES)
    assert HOSTILE_NAMES[1] in texts(page, "#results thead bdi")
    assert count(page, "script") == 2
    assert count(page, "img, iframe, object, b b, [onerror]") == 0
    assert page.title == HOSTILE_NAMES[0] + HOSTILE_NAMES[1]
    # An alert would make every call from here on fail, a refused script would be logged.
    assert page.get_log("browser") == []


OPEN_EVERY_PANEL = """
return [...document.querySelectorAll('#results tbody .number')].map((number) => {
  number.click();
  const isOpen = document.querySelector('#detail[open] code') !== null;
  document.querySelector('#detail .close').click();
  return isOpen;
});
"""


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("make_study", [known_study, hostile_study])
def test_the_page_never_scrolls_sideways(browser, folder, width, make_study):
    page = open_study(browser, folder, make_study(), width)
    click(page, "#results tbody .number")
    overflow = "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
    assert page.execute_script(overflow) <= 0
    panel = "const p = document.querySelector('.panel-body'); return p.scrollWidth - p.clientWidth"
    assert page.execute_script(panel) <= 0


def test_without_javascript_the_table_is_shown(browser, folder):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page = open_study(browser, folder, known_study(), 360)
        rows = page.find_elements("css selector", "table.plain tbody tr")
        assert [row.is_displayed() for row in rows] == [True] * len(TASKS)
        assert page.find_element("css selector", ".sentence").text.startswith("Of 3 tasks")
        assert not page.find_element("id", "theme").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_every_chart_is_drawn_without_scrolling(page):
    assert count(page, "#curves .chart svg") == 6 and count(page, ".suite .chart svg") == 2
    assert page.execute_script("return scrollY") == 0


CHART_BOXES = """
return [...document.querySelectorAll('.chart svg')].map((chart) => {
  const box = chart.getBoundingClientRect();
  return [box.left + scrollX, box.top + scrollY, box.right + scrollX, box.bottom + scrollY];
});
"""


@pytest.mark.parametrize("tasks", [TASKS, TASKS[:1]])
def test_a_picture_of_the_whole_page_has_every_chart(browser, folder, tasks):
    page = open_study(browser, folder, example_study(tasks, METHODS, seeds=5, points=20))
    emulate_scheme(page, "light")
    boxes = page.execute_script(CHART_BOXES)
    assert len(boxes) == (8 if len(tasks) == 3 else 2)
    size = page.execute_script(
        "const d = document.documentElement; return [d.scrollWidth, d.scrollHeight]"
    )
    clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
    taken = page.execute_cdp_cmd(
        "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
    )
    picture = Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")
    for box in boxes:
        pixels = np.asarray(picture.crop(tuple(round(end) for end in box))).astype(int)
        # Text and axes are grey; curves and their bands are not.
        coloured = np.ptp(pixels, axis=2) > 60
        assert coloured.mean() > 0.002


@pytest.mark.parametrize("tasks", [TASKS, TASKS[:1]])
def test_paper_has_every_chart(browser, folder, tasks):
    pdftoppm = shutil.which("pdftoppm")
    if pdftoppm is None:
        pytest.skip("looking at paper needs pdftoppm; on Debian: apt-get install poppler-utils")
    page = open_study(browser, folder, example_study(tasks, METHODS, seeds=5, points=20))
    paper = page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    file = folder / f"paper-{len(tasks)}.pdf"
    file.write_bytes(base64.b64decode(paper["data"]))
    subprocess.run([pdftoppm, "-r", "50", "-png", file, file.with_suffix("")], check=True)
    coloured = 0
    for sheet in folder.glob(f"{file.stem}-*.png"):
        pixels = np.asarray(Image.open(sheet).convert("RGB")).astype(int)
        coloured += int((np.ptp(pixels, axis=2) > 60).sum())
    # An inch of the three methods' curves, drawn half a point thick, at 50 dots an inch.
    assert coloured > 500 * len(tasks)


def test_one_task_opens_with_its_curves_large(browser, folder):
    data = example_study(TASKS[:1], METHODS, seeds=5, points=20)
    page = open_study(browser, folder, data)
    order = "return [...document.querySelectorAll('#app > section')].map((one) => one.id)"
    assert page.execute_script(order) == ["curves", "tasks"]
    left, top, right, bottom = page.execute_script(CHART_BOXES)[0]
    assert bottom < 900 and right - left > 700 and bottom - top > 350
    assert count(page, "#curves path.seed") == 2 * 3 * 5
    rows = texts(page, "#results tbody th")
    assert rows == METHODS
    assert count(page, "#aggregates, .suite") == 0
    assert texts(page, ".settings tbody th") == ["alpha"]
    assert texts(page, ".repeat code") == [data["command"]]
    click(page, '#results tr[data-method="rpo"] .number')
    assert texts(page, "#detail[open] h2") == ["rpo on walker-walk"]


def test_both_tests_are_shown(browser, folder):
    data = example_study(TASKS[:1], METHODS, seeds=5, points=5)
    difference = data["cells"][2]["difference"]
    assert difference is not None
    difference.update(pText="p < 0.001", permutationText="p = 0.008", verdict="win")
    page = open_study(browser, folder, data)
    assert "p < 0.001 and 0.008" in texts(page, '#results tr[data-method="rpo"]')[0]


def test_pictures_of_robustness_are_shown_and_fit_the_page(browser, folder):
    data = example_study(TASKS, METHODS, seeds=5, points=20)
    page = write_page(data, folder / "robust.html", section(results(command="robustpo a")))
    resize(browser, 900)
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(page.as_uri())
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('.robustness img')]"
        ".map(one => [one.naturalWidth, one.getBoundingClientRect().right])"
    )
    # A heat map, and the curves of one task.
    assert len(sizes) == 2
    assert all(width > 100 and right <= 900 for width, right in sizes)
    assert browser.get_log("browser") == []


def test_few_seeds_are_marked_everywhere(browser, folder):
    data = example_study(TASKS[:1], METHODS, seeds=3, points=5)
    page = open_study(browser, folder, data)
    assert texts(page, "#results tbody .tag.few") == ["3 seeds: no verdict"] * 3
    assert texts(page, "#results tbody .difference .tag") == ["no verdict"] * 2
    assert texts(page, '.setup a[href="#worth"]') == ["What a verdict of so few seeds is worth"]


def test_sparse_data_draw_nothing_wrong(browser, folder):
    data = example_study(TASKS[:1], METHODS, seeds=1, points=3)
    lines = data["curves"][0]["return"]
    lines["mean"] = pack_line([None, 5.0, None])
    lines["low"] = lines["high"] = pack_line([None] * 3)
    empty = pack_line([])
    data["curves"][1]["return"] = {"mean": empty, "low": empty, "high": empty, "seeds": []}
    del data["curves"][2]
    del data["cells"][2]
    data["cells"][1]["mean"] = data["cells"][1]["std"] = data["cells"][1]["difference"] = None
    data["suites"] = []
    page = open_study(browser, folder, data)
    wait_for(lambda: count(page, "#curves circle.mean") == 1, "a single point has no mark")
    assert "NaN" not in page.execute_script("return document.querySelector('#app').outerHTML")
    assert page.get_log("browser") == []


def test_sixty_one_tasks_open_within_seconds(browser, folder):
    tasks = [("dmc" if number < 48 else "gym", f"task-{number}") for number in range(61)]
    data = example_study(tasks, ["ppo", "rpo"], points=100)
    write_page(data, folder / "warm.html")
    start = time.monotonic()
    page = open_study(browser, folder, data)
    assert len(visible_tasks(page)) == 61
    # Writing and every chart included.
    assert time.monotonic() - start < 8
    assert count(page, "#curves .chart svg") == 122
