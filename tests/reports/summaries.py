"""Returns, runs and summaries made up in memory, for the tests of what is said of them."""

from pathlib import Path

import numpy as np

from robustpo.reports.summary import Summary, summarize
from robustpo.runs.store import End, LoadedRun, Run
from robustpo.studies.study import Part, Study

TASK = "dm_control/walker-walk-v0"


def returns_of(returns, broken=()):
    """Make a study's returns from `{(task, variant): [return per seed]}`.

    `broken` holds (task, variant) of runs on disk that are not finished.
    """
    found = {}
    for (task, variant), values in sorted({**dict.fromkeys(broken, ()), **returns}.items()):
        found.setdefault(task, {})[variant] = np.array(values, dtype=float)
    return found


def loaded_run(seed, returns, *, status="completed", final=None, episodes_per_row=100, **where):
    """Make a run of which the rows lie 10 steps apart and the last return is the final one."""
    count = len(returns)
    values = np.array([np.nan if value is None else value for value in returns], dtype=float)
    metrics = {
        "step": 10.0 * np.arange(1, count + 1),
        "episodes": episodes_per_row * np.arange(1.0, count + 1),
        "return_mean": values,
        "entropy": 5 - 0.1 * np.arange(count),
    }
    run = {"task": TASK, "variant": "ppo", "path": Path(f"seed-{seed}")} | where
    final = returns[-1] if final is None and count else final
    return LoadedRun(
        Run(**run, method="ppo", seed=seed, total_steps=None, time_limit=None),
        End(status, final, count, 10 * count, None, None),
        metrics,
    )


def summary_of(returns, **options) -> Summary:
    """Summarize `{method: {seed: [return per row]}}` on one task; `options` as `loaded_run` has."""
    seeds = tuple(sorted({seed for by_seed in returns.values() for seed in by_seed}))
    study = Study("mine", "Mine", (Part((TASK,), tuple(returns), seeds, 40_960),))
    directories = {config: Path(str(index)) for index, config in enumerate(study.configs())}
    runs = [
        loaded_run(config.settings.seed, values, variant=config.variant, path=path, **options)
        for config, path in directories.items()
        if (values := returns[config.method].get(config.settings.seed)) is not None
    ]
    return summarize(study, Path(), directories, tuple(runs), left_out=[])
