"""What others have published for the same task and method; never mixed with one's own runs."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import TypedDict

from robustpo.config.run import RunConfig, make_config


class Published(TypedDict):
    """What others report for a task and method; never mixed with one's own runs."""

    source: str
    mean: float
    std: float | None


PROTOCOL = "8M steps, 10 seeds"
# File, what it is called, and the columns of each method by its name and alpha.
_SOURCES = (
    ("paper_table3.csv", "arXiv 2212.07536, Table 3"),
    ("cleanrl_rpo_docs.csv", "CleanRL's RPO documentation"),
)


def published_results(config: RunConfig) -> list[Published]:
    """Return what is published for a run's task and method, whatever its length and seed.

    Nothing is returned for a run whose settings differ in anything else from the published ones.
    """
    found: list[Published] = []
    for file, source in _SOURCES:
        for row in _rows(file):
            if row["env_id"] != config.task:
                continue
            alpha = float(row.get("rpo_alpha") or 0.5)
            for column in ("ppo", "rad_ppo", "drac_ppo", "rpo"):
                mean, std = row.get(f"{column}_mean"), row.get(f"{column}_std")
                if mean and _is_of(config, column.replace("_", "-"), alpha):
                    entry = Published(source=source, mean=float(mean), std=float(std or "nan"))
                    if entry not in found:
                        found.append(entry)
    return found


def _is_of(config: RunConfig, method: str, alpha: float) -> bool:
    """Whether a run has the published settings, whatever its length and seed."""
    # At its own default length: a run may be shorter than the published rollout.
    published = make_config(config.task, method)
    chosen: dict[str, object] = {"seed": config.settings.seed}
    if method == "rpo":
        chosen["alpha"] = alpha
    settings = replace(published.settings, **chosen)
    return replace(published, settings=settings) == replace(config, steps=published.steps)


@cache
def _rows(file: str) -> tuple[dict[str, str], ...]:
    path = resources.files("robustpo.reports").joinpath("published", file)
    return tuple(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
