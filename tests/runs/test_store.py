"""Reading runs back, whole, half-written and hostile."""

import json
import logging
import os
import sys
from typing import Any

import numpy as np
import polars as pl
import pytest

from robustpo.base.files import write_tensors
from robustpo.config.run import make_config
from robustpo.errors import ConfigError
from robustpo.runs.frames import (
    METRICS_SCHEMA,
    RESULTS_SCHEMA,
    SUMMARY_SCHEMA,
    load_results,
    load_summary,
)
from robustpo.runs.metrics_table import write_table
from robustpo.runs.record import run_directory
from robustpo.runs.store import load_runs


def config(
    task: Any = "dm_control/walker-walk-v0", variant: Any = "rpo", method="rpo", seed: Any = 0
):
    settings = {"seed": seed, "alpha": 0.5, "time_limit": "terminal"}
    identity = {"task": task, "method": method, "settings": settings, "shape": {}, "steps": 9000}
    return {"identity": identity, "variant": variant, "total_steps": 8192}


def row(step, **values):
    return {
        "step": step,
        "return_mean": 1.5,
        "entropy": 2.0,
        "episodes": 3,
        "seconds": 0.5,
    } | values


def write(root, content, lines=(), result=None, name="seed-0", ending="\n"):
    path = root / "dm_control" / "walker-walk-v0" / "rpo" / name
    path.mkdir(parents=True)
    (path / "config.json").write_text(content if isinstance(content, str) else json.dumps(content))
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (path / "metrics.jsonl").write_text(text + ending)
    if result is not None:
        (path / "result.json").write_text(result if isinstance(result, str) else json.dumps(result))
    return path


def table(path, **columns):
    """Write the table of a run's metrics."""
    write_table(path / "metrics.safetensors", {n: np.array(c, float) for n, c in columns.items()})


def test_results_are_tidy_typed_and_ordered(tmp_path):
    write(tmp_path, config(seed=1), [row(2048), row(4096)], name="seed-1")
    write(tmp_path, config(seed=0), [row(2048, return_mean=None)])
    results = load_results(str(tmp_path))
    assert results.schema == pl.Schema(RESULTS_SCHEMA)
    assert results.select("task", "variant", "method", "seed", "step").rows() == [
        ("dm_control/walker-walk-v0", "rpo", "rpo", 0, 2048),
        ("dm_control/walker-walk-v0", "rpo", "rpo", 1, 2048),
        ("dm_control/walker-walk-v0", "rpo", "rpo", 1, 4096),
    ]
    assert results["return_mean"].to_list() == [None, 1.5, 1.5]


def test_a_cut_last_line_loses_that_line_only_and_silently(tmp_path, caplog):
    write(tmp_path, config(), [row(2048), row(4096), '{"step": 6144, "ret'], ending="")
    with caplog.at_level(logging.WARNING):
        assert load_results(tmp_path)["step"].to_list() == [2048, 4096]
    assert not caplog.records


def test_hostile_lines_are_left_out_with_a_warning(tmp_path, caplog):
    lines = [
        row(2048),
        "not json",
        "[1, 2]",
        "null",
        '{"step": "4096"}',
        '{"step": true}',
        '{"step": 1e400}',
        '{"step": ' + "9" * 5000 + "}",
        "[" * 100_000,
        "\x00\x00\x00",
        row(10**30),
        row(4096, return_mean="NaN", entropy=[1], episodes=2.5, seconds=10**400, extra=1),
    ]
    write(tmp_path, config(), lines)
    with caplog.at_level(logging.WARNING):
        results = load_results(tmp_path)
    assert results["step"].to_list() == [2048, 4096]
    last = results.row(1, named=True)
    assert [last[name] for name in ("return_mean", "entropy", "episodes", "seconds")] == [None] * 4
    assert "10 lines cannot be read" in caplog.text


def test_values_that_are_not_finite_are_null_in_either_file(tmp_path):
    text = '{"step": 1, "entropy": NaN, "return_mean": Infinity, "length_mean": null}'
    path = write(tmp_path, config(), [text])
    columns = ["entropy", "return_mean", "length_mean"]
    assert load_results(tmp_path).select(columns).rows() == [(None, None, None)]
    table(path, step=[1, 2], entropy=[np.nan, 3.0], return_mean=[-np.inf, 1e39])
    assert load_results(tmp_path).select(columns).rows() == [(None,) * 3, (3.0, None, None)]


