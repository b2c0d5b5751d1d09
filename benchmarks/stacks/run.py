"""Train PPO and RPO in every stack and compare: `make bench-stacks`.

Each training is a process of its own in the environment of its stack. What is done is kept beside
the result and not done again, so that the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
STACKS = {
    "robustpo": ".venv",
    "sb3": ".venv-stacks",
    "rsl_rl": ".venv-stacks",
    "torchrl": ".venv-stacks",
    "skrl": ".venv-stacks",
    "rllib": ".venv-pinned",
    "brax": ".venv",
}
WHOLE = ("robustpo", "brax")
# Pairs of updates that the cost is the ratio of, and those before that do not count.
PAIRS, WARM = 20, 2


def train(stack: str, method: str, seed: int, steps: int) -> dict:
    """Train once in this process."""
    from stacks import task

    module = importlib.import_module(f"stacks.of_{stack}")
    alpha = task.ALPHA if method == "rpo" else None
    if stack in WHOLE:
        level, speed = module.train(alpha, seed, steps)
        return {"return": level, "speed": speed, "differences": module.DIFFERENCES}
    training = module.Training(alpha, seed)
    start = time.perf_counter()
    for _ in range(steps // task.ROWS):
        training.iterate()
    speed = steps // task.ROWS * task.ROWS / (time.perf_counter() - start)
    level = task.level(training.returns)
    return {"return": level, "speed": speed, "differences": module.Training.differences}


def cost(stack: str) -> dict:
    """Return the ratio of an update's seconds with noise to those without, alternating."""
    from stacks import task

    module = importlib.import_module(f"stacks.of_{stack}")
    if stack in WHOLE:
        alphas, steps = (None, task.ALPHA), 20 * task.ROWS
        pairs = [[module.train(alpha, seed, steps)[1] for alpha in alphas] for seed in range(4)]
        ratios = [plain / noisy for plain, noisy in pairs]
    else:
        both = [module.Training(alpha, 0) for alpha in (None, task.ALPHA)]
        pairs = [(both[0].iterate(), both[1].iterate()) for _ in range(WARM + PAIRS)][WARM:]
        ratios = [noisy / plain for plain, noisy in pairs]
    return {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def child(*asked: object) -> dict:
    """Do one thing in the environment of its stack."""
    python = ROOT / STACKS[str(asked[1])] / "bin/python"
    done = subprocess.run(
        [python, "-W", "ignore", __file__, *map(str, asked)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "benchmarks"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{asked} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def source_of(stack: str) -> str:
    """Return a digest of what a training was made by: settings, adapter, locked versions."""
    names = ["task.py", f"of_{stack}.py"]
    files = [Path(__file__).with_name(name) for name in names]
    adapter = ROOT / f"src/robustpo/integrations/{stack}.py"
    lock = {".venv": "py311", ".venv-stacks": "stacks-py311", ".venv-pinned": "pinned-py311"}
    files += [adapter] * adapter.exists() + [ROOT / f"locks/{lock[STACKS[stack]]}.txt"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def table(kept: dict[str, dict]) -> str:
    """Return the comparison in Markdown."""
    from robustpo.statistics.means import mean_interval, welch

    def interval(mean: float, low: float, high: float) -> str:
        return f"{mean:.0f} ({low:.0f} to {high:.0f})"

    lines = [
        "| stack | PPO | RPO | RPO − PPO | steps/s | update with noise | differs by |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for stack in STACKS:
        runs = {
            m: [v for k, v in kept.items() if k.startswith(f"train {stack} {m} ")]
            for m in ("ppo", "rpo")
        }
        if not all(runs.values()):
            continue
        ppo, rpo = ([run["return"] for run in runs[m]] for m in ("ppo", "rpo"))
        means = [mean_interval(values) for values in (ppo, rpo)]
        difference = welch(rpo, ppo)
        speed = statistics.median(run["speed"] for run in runs["rpo"])
        ratio = kept.get(f"cost {stack}")
        paid = f"{ratio['ratio']:.2f} times" if ratio else ""
        cells = [
            stack,
            *(interval(m.mean, m.low, m.high) for m in means),
            interval(difference.mean, difference.low, difference.high),
            f"{speed:,.0f}",
            paid,
            runs["rpo"][0]["differences"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, measure the costs, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/stacks.json")
    parser.add_argument("--stacks", nargs="+", default=list(STACKS), choices=list(STACKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    kept = json.loads(asked.out.read_text()) if asked.out.exists() else {}

    def do(*job: object) -> None:
        name, source = " ".join(map(str, job)), source_of(str(job[1]))
        # What other settings gave does not count.
        if kept.get(name, {}).get("source") != source:
            kept[name] = child(*job) | {"source": source}
            print(name, kept[name], file=sys.stderr, flush=True)
            asked.out.write_text(json.dumps(kept, indent=1) + "\n")

    with ThreadPoolExecutor(asked.workers) as pool:
        jobs = [
            pool.submit(do, "train", stack, method, seed, asked.steps)
            for stack in asked.stacks
            for seed in range(asked.seeds)
            for method in ("ppo", "rpo")
        ]
        for job in jobs:
            job.result()
    for stack in asked.stacks:
        do("cost", stack)
    print(table(kept))


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        stack, method, seed, steps = sys.argv[2:]
        print(json.dumps(train(stack, method, int(seed), int(steps))))
    elif sys.argv[1:2] == ["cost"]:
        print(json.dumps(cost(sys.argv[2])))
    else:
        main()
