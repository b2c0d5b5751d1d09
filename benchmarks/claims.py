"""Train the small studies of the paper's claims: `benchmarks/claims.py --minutes 60`.

Each is a file in `benchmarks/claims`. They share their runs, go on wherever they were stopped, and
are all trained from the commit that `results/claims/commit.json` names. What is finished is kept in
`results/claims`, with its report.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from evidence import ROOT, head, run_for, source_of

KEPT = ROOT / "results/claims"
COMMIT = KEPT / "commit.json"
RUNS = ROOT / "runs/claims"
# What a report needs of a run; the last says that it is done.
FILES = ("config.json", "metrics.safetensors", "result.json")
# Cheapest first: most runs of the later ones are new.
ORDER = (
    "annealing",
    "time-limit",
    "augmentation",
    "distributions",
    "entropy-coefficients",
    "alpha",
)


def commit() -> str:
    """Return the commit that all claims are trained from: the present one, once it has begun."""
    if not COMMIT.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        COMMIT.write_text(json.dumps({"commit": head()}, indent=1) + "\n")
    return json.loads(COMMIT.read_text())["commit"]


def study(name: str, out: Path, source: Path, seconds: float, core: int) -> bool:
    """Train what a study lacks and report; return whether all of it is done."""
    file = f"benchmarks/claims/{name}.toml"
    command = ["study", "run", file, "--workers", "1", "--out", str(out.relative_to(ROOT))]
    return run_for(command, source, seconds, core, RUNS / "log") == 0


def keep() -> None:
    """Copy what a report needs of every completed run."""
    for result in RUNS.rglob("seed-*/result.json"):
        if json.loads(result.read_text()).get("status") != "completed":
            continue
        kept = KEPT / result.parent.relative_to(RUNS)
        kept.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy2(result.parent / name, kept / name)


def main() -> None:
    """Train study after study until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("names", nargs="*", default=ORDER)
    asked = parser.parse_args()
    end = time.monotonic() + 60 * asked.minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    RUNS.mkdir(parents=True, exist_ok=True)
    for name in asked.names:
        if (KEPT / "studies" / name / "index.html").exists():
            print(f"{name}: done", flush=True)
            continue
        left = end - time.monotonic()
        if left < 60:
            break
        print(f"{name}: training", flush=True)
        if not study(name, RUNS, source_of(commit()), left, asked.core):
            print(f"{name}: stopped", flush=True)
            break
        keep()
        study(name, KEPT, ROOT / "src", 600, asked.core)
        print(f"{name}: done", flush=True)


if __name__ == "__main__":
    main()
