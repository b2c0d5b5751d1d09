"""Train the studies of published length, shard by shard: `benchmarks/evidence.py --minutes 60`.

8M steps, 10 seeds, PPO and RPO, five seeds of one method at a time on one core. It goes on wherever
it was stopped and puts what is finished into `results/published-length`, from where reports are
made. Every run of a task is trained from one commit, which `commits.json` there names: its sources
are checked out beside the runs, so that what changes meanwhile does not enter.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "results/published-length"
COMMITS = KEPT / "commits.json"
RUNS = ROOT / "runs/evidence"
STEPS = 8_000_000
# What a report and an evaluation need of a run; the last says that it is done.
FILES = ("config.json", "metrics.safetensors", "policy.safetensors", "result.json")
CONTROL = [
    f"dm_control/{name}-v0"
    for name in (
        "pendulum-swingup",
        "cartpole-swingup",
        "acrobot-swingup",
        "ball_in_cup-catch",
        "reacher-hard",
        "finger-spin",
        "fish-upright",
        "cheetah-run",
        "walker-walk",
    )
]
# RPO loses there at alpha 0.5.
TUNED = ("InvertedDoublePendulum-v4", "Reacher-v4")
BOTH = {"ppo": "ppo", "rpo": "rpo"}
MORE = {"rpo:alpha=0.01": "rpo_alpha-0.01", "rpo-annealed": "rpo-annealed"}
SEEDS = (range(5), range(5, 10))


def shards() -> list[tuple[str, str, str, range]]:
    """Return task, method, directory of its variant and seeds, in the order of training."""
    tasks = ["Pendulum-v1", *CONTROL[:6], *TUNED, *CONTROL[6:]]
    return [
        (task, method, variant, seeds)
        for task in tasks
        for seeds in SEEDS
        for method, variant in (BOTH | (MORE if task in TUNED else {})).items()
    ]


def head() -> str:
    """Return the present commit."""
    command = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit_of(task: str) -> str:
    """Return the commit that a task is trained from: the present one, once it has begun."""
    commits = json.loads(COMMITS.read_text()) if COMMITS.exists() else {}
    if task not in commits:
        commits[task] = head()
        KEPT.mkdir(parents=True, exist_ok=True)
        COMMITS.write_text(json.dumps(commits, indent=1) + "\n")
    return commits[task]


def source_of(commit: str) -> Path:
    """Return the checked-out sources of a commit."""
    place = RUNS / f"source-{commit[:12]}"
    if not place.exists():
        command = ["git", "worktree", "add", "--force", "--detach", "--quiet", str(place), commit]
        subprocess.run(command, cwd=ROOT, check=True)
    return place / "src"


def keep(task: str, variant: str, seeds: range) -> bool:
    """Copy the finished runs of a shard; return whether they are all of it."""
    done = []
    for seed in seeds:
        run, kept = (root / task / variant / f"seed-{seed}" for root in (RUNS, KEPT))
        result = run / "result.json"
        if result.exists() and json.loads(result.read_text()).get("status") == "completed":
            kept.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                shutil.copy2(run / name, kept / name)
        done.append((kept / "result.json").exists())
    return all(done)


def run_for(arguments: list[str], source: Path, seconds: float, core: int, log: Path) -> int:
    """Give a command of the program as it stands in `source`; return its status.

    When the time ends it is told to stop; the next call goes on from there.
    """
    with log.open("a") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "robustpo", *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(source)},
            stdout=file,
            stderr=file,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return 1
        finally:
            # SIGINT is ignored by what a shell started in the background.
            process.terminate()
            process.wait()


def train(task: str, method: str, seeds: range, seconds: float, core: int) -> None:
    """Train a shard, or a part of it if time ends."""
    command = ["train", task, "--method", method, "--seeds", f"{seeds.start}:{seeds.stop}"]
    command += ["--steps", str(STEPS), "--workers", "1", "--out", str(RUNS)]
    run_for(command, source_of(commit_of(task)), seconds, core, RUNS / "log")


def main() -> None:
    """Train shard after shard until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--list", action="store_true", help="say what is done and what is not")
    asked = parser.parse_args()
    end = time.monotonic() + 60 * asked.minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    RUNS.mkdir(parents=True, exist_ok=True)
    for task, method, variant, seeds in shards():
        name = f"{task} {method} seeds {seeds.start} to {seeds.stop - 1}"
        done = keep(task, variant, seeds)
        if asked.list or done:
            print(f"{name}: {'done' if done else 'to do'}", flush=True)
            continue
        left = end - time.monotonic()
        if left < 60:
            break
        print(f"{name}: training", flush=True)
        train(task, method, seeds, left, asked.core)
        print(f"{name}: {'done' if keep(task, variant, seeds) else 'stopped'}", flush=True)


if __name__ == "__main__":
    main()
