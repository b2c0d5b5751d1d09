"""Many runs read at once are what they are when each is read by itself."""

import json

import numpy as np
import polars as pl
import pytest

from robustpo.studies import metrics_tables
from robustpo.studies.metrics_tables import read_tables
from robustpo.studies.run_files import METRICS_SCHEMA, read_metrics

ROWS = 40


def table(seed, rows=ROWS):
    rng = np.random.default_rng(seed)
    columns = {
        name: rng.integers(0, 99, rows) if kind == pl.Int64() else rng.normal(size=rows)
        for name, kind in METRICS_SCHEMA.items()
    }
    return pl.DataFrame(columns | {"step": 2048 * np.arange(1, rows + 1)}, schema=METRICS_SCHEMA)


def write(place, frame, logged=ROWS):
    place.mkdir(parents=True)
    frame.write_parquet(place / "metrics.parquet", statistics=False)
    lines = [json.dumps({"step": 2048 * (i + 1), "entropy": 1.0}) + "\n" for i in range(logged)]
    (place / "metrics.jsonl").write_text("".join(lines))
    return place


@pytest.fixture
def runs(tmp_path):
    """Three usual runs between others, of which each is unusual in a way of its own."""
    made = {name: write(tmp_path / name, table(i)) for i, name in enumerate("abc")}
    rows = pl.int_range(pl.len())
    unusual = {
        "not-finite": table(4).with_columns(
            pl.when(rows == 7).then(float("nan")).otherwise("entropy").alias("entropy"),
            pl.when(rows == 8).then(float("inf")).otherwise("seconds").alias("seconds"),
        ),
        "resumed": pl.concat([table(5), table(6)[-3:]]),
        "without-a-step": table(7).with_columns(pl.when(rows != 3).then("step").alias("step")),
        "older": table(8).drop("drac_loss"),
        "floats": table(9).with_columns(pl.col("step").cast(pl.Float64)),
        "empty": table(10, rows=0),
    }
    for name, frame in unusual.items():
        made[name] = write(tmp_path / name, frame, logged=0 if name == "empty" else ROWS)
    made["log-goes-on"] = write(tmp_path / "log-goes-on", table(11), logged=ROWS + 2)
    made["log-is-cut"] = write(tmp_path / "log-is-cut", table(12))
    with open(made["log-is-cut"] / "metrics.jsonl", "a") as file:
        file.write('{"step": 99')
    made["long-line"] = write(tmp_path / "long-line", table(13))
    with open(made["long-line"] / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": 2048 * 50, "note": "x" * 20_000}) + "\n")
    made["damaged"] = write(tmp_path / "damaged", table(14))
    content = bytearray((made["damaged"] / "metrics.parquet").read_bytes())
    content[40:60] = bytes(20)
    (made["damaged"] / "metrics.parquet").write_bytes(content)
    made["no-table"] = write(tmp_path / "no-table", table(15))
    (made["no-table"] / "metrics.parquet").unlink()
    made["no-log"] = write(tmp_path / "no-log", table(16))
    (made["no-log"] / "metrics.jsonl").unlink()
    made["nothing"] = tmp_path / "nothing"
    made["nothing"].mkdir()
    return [made[name] for name in sorted(made)]


@pytest.mark.parametrize("batch", [1, 4, 256])
def test_each_run_is_read_as_by_itself(runs, monkeypatch, batch):
    monkeypatch.setattr(metrics_tables, "BATCH", batch)
    found = list(read_tables(runs))
    assert [len(rows) for _, rows in found[:-1]] == [batch] * (len(found) - 1)
    together = pl.concat([frame for frame, _ in found])
    rows = [count for _, counts in found for count in counts]
    assert together.schema == METRICS_SCHEMA and together.height == sum(rows)
    begin = 0
    for path, count in zip(runs, rows, strict=True):
        alone = read_metrics(path)
        assert together[begin : begin + count].equals(alone), path.name
        begin += count


def test_usual_runs_are_not_read_one_by_one(runs, monkeypatch):
    usual = {"a", "b", "c", "not-finite", "log-is-cut", "no-log"}
    read = []

    def count(path):
        read.append(path.name)
        return read_metrics(path)

    monkeypatch.setattr(metrics_tables, "read_metrics", count)
    list(read_tables([path for path in runs if path.name != "damaged"]))
    assert set(read) == {path.name for path in runs} - usual - {"damaged"}
