"""A study's report, from runs on disk: what it says of what is left out, and how to repeat it."""

import csv
import errno
import io
import json
import os
import shlex
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console

from reports.runs import write_run
from robustpo.config.run import make_config
from robustpo.errors import ConfigError, StorageError
from robustpo.reports.origins import differing_origins
from robustpo.reports.published_results import published_results
from robustpo.reports.report import write_comparison_report, write_study_report
from robustpo.reports.spreadsheet import csv_cell
from robustpo.reports.summary import read_summary
from robustpo.reports.words import left_out_lines, notes
from robustpo.runs.record import run_directory
from robustpo.studies.commands import compare_command, study_command, train_command
from robustpo.studies.grid import make_grid, sweep_methods
from robustpo.studies.manifest import extend, load_manifest, save_manifest
from robustpo.studies.paper import find_study
from robustpo.studies.study import Part, Study

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
    data = read_summary(STUDY, tmp_path)
    first, *others = notes(data)
    assert first == (
        "Left out of the numbers, of 6 runs: 1 failed, 2 waiting, 1 incomplete, 1 unreadable."
    )
    assert others[0] == "Left out: ppo seed 1: failed at step 40,960 (loss is nan)."
    (unreadable,) = (text for text in others if str(run_directory(tmp_path, rpo1)) in text)
    assert "config.json" in unreadable
    # What waits has nothing to be said of it, whether its directory is there or not.
    assert len(others) == 3
    report = write_study_report(STUDY, tmp_path)
    for text in (first, unreadable):
        assert text in unescape(report.files[0].read_text("utf-8"))
        assert text in (report.files[0].parent / "table.md").read_text("utf-8").replace("\\", "")


def spoil_config(name):
    """Give a run the configuration that another names."""

    def spoil(run):
        config = json.loads((run / "config.json").read_text())
        identity = config["identity"]
        if name == "task":
            identity["task"] = "Other-v1"
        elif name == "seed":
            identity["settings"]["seed"] = 1
        else:
            config["variant"] = "ppo_steps-40.96k"
        (run / "config.json").write_text(json.dumps(config))

    return spoil


def spoil_result(**values):
    def spoil(run):
        result = json.loads((run / "result.json").read_text()) | values
        (run / "result.json").write_text(json.dumps(result))

    return spoil


def spoil_metrics(value):
    def spoil(run):
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        text = "".join(
            json.dumps(row | {"return_mean": value, "entropy": value}) + "\n" for row in rows
        )
        (run / "metrics.jsonl").write_text(text)

    return spoil


LEFT_OUT = [
    (spoil_config("task"), "task Other-v1, expected dm_control/walker-walk-v0"),
    (spoil_config("seed"), "seed 1, expected 7"),
    (spoil_config("variant"), "variant ppo_steps-40.96k, expected rpo_steps-40.96k"),
    (spoil_result(final_return=1e308), "its final return is 1e+308"),
    (spoil_result(final_return=-1e308), "its final return is -1e+308"),
    (spoil_result(final_return=10**400), "its final return is 1000"),
    (spoil_result(final_return=float("inf")), "its final return is inf"),
    (spoil_result(final_return=float("nan")), "its final return is nan"),
    (spoil_result(final_return="=1+1"), "its final return is =1+1"),
    (spoil_result(status="\x1b[31mbad"), "?[31mbad"),
]


METRICS = [1e308, -1e308, float("nan"), 10**400, "text", None]


def test_bad_runs_are_listed_and_left_out_and_stop_no_report(tmp_path):
    count = len(LEFT_OUT)
    study = Study("mine", "", (Part((TASK,), ("ppo", "rpo"), tuple(range(count + 6)), 40_960),))
    spoils = {f"rpo{seed}": spoil for seed, (spoil, _) in enumerate(LEFT_OUT, start=6)}
    spoils |= {f"rpo{seed}": spoil_metrics(value) for seed, value in enumerate(METRICS)}
    for config in study.configs():
        run = record(tmp_path, config, final_return=100.0 + config.settings.seed)
        spoils.get(f"{config.method}{config.settings.seed}", lambda _: None)(run)
        if config.settings.seed == 0:
            spoil_result(episodes=2**62, steps=2**62, seconds=1e308)(run)
    data = read_summary(study, tmp_path)
    row = data.by_pair[TASK, "rpo_steps-40.96k"]
    # A return that is a number counts, whatever the rows of metrics hold.
    assert row.seeds == tuple(range(6)) and row.decision is not None
    assert row.decision.outcome != "none"
    lines = left_out_lines(data)
    for seed, (line, (_, reason)) in enumerate(zip(lines, LEFT_OUT, strict=True), start=6):
        assert line.startswith(f"rpo seed {seed}: ") and reason in line
    for report in (write_study_report(study, tmp_path), write_comparison_report(study, tmp_path)):
        said = f"{count} of {2 * count + 12} runs are left out of these numbers"
        assert said in report.sentence
        page = unescape(report.files[0].read_text("utf-8"))
        assert lines[0] in page and "NaN" not in page


