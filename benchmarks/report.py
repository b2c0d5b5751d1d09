"""From samples to one table, and the files that hold it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from launch import Sample
from plan import Measurement, Row

from robustpo.runs.record import machine, versions

Samples = Mapping[Measurement, Sequence[Sample]]

PEERS = ("stable-baselines3", "torch")
HEADER = ("comparison", "task", "robustpo", "other", "median", "min–max", "target", "met")
HOW = """\
How: every measurement has processes of its own, each pinned to one core with one thread for all
that computes; only the command runs as a person starts it. Measurements are interleaved (A B … A B
…); a ratio is taken within a repetition, and the table shows the median, the least and the greatest
over the repetitions. Speed is simulator steps of all agents, reset rows included, per second of
wall-clock time after compilation and warm-up. robustpo runs what its workers run (method `rpo`,
its defaults, records on disk included); Stable-Baselines3's PPO has the same settings, one thread
and one environment of the same EnvPool task; the bare simulator is a pool of 5 environments inside
one `lax.scan` of 2048 steps under uniform random actions. Updates are those of one agent on a
rollout of 2048 random rows, the methods taking turns in one process; shown is the median of each
method's times, in a ratio the median over the turns. Times are from the start of `robustpo
train` to the first iteration on disk, or to its end; memory is the largest resident size (VmHWM).
The rows of all published tasks (5 agents, one core) and of the 100M steps are measured once; those
of the tasks are steps per second of the core's own work (steps/core-s), so that other work on the
machine does not count."""


def results(rows: Sequence[Row], samples: Samples) -> list[dict[str, Any]]:
    """Return for each row the judged number's median and range, and whether it meets the target."""
    return [_result(row, samples) for row in rows]


def _result(row: Row, samples: Samples) -> dict[str, Any]:
    subject = [sample[row.quantity] for sample in samples[row.subject]]
    base = None
    if row.base:
        base = [sample[row.base_quantity or row.quantity] for sample in samples[row.base]]
    judged = [a / b for a, b in zip(subject, base, strict=True)] if base else subject
    found = median(judged)
    met = None
    if row.target is not None:
        met = found >= row.target if row.unit.startswith("steps") else found <= row.target
    return {
        "group": row.group,
        "comparison": row.title,
        "task": row.subject.task,
        "unit": row.unit,
        "robustpo": median(subject),
        "other": median(base) if base else None,
        "judged": "ratio" if base else row.unit,
        "median": found,
        "min": min(judged),
        "max": max(judged),
        "target": row.target,
        "met": met,
    }


def table(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the cells of the table, without its header."""
    return [_cells(result) for result in found]


def _cells(result: Mapping[str, Any]) -> tuple[str, ...]:
    unit = result["unit"]
    other = "" if result["other"] is None else f"{_short(result['other'])} {unit}"
    suffix = "×" if result["judged"] == "ratio" else f" {unit}"
    comparator = "≥" if unit.startswith("steps") else "≤"
    target = result["target"]
    return (
        result["comparison"],
        result["task"].removeprefix("dm_control/"),
        f"{_short(result['robustpo'])} {unit}",
        other,
        f"{_short(result['median'])}{suffix}",
        f"{_short(result['min'])}–{_short(result['max'])}",
        "" if target is None else f"{comparator} {target:g}{suffix}",
        {None: "", True: "yes", False: "no"}[result["met"]],
    )


def _short(number: float) -> str:
    return (
        f"{number:.2f}" if number < 10 else f"{number:,.1f}" if number < 100 else f"{number:,.0f}"
    )


def conditions(date: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return when, on what and how it was measured; the machine's name is no part of it."""
    peers = {name: metadata.version(name) for name in PEERS}
    return {
        "date": date,
        "machine": machine(),
        "versions": versions() | peers,
        "measured": dict(options),
    }


def write(
    directory: Path,
    found: Sequence[Mapping[str, Any]],
    samples: Samples,
    about: Mapping[str, Any],
) -> list[Path]:
    """Write the table as Markdown and everything, single samples included, as JSON."""
    directory.mkdir(parents=True, exist_ok=True)
    name = about["date"].replace(":", "")
    markdown, data = directory / f"{name}.md", directory / f"{name}.json"
    markdown.write_text(_markdown(found, about), encoding="utf-8")
    raw = [asdict(m) | {"samples": list(taken)} for m, taken in samples.items()]
    content = {**about, "rows": list(found), "measurements": raw}
    data.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [markdown, data]


def _markdown(found: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    computer = about["machine"]
    sets = ", ".join(computer["instruction_set"])
    lines = [
        f"# Speed, {about['date']}",
        "",
        f"- machine: {computer['processor']} ({computer['architecture']}; {sets}), "
        f"{computer['cores']} cores, {computer['system']}",
        f"- versions: {', '.join(f'{k} {v}' for k, v in about['versions'].items())}",
        f"- measured: {', '.join(f'{k} {v}' for k, v in about['measured'].items())}",
        "",
    ]
    rows = [HEADER, ("---",) * len(HEADER), *table(found)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", HOW, ""])
