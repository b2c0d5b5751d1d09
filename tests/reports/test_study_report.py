"""A study's report, from runs on disk: what it says of what is left out, and how to repeat it."""

import json
import shlex

import pytest

from reports.runs import write_run
from robustpo.reports.origins import differing_origins
from robustpo.reports.study_data import notes, read_study_data
from robustpo.reports.study_report import write_study_report
from robustpo.studies.commands import compare_command, study_command, train_command
from robustpo.studies.grid import make_grid, sweep_methods
from robustpo.studies.paper import find_study
from robustpo.studies.study import Part, Study
from robustpo.training.record import run_directory

TASK = "dm_control/walker-walk-v0"
STUDY = Study("mine", "A study", (Part((TASK,), ("ppo", "rpo"), (0, 1, 2), 40_960),))


def record(root, config, **ending):
    """Write a run where its configuration belongs."""
    made = write_run(root, config.variant, config.settings.seed, task=config.task, **ending)
    assert made == run_directory(root, config)
    return made


def set_origin(run, **versions):
    config = json.loads((run / "config.json").read_text())
    resumed = versions.pop("resumed", [])
    origin = {"versions": {"jax": "1.0", "numpy": "2.0"} | versions}
    machine = {"machine": {"instruction_set": ["avx2"]}}
    (run / "config.json").write_text(json.dumps(config | origin | machine | {"resumed": resumed}))


def test_what_is_left_out_is_counted_and_named(tmp_path):
    ppo0, ppo1, ppo2, rpo0, rpo1, _ = STUDY.configs()
    record(tmp_path, ppo0)
    record(tmp_path, ppo1, status="failed", error="loss is nan")
    run_directory(tmp_path, ppo2).mkdir(parents=True)
    record(tmp_path, rpo0, status=None)
    (record(tmp_path, rpo1) / "config.json").write_text('{"identity": ')
    data = read_study_data(STUDY, tmp_path)
    first, second = notes(data)
    assert first == (
        "Left out of the numbers, of 6 runs: 1 failed, 1 incomplete, 2 unreadable, 1 waiting."
    )
    assert second == f"Cannot be read: {run_directory(tmp_path, ppo2)} and 1 more."
    report = write_study_report(STUDY, tmp_path)
    assert first in report.files[0].read_text("utf-8")
    assert first in (report.files[0].parent / "table.md").read_text("utf-8").replace("\\", "")


def test_differing_versions_are_listed(tmp_path):
    runs = [record(tmp_path, config) for config in STUDY.configs()]
    for run in runs:
        set_origin(run)
    assert differing_origins(runs) == []
    set_origin(runs[1], jax="0.9", resumed=[{"step": 1, "versions": {"jax": "0.9"}}])
    same = {"step": 1, "versions": {"jax": "1.0", "numpy": "2.0"}, "instruction_set": ["avx2"]}
    set_origin(runs[2], resumed=[same])
    (runs[3] / "config.json").write_text("{}")
    assert differing_origins(runs) == [
        "Not all runs were made with the same: jax 1.0 (4 runs), 0.9 (1 run), unknown (1 run); "
        "numpy 2.0 (5 runs), unknown (1 run); instruction set avx2 (5 runs), unknown (1 run).",
        "1 run went on under other versions than they began with.",
    ]


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("table-3", {}),
        ("table-3", {"tasks": ["acrobot", "walker-walk"], "seeds": [0, 1, 2], "steps": 4096}),
        ("figure-7", {"tasks": ["Pendulum"], "methods": ["rpo:alpha=0.1"], "seeds": [1, 5]}),
        ("figure-8", {"steps": 81_920}),
    ],
)
def test_the_command_of_a_study_asks_for_the_same_runs(tmp_path, name, chosen):
    from robustpo.cli import _parse

    study = find_study(name).select(**chosen)
    runs = []
    for command in study_command(study, tmp_path).split(" && "):
        program, *words = shlex.split(command)
        asked = _parse(words).command
        assert program == "robustpo" and asked.run.out == tmp_path
        runs += asked.select.of(find_study(asked.name)).configs()
    assert sorted(map(repr, runs)) == sorted(map(repr, study.configs()))


def test_the_command_of_a_comparison_asks_for_the_same_runs(tmp_path):
    from robustpo.cli import _keywords, _parse

    methods = sweep_methods(["ppo", "rpo:noise=laplace"], {"alpha": (0.1, 2)})
    options = {"hidden_sizes": (32, 16), "gamma": 0.9}
    part = Part((TASK,), methods, (3, 4, 5), 40_960, options)
    program, *words = shlex.split(compare_command(part, tmp_path))
    asked = _parse(words)
    keywords = {key: value for key, value in _keywords(asked).items() if key in options}
    assert program == "robustpo" and asked.run.out == tmp_path and asked.seeds == "3:6"
    assert make_grid(asked.task, asked.methods, range(3, 6), steps=asked.run.steps, **keywords) == (
        Study("", "", (part,)).configs()
    )


def test_the_command_of_a_number_trains_its_runs():
    study = Study(
        "mine", "", (Part((TASK,), ("ppo", "rpo:alpha=0.1"), (0, 2), 4096, {"gamma": 0.9}),)
    )
    command = train_command(study, study.configs()[-1], [0, 2])
    assert command == (
        f"robustpo train {TASK} --method rpo:alpha=0.1 --seeds 0,2 --steps 4096 --gamma 0.9"
    )