def test_nothing_but_bad_runs_is_refused_with_the_reason(tmp_path):
    (config, *_) = STUDY.configs()
    spoil_config("task")(record(tmp_path, config))
    with pytest.raises(ConfigError, match=r"no runs in .* that can be used .*task Other-v1"):
        read_summary(STUDY, tmp_path)


def test_every_part_of_a_report_says_the_same(tmp_path):
    """Five and five seeds, and four finished of a third method, one of which has failed."""
    study = Study(
        "mine", "", (Part((TASK,), ("ppo", "rpo", "rpo:alpha=0.1"), tuple(range(5)), 40_960),)
    )
    returns = {"ppo": 100.0, "rpo": 300.0, "rpo_alpha-0.1": 200.0}
    for config in study.configs():
        label = config.variant.removesuffix("_steps-40.96k")
        failed = label == "rpo_alpha-0.1" and config.settings.seed == 4
        ending = {"status": "failed"} if failed else {}
        record(tmp_path, config, final_return=returns[label] + config.settings.seed, **ending)
    said = "rpo is better than ppo: its mean final return is 200 higher"
    none = "no verdict on rpo_alpha-0.1 against ppo: a verdict takes at least 5 finished seeds on"
    whole, one = write_study_report(study, tmp_path), write_comparison_report(study, tmp_path)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(one.terminal)
    places = [whole.files[0].parent, one.files[0].parent]
    texts = [whole.sentence, one.sentence, one.table, console.export_text()]
    texts += [unescape((place / "index.html").read_text("utf-8")) for place in places]
    texts += [(place / "table.md").read_text("utf-8") for place in places]
    for text in texts:
        words = " ".join(text.replace("\\", "").split())
        assert said in words and none in words
    rows = list(csv.DictReader((places[0] / "table.csv").read_text("utf-8").splitlines()))
    assert [row["verdict"] for row in rows] == ["", "win", "none"]
    assert [row["seeds"] for row in rows] == ["5", "5", "4"]
    latex = (places[0] / "table.tex").read_text("utf-8")
    assert "302" in latex and latex.count("$^*$") == 1
    # No suite of one task, and one interval of P(better): that of the decision.
    data = read_summary(study, tmp_path)
    assert data.suites == []
    decision = data.by_pair[TASK, "rpo_steps-40.96k"].decision
    assert decision is not None
    assert float(rows[1]["improvement_low"]) == decision.improvement.low
    assert decision.improvement.low < 0.7 and decision.improvement.value == 1


def test_the_page_names_alpha_the_settings_and_what_others_must_know(tmp_path):
    note = "gamma is not given to ppo, which fixes it."
    study = Study(
        "mine", "", (Part((TASK,), ("ppo", "rpo"), (0,), 40_960, {"gamma": 0.9}),), notes=(note,)
    )
    for config in study.configs():
        record(tmp_path, config)
    report = write_comparison_report(study, tmp_path)
    page = unescape(report.files[0].read_text("utf-8"))
    assert '<th scope="row">alpha</th><td>0.0</td><td>0.5</td>' in page
    assert "<dt>gamma</dt><dd>0.9</dd>" in page and "<dt>steps</dt><dd>40,960</dd>" in page
    assert note in page and note in report.table.replace("\\", "")
    command = f"robustpo compare {TASK} --methods ppo rpo --seeds 0 --steps 40960 --gamma 0.9"
    assert f"<code>{command} --out {tmp_path}</code>" in page


