"""Measure robustpo against the bare simulator and a peer, side by side; print and write one table.

`make bench` installs the peer and runs this; `make bench BENCH_ARGS=--quick` takes one repetition.
Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from launch import Launcher, Sample
from plan import GROUPS, Measurement, Row, chosen_rows, measurements_of
from report import HEADER, conditions, results, table, write
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results")


def main() -> None:
    """Measure, print, write."""
    options = _parse()
    console = Console(highlight=False)
    rows = chosen_rows(options.only)
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    load = os.getloadavg()[0]
    start = time.perf_counter()
    samples = _measure(rows, options.repetitions, options.seconds)
    about = conditions(
        date,
        {
            "repetitions": options.repetitions,
            "seconds per speed at least": options.seconds,
            "load before": round(load, 2),
            "minutes": round((time.perf_counter() - start) / 60, 1),
            "least share of its core that a process got": _least_share(samples),
        },
    )
    found = results(rows, samples)
    _print(console, table(found))
    for file in write(options.out, found, samples, about):
        console.print(f"written: {file}", soft_wrap=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one short repetition, for a look")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=[], help="parts to measure")
    parser.add_argument("--repetitions", type=int, help="3, or 1 with --quick")
    parser.add_argument("--seconds", type=float, help="of each speed; 8, or 3 with --quick")
    parser.add_argument("--out", type=Path, help="benchmarks/results, or its local/ with --quick")
    options = parser.parse_args()
    if options.repetitions is None:
        options.repetitions = 1 if options.quick else 3
    if options.seconds is None:
        options.seconds = 3.0 if options.quick else 8.0
    if options.repetitions < 1 or options.seconds <= 0:
        parser.error("--repetitions and --seconds must be greater than 0")
    # What is measured in passing is not for the repository.
    options.out = options.out or (RESULTS / "local" if options.quick or options.only else RESULTS)
    return options


def _measure(rows: list[Row], repetitions: int, seconds: float) -> dict[Measurement, list[Sample]]:
    """Take every measurement once, then all again: A B C, A B C, …."""
    samples: dict[Measurement, list[Sample]] = {m: [] for m in measurements_of(rows)}
    console = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory() as work:
        launcher = Launcher(Path(work), seconds)
        for repetition in range(repetitions):
            for m in measurements_of(rows, repetition):
                sample = launcher.take(m)
                samples[m].append(sample)
                numbers = ", ".join(f"{value:,.2f} {unit}" for unit, value in sample.items())
                console.print(
                    f"{repetition + 1}/{repetitions} {m.kind} {m.task}, {m.agents} agents, "
                    f"{m.processes} processes: {numbers}",
                    soft_wrap=True,
                )
    return samples


def _least_share(samples: Mapping[Measurement, Sequence[Sample]]) -> float | str:
    """Return how much of its core the worst-placed process had; well below 1, do not trust it."""
    shares = [sample["core"] for taken in samples.values() for sample in taken if "core" in sample]
    return round(min(shares), 2) if shares else "unknown"


def _print(console: Console, cells: Sequence[tuple[str, ...]]) -> None:
    shown = Table(*HEADER)
    for row in cells:
        shown.add_row(*row)
    # Wide enough for the table where the output is a file.
    console.width = max(console.width, 140)
    console.print(shown)


if __name__ == "__main__":
    main()
