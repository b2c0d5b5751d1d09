"""What is published of the catalog's tasks: the preset of their program, the tables they are in."""

from __future__ import annotations

from typing import Any

from robustpo.environments import catalog
from robustpo.environments.entry import Entry

CLEANRL = "CleanRL's RPO documentation"
TABLE_3 = "paper, Table 3"

# Tasks of another program than the paper's: its preset, and what it changes in that for the task.
_PROGRAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "isaac/Cartpole-v0": ("isaac", {}),
    # BallBalancePPO.yaml of IsaacGymEnvs: 8 minibatches of 8192.
    "isaac/BallBalance-v0": (
        "isaac",
        {"hidden_sizes": (128, 64, 32), "num_envs": 4096, "num_minibatches": 8},
    ),
}
_CLEANRL_SUITES = {"DeepMind Control", "MuJoCo v4"}
_CLEANRL_TASKS = {"Pendulum-v1", "BipedalWalker-v3"}
_NOT_OF_CLEANRL = {"dm_control/humanoid_CMU-walk-v0"}
_TABLE_3 = {
    f"dm_control/{name}-v0"
    for name in (
        "acrobot-swingup",
        "fish-swim",
        "humanoid-stand",
        "humanoid-run",
        "pendulum-swingup",
        "quadruped-walk",
        "quadruped-run",
        "quadruped-escape",
        "walker-stand",
        "walker-walk",
        "walker-run",
    )
}


def default_preset(task: str) -> str:
    """Return the name of the preset that a task is trained with unless another is named.

    It is the one that a catalogued task was published with, and `own` for all others.
    """
    return published_preset(task) if catalog.published(task) else "own"


def published_preset(task: str) -> str:
    """Return the preset that a run's name leaves out; that of the paper for unknown tasks."""
    return _program(task)[0]


def task_options(task: str, preset: str) -> dict[str, Any]:
    """Return what the program that a task was published with changes in its preset."""
    name, options = _program(task)
    return options if name == preset else {}


def published_tables(entry: Entry) -> tuple[str, ...]:
    """Return the tables of published results that have a row for a task."""
    of_cleanrl = entry.suite in _CLEANRL_SUITES or entry.id in _CLEANRL_TASKS
    tables = (CLEANRL,) * (of_cleanrl and entry.id not in _NOT_OF_CLEANRL)
    return tables + (TABLE_3,) * (entry.id in _TABLE_3)


def _program(task: str) -> tuple[str, dict[str, Any]]:
    entry = catalog.published(task)
    return _PROGRAMS.get(entry.id if entry else "", ("paper", {}))