def test_notes_are_kept_with_a_study(tmp_path):
    noted = replace(STUDY, notes=("One.",))
    save_manifest(tmp_path, noted)
    assert load_manifest(tmp_path, "mine") == noted
    assert extend(noted, replace(STUDY, notes=("Two.", "One.")), tmp_path).notes == ("One.", "Two.")


def test_text_that_a_spreadsheet_would_run_is_only_text(tmp_path):
    assert [csv_cell(sign + "1") for sign in "=+-@\t\r"] == [f"'{s}1" for s in "=+-@\t\r"]
    assert csv_cell("a=1") == "a=1" and csv_cell("") == ""
    task = '=HYPERLINK("x")-v0'
    study = Study("mine", "", (Part((task,), ("ppo", "rpo"), (0, 1), 40_960),))
    for config in study.configs():
        made = write_run(
            tmp_path,
            config.variant,
            config.settings.seed,
            task=task,
            final_return=-5.0,
            error="@SUM(1)",
        )
        os.renames(made, run_directory(tmp_path, config))
    report = write_study_report(study, tmp_path)
    (row, _) = csv.DictReader((report.files[0].parent / "table.csv").read_text().splitlines())
    assert row["task"] == f"'{task}" and row["mean"] == "-5.0"
    summary = write_comparison_report(study, tmp_path).files[-1]
    first = next(csv.DictReader(summary.read_text().splitlines()))
    assert (first["task"], first["error"]) == (f"'{task}", "'@SUM(1)")
    assert float(first["final_return"]) == -5


def test_a_full_disk_is_a_storage_error(tmp_path, monkeypatch):
    for config in STUDY.configs():
        record(tmp_path, config)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    for write in (write_study_report, write_comparison_report):
        with pytest.raises(StorageError, match="No space left"):
            write(STUDY, tmp_path)


def test_a_run_shorter_than_the_default_rollout_has_a_report(tmp_path):
    options = {"num_steps": 256, "num_minibatches": 4, "update_epochs": 2}
    study = Study("mine", "", (Part((TASK,), ("ppo", "rpo"), (0,), 1024, options),))
    for config in study.configs():
        record(tmp_path, config)
    assert write_comparison_report(study, tmp_path).files


def test_published_numbers_are_those_of_the_same_settings():
    def sources(method, **options):
        return published_results(make_config("Pendulum-v1", method, **options))

    assert [one["mean"] for one in sources("ppo", steps=4096)][-1] == -1141.98
    assert sources("rpo", steps=4096) and sources("rpo", seed=7)
    assert not sources("ppo", gamma=0.9) and not sources("ppo", steps=256, num_steps=256)


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
    from robustpo.cli.parsing import parse

    study = find_study(name).select(**chosen)
    runs = []
    for command in study_command(study, tmp_path).split(" && "):
        program, *words = shlex.split(command)
        asked = parse(words, None).command
        assert program == "robustpo" and asked.run.out == tmp_path
        runs += asked.select.of(find_study(asked.name)).configs()
    assert sorted(map(repr, runs)) == sorted(map(repr, study.configs()))


def test_the_command_of_a_comparison_asks_for_the_same_runs(tmp_path):
    from robustpo.cli.options import keywords as given
    from robustpo.cli.parsing import parse

    methods = sweep_methods(["ppo", "rpo:noise=laplace"], {"alpha": (0.1, 2)})
    options = {"hidden_sizes": (32, 16), "gamma": 0.9}
    part = Part((TASK,), methods, (3, 4, 5), 40_960, options)
    program, *words = shlex.split(compare_command(part, tmp_path))
    asked = parse(words, None)
    keywords = {key: value for key, value in given(asked).items() if key in options}
    assert program == "robustpo" and asked.run.out == tmp_path and asked.seeds == "3:6"
    assert make_grid(asked.task, asked.methods, range(3, 6), steps=asked.run.steps, **keywords) == (
        Study("", "", (part,)).configs()
    )


def test_the_command_of_a_number_trains_its_runs():
    study = Study(
        "mine", "", (Part((TASK,), ("ppo", "rpo:alpha=0.1"), (0, 2), 4096, {"gamma": 0.9}),)
    )
    command = train_command(study, study.configs()[-1], [0, 2], Path("runs/mine"))
    assert command == (
        f"robustpo train {TASK} --method rpo:alpha=0.1 --seeds 0,2 --steps 4096 --gamma 0.9 "
        "--out runs/mine"
    )
