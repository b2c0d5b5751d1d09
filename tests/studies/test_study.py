"""Studies: what they expand to, how they are selected, read, kept and extended."""

import dataclasses

import pytest

from robustpo.environments.catalog import CATALOG
from robustpo.errors import ConfigError
from robustpo.studies.manifest import FILE, extend, load_manifest, save_manifest, study_directory
from robustpo.studies.paper import NAMES, STUDIES, find_study
from robustpo.studies.request import request_notes, require_request
from robustpo.studies.study import Part, Study
from robustpo.studies.study_file import EXAMPLE, read_study

# Runs by hand: tasks × methods × seeds.
RUNS = {
    "figure-1": 13 * 2 * 10,
    "figure-2": 11 * (1 + 6) * 10,
    "figure-3": 11 * (1 + 9) * 10,
    "figure-4": 11 * 3 * 10,
    "figure-6": 48 * 2 * 10,
    "figure-7": 2 * 2 * 10,
    "figure-8": 2 * 10 + 2 * 3,
    "figure-9": 2 * 2 * 10,
    "figure-10": 11 * 2 * 10,
    "figure-11": 11 * 2 * 10,
    "figure-16": 13 * 6 * 10,
    "figure-17": 13 * 6 * 10,
    "figure-18": 2 * 6 * 10,
    "figure-19": 11 * 6 * 10,
    "figure-20": 48 * 2 * 10,
    "figure-21": 15 * 6 * 10,
    "figure-22": 11 * 6 * 10,
    "table-1": 11 * 4 * 10,
    "table-3": 11 * 4 * 10,
    "published-61": 61 * 2 * 10 + 7 * 10,
}


def test_every_experiment_of_the_paper_has_its_runs():
    assert {study.name: len(study.configs()) for study in STUDIES} == RUNS
    figures = {f"figure-{n}" for n in (*range(1, 5), *range(6, 25)) if n != 5}
    assert figures | {"table-1", "table-3", "published-61"} == set(NAMES)
    assert all(task in CATALOG for study in STUDIES for task in study.tasks)


def test_the_paper_asks_for_nothing_that_contradicts_a_method():
    for study in STUDIES:
        require_request(study)


def test_runs_are_those_of_the_methods_settings():
    configs = find_study("figure-13").select(tasks=["walker-walk"], seeds=[4]).configs()
    found = {(c.settings.alpha, c.settings.entropy_coef) for c in configs}
    assert found == {(0.5, 0.0), *((0.0, c) for c in (0.0, 0.01, 0.05, 0.5, 1.0, 10.0))}
    assert {c.total_steps for c in configs} == {8_000_000 // 2048 * 2048}


def test_a_selection_is_a_part_or_another_length():
    study = find_study("table-3").select(
        tasks=["acrobot", "dm_control/walker-walk-v0"], methods=["ppo", "rpo"], steps=4096
    )
    assert study.tasks == ("dm_control/acrobot-swingup-v0", "dm_control/walker-walk-v0")
    assert len(study.configs()) == 2 * 2 * 10
    assert {config.total_steps for config in study.configs()} == {4096}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: find_study("tabel-3"), "did you mean table-3"),
        (lambda: find_study("table-3").select(tasks=["waker-walk"]), "walker-walk"),
        (lambda: find_study("table-3").select(methods=["rpp"]), "did you mean rpo"),
        (lambda: find_study("table-3").select(methods=["rpo", "rpo:alpha=0.5"]), "rpo twice"),
        (lambda: find_study("table-3").select(methods=["ppo:alpha=1"]), "contradicts method 'ppo'"),
    ],
)
def test_what_does_not_exist_is_said_with_the_nearest(call, words):
    with pytest.raises(ConfigError, match=words):
        call()


