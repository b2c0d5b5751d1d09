"""Hold the studies of published length against the published numbers: `benchmarks/agreement.py`.

Reads `results/published-length` and prints a Markdown table of every task of which all runs are in:
our final returns, the published ones, and the difference of the means with Welch's 95% interval,
the published standard deviation taken as that of ten runs. It is `disagrees` where the interval
leaves out 0, `agrees` where it holds 0 and reaches no further than a tenth of the larger of the
means and of what the methods differ by, and `cannot tell` otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from evidence import COMMITS, KEPT, STEPS, shards
from scipy import stats

from robustpo.config.run import make_config
from robustpo.reports.published_results import published_results
from robustpo.studies.grid import parse_method

PUBLISHED_RUNS = 10
NARROW = 0.1


def returns(task: str, variant: str) -> np.ndarray:
    """Return the final returns of the ten runs of a variant; empty if not all of them are in."""
    files = [KEPT / task / variant / f"seed-{seed}" / "result.json" for seed in range(10)]
    if not all(file.exists() for file in files):
        return np.array([])
    return np.array([json.loads(file.read_text())["final_return"] for file in files])


def interval(ours: np.ndarray, mean: float, std: float) -> tuple[float, float, float]:
    """Return the difference of our mean and a published one with Welch's 95% interval."""
    variances = ours.var(ddof=1) / len(ours), std**2 / PUBLISHED_RUNS
    counts = len(ours) - 1, PUBLISHED_RUNS - 1
    freedom = sum(variances) ** 2 / sum(v**2 / n for v, n in zip(variances, counts, strict=True))
    half = float(stats.t.ppf(0.975, freedom)) * sum(variances) ** 0.5
    difference = float(ours.mean()) - mean
    return difference, difference - half, difference + half


def judged(low: float, high: float, scale: float) -> str:
    """Say whether an interval of a difference agrees with none."""
    if low > 0 or high < 0:
        return "disagrees"
    return "agrees" if max(-low, high) <= NARROW * scale else "cannot tell"


def rows(task: str, methods: Sequence[tuple[str, str]]) -> list[str]:
    """Return the lines of a task's table; none if a run is missing."""
    found = {method: returns(task, variant) for method, variant in methods}
    if not all(len(one) for one in found.values()):
        return []
    means = [float(one.mean()) for one in found.values()]
    scale = max(max(means) - min(means), *map(abs, means))
    lines = []
    for method, ours in found.items():
        text = f"| {task} | {method} | {ours.mean():.1f} ± {ours.std(ddof=1):.1f} |"
        name, own = parse_method(method)
        known = published_results(make_config(task, name, steps=STEPS, **own))
        for one in known or [None]:
            if one is None or not np.isfinite(one["std"] or np.nan):
                lines.append(f"{text} – | | |")
                continue
            difference, low, high = interval(ours, one["mean"], float(one["std"] or 0.0))
            lines.append(
                f"{text} {one['mean']:.1f} ± {one['std']:.1f} ({one['source']}) | "
                f"{difference:+.1f} ({low:.1f} to {high:.1f}) | {judged(low, high, scale)} |"
            )
    return lines


def main() -> None:
    """Print the table."""
    commits = json.loads(COMMITS.read_text()) if COMMITS.exists() else {}
    tasks: dict[str, dict[str, str]] = {}
    for task, method, variant, _ in shards():
        tasks.setdefault(task, {})[method] = variant
    print("| task | method | here, 10 seeds | published | difference (95%) | |")
    print("| --- | --- | --- | --- | --- | --- |")
    missing = []
    for task, methods in tasks.items():
        lines = rows(task, list(methods.items()))
        print(*lines, sep="\n", end="\n" if lines else "")
        if not lines:
            missing.append(task)
    print(f"\nTrained from: {', '.join(f'{t} {c[:12]}' for t, c in commits.items())}.")
    print(f"Not all in yet: {', '.join(missing) or 'none'}.")


if __name__ == "__main__":
    main()