def test_the_file_that_reaches_further_is_read(tmp_path):
    path = write(tmp_path, config(), [row(2048), row(4096), '{"step": 99'], ending="")
    table(path, step=[4096], entropy=[9.0])
    assert load_results(tmp_path)["entropy"].to_list() == [9.0]
    table(path, step=[2048])
    assert load_results(tmp_path)["step"].to_list() == [2048, 4096]
    (path / "metrics.jsonl").unlink()
    assert load_results(tmp_path)["step"].to_list() == [2048]


# As much as the file states, 2⁶³ numbers, is held by no machine.
CLAIM = (
    b'{"step":{"dtype":"F64","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]}}'
)
DAMAGES = {
    "garbage": lambda whole: b"PAR1nonsense",
    "cut": lambda whole: whole[: len(whole) // 2],
    "flipped": lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
    "a long header": lambda whole: (2**40).to_bytes(8, "little") + whole[8:],
    "a header as long as the file": lambda whole: (2**17).to_bytes(8, "little") + b" " * 2**17,
    "a claim": lambda whole: len(CLAIM).to_bytes(8, "little") + CLAIM + bytes(64),
    "too large": lambda whole: whole + bytes(2**22),
    "empty": lambda whole: b"",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_falls_back_to_the_log_with_one_warning(tmp_path, damage, caplog):
    path = write(tmp_path, config(), [row(2048)])
    table(path, step=range(100), entropy=[1.0] * 100)
    file = path / "metrics.safetensors"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert load_results(tmp_path)["step"].to_list() == [2048]
    assert [r.getMessage().endswith("using metrics.jsonl") for r in caplog.records] == [True]


def test_a_table_that_no_run_writes_is_not_read(tmp_path, caplog):
    path = write(tmp_path, config(), [row(2048)])
    good = {"step": np.array([4096.0, 8192.0])}
    odd = [
        {"step": np.array([4096, 8192])},
        {"step": np.array([[4096.0, 8192.0]])},
        {"step": np.float64(4096)},
        {"step": np.array([8192.0, 4096.0])},
        {"step": np.array([4096.0, 4096.0])},
        {"step": np.array([4096.5, 8192.0])},
        {"step": np.array([-1.0, 8192.0])},
        {"step": np.array([np.nan, 8192.0])},
        {"step": np.array([4096.0, 2.0**54])},
        good | {"entropy": np.zeros(3)},
        good | {"entropy": np.zeros(2, np.float32)},
        {"entropy": np.zeros(2)},
    ]
    for tensors in odd:
        write_tensors(path / "metrics.safetensors", tensors, {"format": 1})
        assert load_results(tmp_path)["step"].to_list() == [2048]
    write_tensors(path / "metrics.safetensors", good, {"format": 2})
    assert load_results(tmp_path)["step"].to_list() == [2048]
    assert len(caplog.records) == len(odd) + 1
    more = good | {"of_a_later_version": np.ones(5, np.uint8)}
    write_tensors(path / "metrics.safetensors", more, {"format": 1})
    assert load_results(tmp_path)["step"].to_list() == [4096, 8192]


def test_a_parquet_file_in_a_run_folder_is_never_opened(tmp_path, caplog):
    path = write(tmp_path, config(), [row(2048)])
    irregular(path / "metrics.parquet", "pipe")
    assert load_results(tmp_path)["step"].to_list() == [2048]
    (path / "metrics.jsonl").unlink()
    (path / "metrics.parquet").unlink()
    pl.DataFrame({"step": [4096]}).write_parquet(path / "metrics.parquet")
    assert load_results(tmp_path).is_empty()
    assert "no metrics" in caplog.text


def test_runs_are_read_without_polars(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    path = tmp_path / "rpo" / "seed-3"
    own = make_config("Pendulum-v1", seed=3, steps=4096)
    place = run_directory(tmp_path, own)
    place.mkdir(parents=True)
    record = {"identity": own.identity(), "variant": own.variant, "total_steps": 4096}
    (place / "config.json").write_text(json.dumps(record))
    (place / "metrics.jsonl").write_text(json.dumps(row(2048, return_mean=None)) + "\n")
    loaded = load_runs({own: place, make_config("Pendulum-v1", seed=4, steps=4096): path})
    assert loaded.refused == {}
    (one,) = loaded.runs
    assert (one.run.task, one.run.variant, one.run.seed) == ("Pendulum-v1", own.variant, 3)
    assert (one.end.status, one.end.final_return, one.end.steps) == ("incomplete", None, 2048)
    assert {str(column.dtype) for column in one.metrics.values()} == {"float64"}
    assert one.metrics["step"].tolist() == [2048]
    assert np.isnan(one.metrics["return_mean"]).tolist() == [True]
    for load in (load_results, load_summary):
        with pytest.raises(ConfigError, match=r"pip install 'robustpo\[frames\]'"):
            load(tmp_path)


def test_steps_written_twice_by_a_resumed_run_count_once(tmp_path):
    first = [row(2048, entropy=1.0), row(4096, entropy=1.0)]
    write(tmp_path, config(), [*first, row(4096, entropy=2.0), row(6144, entropy=2.0)])
    results = load_results(tmp_path)
    assert results.select("step", "entropy").rows() == [(2048, 1.0), (4096, 2.0), (6144, 2.0)]


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"identity": {"task',
        "[]",
        "{}",
        json.dumps(config(seed="0")),
        json.dumps(config(seed=True)),
        json.dumps(config(task=None)),
        json.dumps(config(task="")),
        json.dumps(config(variant=["rpo"])),
        json.dumps({"identity": "rpo", "variant": "rpo"}),
        json.dumps(config())[:-1] + ', "variant": "ppo"}',
        json.dumps(config(task="half a sign \ud800")),
        json.dumps(config(variant="long" * 1025)),
        json.dumps(config() | {"deep": 0}).replace("0}", "[" * 100_000),
        json.dumps(config()) + " " * 2**22,
    ],
    ids=lambda text: text[:40],
)
def test_a_run_without_a_readable_config_is_skipped_with_a_warning(tmp_path, content, caplog):
    write(tmp_path, content, [row(2048)])
    write(tmp_path, config(seed=1), [row(2048)], name="seed-1")
    with caplog.at_level(logging.WARNING):
        assert load_results(tmp_path)["seed"].to_list() == [1]
        assert load_summary(tmp_path)["seed"].to_list() == [1]
    assert "seed-0" in caplog.text


def test_a_run_without_metrics_is_skipped_but_summarized(tmp_path, caplog):
    path = write(tmp_path, config())
    (path / "metrics.jsonl").unlink()
    with caplog.at_level(logging.WARNING):
        assert load_results(tmp_path).is_empty()
    assert "no metrics" in caplog.text
    assert load_summary(tmp_path).select("status", "steps").rows() == [("incomplete", None)]


def test_summary_of_a_finished_and_of_a_running_run(tmp_path):
    result = {
        "status": "completed",
        "final_return": 812.5,
        "episodes": 40,
        "steps": 8192,
        "seconds": 12,
        "error": None,
    }
    done = write(tmp_path, config(), [row(8192)], result)
    write(tmp_path, config(seed=1), [row(2048), row(4096)], name="seed-1")
    summary = load_summary(tmp_path)
    assert summary.schema == pl.Schema(SUMMARY_SCHEMA)
    first, second = summary.iter_rows(named=True)
    assert first | {"status": "completed", "path": str(done)} == first
    assert [first[n] for n in ("final_return", "episodes", "steps")] == [812.5, 40, 8192]
    assert [first[n] for n in ("total_steps", "time_limit")] == [8192, "terminal"]
    assert [second[n] for n in ("status", "final_return", "steps")] == ["incomplete", None, 4096]


@pytest.mark.parametrize("result", ["", '{"status": "comp', "[]", '{"status": 3}', "{}"])
def test_an_unreadable_result_counts_as_incomplete(tmp_path, result):
    write(tmp_path, config(), [row(2048)], result)
    assert load_summary(tmp_path)["status"].to_list() == ["incomplete"]


def test_a_result_with_a_return_that_is_not_finite(tmp_path):
    write(tmp_path, config(), [row(2048)], '{"status": "failed", "final_return": NaN}')
    assert load_summary(tmp_path).select("status", "final_return").rows() == [("failed", None)]


def test_hidden_directories_and_checkpoints_are_not_entered(tmp_path):
    path = write(tmp_path, config(), [row(2048)])
    write(tmp_path / ".trash", config(seed=1), [row(2048)])
    (path / "checkpoint").mkdir()
    (path / "checkpoint" / "config.json").write_text(json.dumps(config(seed=2)))
    assert load_summary(tmp_path)["seed"].to_list() == [0]
    assert load_summary(path)["seed"].to_list() == [0]


def test_an_empty_directory_gives_empty_frames_and_a_missing_one_an_error(tmp_path):
    assert load_results(tmp_path).schema == pl.Schema(RESULTS_SCHEMA)
    assert load_summary(tmp_path).schema == pl.Schema(SUMMARY_SCHEMA)
    for load in (load_results, load_summary):
        with pytest.raises(ConfigError, match=r"nowhere.*does not exist"):
            load(tmp_path / "nowhere")


def test_text_that_is_not_utf_8_is_not_read(tmp_path, caplog):
    path = write(tmp_path, config(), [row(2048)])
    log = path / "metrics.jsonl"
    log.write_bytes(log.read_bytes() + json.dumps(row(4096)).encode("utf-16") + b"\n")
    assert load_results(tmp_path)["step"].to_list() == [2048]
    (path / "config.json").write_bytes(json.dumps(config()).encode("utf-16"))
    assert load_results(tmp_path).is_empty()
    assert "its config.json cannot be read" in caplog.text


def irregular(path, kind):
    """Put something in the place of a file that could make a reader wait for ever."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to({"loop": path, "device": "/dev/zero", "nowhere": "nowhere"}[kind])


@pytest.mark.parametrize("kind", ["pipe", "loop", "device", "nowhere", "directory"])
@pytest.mark.parametrize(
    "name", ["config.json", "metrics.jsonl", "metrics.safetensors", "result.json"]
)
def test_what_is_no_regular_file_is_not_read(tmp_path, name, kind, caplog):
    write(tmp_path, config(seed=1), [row(2048)], name="seed-1")
    path = write(tmp_path, config(), [row(2048)], {"status": "completed"})
    irregular(path / name, kind)
    left_out = name == "config.json"
    assert load_summary(tmp_path)["seed"].to_list() == ([1] if left_out else [0, 1])
    without_metrics = left_out or name == "metrics.jsonl"
    assert load_results(tmp_path)["seed"].to_list() == ([1] if without_metrics else [0, 1])
    # What is called config.json and is a directory is no run, and nothing to warn of.
    assert "seed-0" in caplog.text or (left_out and kind == "directory")


def test_a_log_beyond_any_size_is_not_read(tmp_path, caplog):
    path = write(tmp_path, config(), [row(2048)])
    log = path / "metrics.jsonl"
    os.truncate(log, 64 * 2**20 + 1)
    assert load_results(tmp_path).is_empty()
    assert "larger than 64 MiB" in caplog.text
    log.write_text("".join(f'{{"step": {step}}}\n' for step in range(10_000)))
    assert len(load_results(tmp_path)) == 10_000
    log.write_text("".join(f'{{"step": {step}}}\n' for step in range(10_001)))
    assert load_results(tmp_path).is_empty()
    assert "more than 10000 lines" in caplog.text
    table(path, step=[7])
    assert load_results(tmp_path)["step"].to_list() == [7]


def test_a_line_beyond_any_length_is_left_out(tmp_path, caplog):
    write(tmp_path, config(), [row(2048), row(4096, note="x" * 2**16), row(6144)])
    assert load_results(tmp_path)["step"].to_list() == [2048, 6144]
    assert "1 lines cannot be read" in caplog.text


def test_names_of_directories_are_taken_as_they_are(tmp_path, caplog):
    path = write(tmp_path / "[a-z]*", config(), name="seed-?")
    table(path, step=[2048])
    assert load_results(tmp_path)["step"].to_list() == [2048]
    os.rename(path, os.fsencode(path) + b"\xff")
    assert load_results(tmp_path).is_empty()
    assert load_summary(tmp_path).is_empty()
    assert "not UTF-8" in caplog.text


def test_directories_of_any_depth_end(tmp_path, monkeypatch):
    write(tmp_path, config(), [row(2048)])
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    os.symlink(tmp_path, "up")
    try:
        assert load_summary(tmp_path)["seed"].to_list() == [0]
    finally:
        # What pytest removes directories with is recursive as well.
        for _ in range(1200):
            os.chdir("..")
            if os.path.lexists("d/up"):
                os.unlink("d/up")
            os.rmdir("d")


def test_every_column_of_the_log_is_kept(tmp_path):
    values = {name: index for index, name in enumerate(METRICS_SCHEMA)}
    write(tmp_path, config(), [values])
    assert load_results(tmp_path).select(list(METRICS_SCHEMA)).row(0, named=True) == values
