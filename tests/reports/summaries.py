"""Summaries of runs as `load_summary` returns them, for the tests of a study's statistics."""

import polars as pl

from robustpo.studies.store import SUMMARY_SCHEMA


def summary_of(returns, broken=()):
    """Make a summary from `{(task, variant): [return per seed]}` and broken runs.

    `broken` holds (task, variant, seed, status, final return).
    """
    rows = [
        (task, variant, seed, "completed", value)
        for (task, variant), values in returns.items()
        for seed, value in enumerate(values)
    ]
    return pl.DataFrame(
        [_row(*row) for row in (*rows, *broken)], schema=SUMMARY_SCHEMA, orient="row"
    )


def _row(task, variant, seed, status, value):
    return {
        "task": task,
        "variant": variant,
        "method": variant,
        "seed": seed,
        "status": status,
        "final_return": value,
        "episodes": 100,
        "steps": 1000,
        "seconds": 1.0,
        "path": f"{task}/{variant}/seed-{seed}",
        "total_steps": 1000,
        "time_limit": "terminal",
        "error": None,
    }
