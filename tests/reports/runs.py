"""Synthetic runs on disk for the tests of reports."""

import json
from pathlib import Path


def write_run(
    root: Path,
    variant: str,
    seed: int,
    *,
    task: str = "dm_control/walker-walk-v0",
    final_return: float | None = 100.0,
    status: str | None = "completed",
    rows: int = 20,
    error: str | None = None,
    time_limit: str = "terminal",
    said: dict | None = None,
) -> Path:
    """Write one run whose return rises linearly to its final return; the first row has none."""
    path = root / task / variant / f"seed-{seed}"
    path.mkdir(parents=True)
    identity = {
        "task": task,
        "method": variant.split("_")[0],
        "settings": {"seed": seed, "alpha": 0.5, "time_limit": time_limit},
        "shape": {},
        "steps": 41_000,
    }
    config = {"identity": identity, "variant": variant, "total_steps": 40_960}
    (path / "config.json").write_text(json.dumps(config))
    lines = [
        {
            "step": 2048 * (i + 1),
            "seconds": 1.0 * i,
            "episodes": 2 * i,
            "return_mean": (final_return or 1.0) * i / 20 if i else None,
            "entropy": 5.0 - 0.1 * i,
            **{f"info/{name}": one["mean"] for name, one in (said or {}).items() if "mean" in one},
        }
        for i in range(rows)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if status is not None:
        result = {
            "status": status,
            "final_return": final_return,
            "episodes": 2 * rows,
            "steps": 2048 * rows,
            "seconds": 1.0 * rows,
            "error": error,
            "information": said or {},
        }
        (path / "result.json").write_text(json.dumps(result))
    return path