def write(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    return tmp_path / "mine.toml"


def test_a_file_of_ones_own(tmp_path):
    study = read_study(write(tmp_path, EXAMPLE))
    (part,) = study.parts
    assert (study.name, study.title) == ("mine", "RPO on my two tasks")
    assert part == Part(
        ("dm_control/walker-walk-v0", "HalfCheetah-v4"),
        ("ppo", "rpo", "rpo:alpha=0.1"),
        (0, 1, 2, 3, 4),
        1_000_000,
        {"time_limit": "terminal"},
    )


def test_tables_of_a_file_take_what_stands_above_them(tmp_path):
    text = """
methods = ["ppo"]
seeds = 3
[[parts]]
tasks = ["Pendulum-v1"]
steps = 4096
[[parts]]
tasks = ["Hopper-v4"]
hidden_sizes = [32, 32]
steps = 8192
"""
    study = read_study(write(tmp_path, text))
    found = {c.task: (c.total_steps, c.shape.hidden_sizes) for c in study.configs()}
    assert found == {"Pendulum-v1": (4096, (64, 64)), "Hopper-v4": (8192, (32, 32))}


SHARED = """
tasks = ["Pendulum-v1"]
seeds = 3
alpha = 0.1
[[parts]]
methods = ["ppo"]
steps = 4096
[[parts]]
methods = ["rpo"]
steps = 8192
"""


def test_an_option_above_all_tables_goes_to_the_methods_that_have_it(tmp_path):
    study = read_study(write(tmp_path, SHARED))
    assert [config.variant for config in study.configs()] == [
        "ppo_steps-4.096k",
        "rpo_alpha-0.1_steps-8.192k",
    ]
    assert request_notes(study) == [
        "alpha=0.1 applies to none of the methods: ppo has alpha 0 by definition"
    ]
    # A part of a study that is in order is so too.
    assert study.select(methods=["ppo"]).configs()
    with pytest.raises(ConfigError, match=r"mine\.toml, line 4: alpha=0\.1 applies to none"):
        read_study(write(tmp_path, SHARED.replace("rpo", "ppo-laplace")))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("seeds = ", "seeds == "), r"mine\.toml: .*line 4"),
        (("HalfCheetah-v4", "HalfCheeta-v4"), r"line 2: .*HalfCheetah-v5 or HalfCheetah-v4"),
        (('"rpo:alpha=0.1"', '"rppo"'), r"line 3: unknown method 'rppo'; did you mean rpo"),
        (("steps", "stepps"), r"line 5: .*stepps"),
        (("0:5", "5:0"), r"line 4: seeds"),
        (("1_000_000", "-3"), r"line 5: steps=-3"),
        (('"terminal"', '"never"'), r"line 6: time_limit='never'"),
        (("title = ", "name = '../x'\ntitle = "), r"line 1: name='\.\./x'"),
        (("tasks = ", "task = "), r"line 2: .*task"),
        (('"rpo:alpha=0.1"', '"rpo"'), r"line 3: methods=.*'rpo' and as 'rpo'"),
        (('"rpo:alpha=0.1"', '"ppo:alpha=0.1"'), r"line 3: alpha=0\.1 contradicts method 'ppo'"),
    ],
)
def test_mistakes_in_a_file_are_said_with_their_line(tmp_path, change, words):
    old, new = change
    assert old in EXAMPLE
    with pytest.raises(ConfigError, match=words):
        read_study(write(tmp_path, EXAMPLE.replace(old, new, 1)))


STUDY = Study("s", "title", (Part(("Pendulum-v1",), ("ppo",), (0, 1), 4096, {"gamma": 0.9}),))


def grown(**changed):
    return dataclasses.replace(STUDY, parts=(dataclasses.replace(STUDY.parts[0], **changed),))


def test_a_study_is_kept_and_extended(tmp_path):
    save_manifest(tmp_path, STUDY)
    assert load_manifest(tmp_path, "s") == STUDY
    more = grown(tasks=("Pendulum-v1", "Hopper-v4"), methods=("ppo", "rpo"), seeds=(1, 2))
    both = extend(load_manifest(tmp_path, "s"), more, tmp_path)
    found = {(c.task, c.method, c.settings.seed) for c in both.configs()}
    assert found == {("Pendulum-v1", "ppo", 0)} | {
        (task, method, seed) for task in more.tasks for method in more.methods for seed in (1, 2)
    }
    assert extend(both, STUDY, tmp_path).parts == both.parts


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"steps": 8192}, "steps=4,096, now 8,192"),
        ({"options": {"gamma": 0.8}}, "gamma=0.9, now 0.8"),
        ({"options": {}}, "gamma=0.9, now its default"),
    ],
)
def test_other_steps_or_settings_are_not_mixed(tmp_path, changed, words):
    with pytest.raises(ConfigError, match=words):
        extend(STUDY, grown(**changed), tmp_path)
    # Another task under other terms is no mixture.
    assert extend(STUDY, grown(tasks=("Hopper-v4",), **changed), tmp_path).tasks == (
        "Pendulum-v1",
        "Hopper-v4",
    )


def test_a_definition_of_an_earlier_version_is_read(tmp_path):
    old = grown(methods=("ppo", "ppo:alpha=0.3", "rpo"), options={"alpha": 0.1})
    save_manifest(tmp_path, old)
    recorded = load_manifest(tmp_path, "s")
    assert recorded is not None and recorded == old
    # What was written for one method is found where it was recorded.
    assert [config.variant for config in recorded.configs()][::2] == [
        "ppo_steps-4.096k",
        "ppo_alpha-0.3_steps-4.096k",
        "rpo_alpha-0.1_steps-4.096k",
    ]


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 7, "parts": []}'])
def test_a_damaged_definition_is_refused(tmp_path, content):
    save_manifest(tmp_path, STUDY)
    (study_directory(tmp_path, "s") / FILE).write_text(content)
    with pytest.raises(ConfigError, match=r"damaged|format 7"):
        load_manifest(tmp_path, "s")
