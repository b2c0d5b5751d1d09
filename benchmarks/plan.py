"""What is measured, and which measurements are compared with which under what target."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from robustpo.config.published import CLEANRL, published_tables
from robustpo.environments.catalog import CATALOG

WALKER = "dm_control/walker-walk-v0"
CHEETAH = "dm_control/cheetah-run-v0"
PENDULUM = "dm_control/pendulum-swingup-v0"
CARTPOLE = "isaac/Cartpole-v0"
# The 61 tasks of the published comparison.
PUBLISHED = tuple(task for task, entry in CATALOG.items() if CLEANRL in published_tables(entry))

Kind = Literal["train", "bare", "sb3", "cold", "warm", "whole", "update"]


@dataclass(frozen=True)
class Measurement:
    """One thing to run, in processes of its own.

    Attributes:
        kind: `train` (what a worker runs), `bare` (the simulator alone under random actions),
            `sb3` (the peer), `cold` or `warm` (the command until its first iteration, with an empty
            or a filled cache), `whole` (the command to its end), `update` (the updates of all
            methods in turn, in one process).
        task: id of the task.
        agents: agents of the population, or environments of the bare simulator.
        processes: how many run at once, each on a core of its own.
    """

    kind: Kind
    task: str
    agents: int = 1
    processes: int = 1


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        group: what `--only` selects it by.
        title: what is compared.
        subject: the measurement that is judged.
        base: what it is divided by; None judges the quantity itself.
        target: what the median ratio or quantity should reach; None states it without judgement.
        quantity: which number of the samples counts, its unit first. Of steps more is better, else
            less.
        base_quantity: which number of the base counts; None takes the same.
        once: measured once, because it takes long, however many repetitions there are.
    """

    group: str
    title: str
    subject: Measurement
    base: Measurement | None = None
    target: float | None = None
    quantity: str = "steps/s"
    base_quantity: str | None = None
    once: bool = False

    @property
    def unit(self) -> str:
        """The unit of the quantity."""
        return self.quantity.split()[0]


def _five(task: str, processes: int = 1) -> Measurement:
    return Measurement("train", task, 5, processes)


def _speed_rows(task: str, sb3: float | None, bare: float) -> list[Row]:
    return [
        Row(
            "agents", "5 agents ÷ Stable-Baselines3 PPO", _five(task), Measurement("sb3", task), sb3
        ),
        Row("agents", "5 agents ÷ bare simulator", _five(task), Measurement("bare", task, 5), bare),
    ]


def _single_row(task: str, target: float) -> Row:
    alone, peer = Measurement("train", task), Measurement("sb3", task)
    return Row("single", "1 agent ÷ Stable-Baselines3 PPO", alone, peer, target)


def _task_row(task: str) -> Row:
    subject, bare = _five(task), Measurement("bare", task, 5)
    title = "training ÷ bare simulator, per core"
    return Row("tasks", title, subject, bare, quantity="steps/core-s", once=True)


def _workers_row(task: str) -> Row:
    return Row("workers", "2 workers ÷ 1 worker", _five(task, 2), _five(task), 1.8)


UPDATES = Measurement("update", WALKER)
# Named like on the command line, with options of their own. The first is what the others are
# compared with.
UPDATE_METHODS = (
    "rpo",
    "rpo:noise=none",
    "ppo",
    "rad-ppo",
    "drac-ppo",
    "rpo:noise=laplace",
    "rpo:noise=gumbel",
    "rpo:noise=gaussian",
    "rpo:alpha_schedule=std",
    "rpo-laplace",
    "rpo-gumbel",
    "rpo-tanh",
    "ppo-beta",
    "rpo-sampled-k",
    "rpo-marginal",
    "rpo-expected",
    "rpo-parameters",
)


def _update_row(method: str, base: str, target: float | None = None) -> Row:
    title = f"update of {method} ÷ {base}"
    return Row("methods", title, UPDATES, UPDATES, target, f"ms {method}", f"ms {base}")


ROWS = [
    *_speed_rows(WALKER, 7.0, 0.85),
    *_speed_rows(CHEETAH, None, 0.46),
    *_speed_rows(PENDULUM, 28.0, 0.33),
    _single_row(WALKER, 5.0),
    _single_row(PENDULUM, 12.0),
    _workers_row(WALKER),
    _workers_row(PENDULUM),
    Row(
        "startup",
        "command to first iteration, empty cache",
        Measurement("cold", WALKER, 5),
        None,
        15.0,
        "s",
    ),
    Row(
        "startup",
        "command to first iteration, filled cache",
        Measurement("warm", WALKER, 5),
        None,
        8.0,
        "s",
    ),
    Row("memory", "peak memory of a worker, 5 agents", _five(WALKER), None, 1024.0, "MiB"),
    Row(
        "isaac",
        "command to end, 100M steps",
        Measurement("whole", CARTPOLE),
        None,
        240.0,
        "s",
        once=True,
    ),
    _update_row("rpo", "rpo:noise=none", 1.10),
    _update_row("drac-ppo", "rpo", 2.0),
    *(_update_row(m, "rpo") for m in UPDATE_METHODS[1:] if m != "drac-ppo"),
    *(_task_row(task) for task in PUBLISHED),
]
GROUPS = tuple(dict.fromkeys(row.group for row in ROWS))


def chosen_rows(groups: Collection[str]) -> list[Row]:
    """Return the rows of some groups, or all of them for none."""
    return [row for row in ROWS if not groups or row.group in groups]


def measurements_of(rows: list[Row], repetition: int = 0) -> list[Measurement]:
    """Return what a repetition measures, each once, task by task so that what is compared is close.

    Args:
        rows: what is to be compared.
        repetition: counted from 0; from the second on, rows measured once are left out.
    """
    needed: dict[Measurement, None] = {}
    for row in rows:
        for measurement in (row.subject, row.base):
            if measurement is not None and not (row.once and repetition):
                needed[measurement] = None
    tasks = list(dict.fromkeys(measurement.task for measurement in needed))
    # A filled cache is what the measurement with an empty one leaves behind.
    return sorted(needed, key=lambda m: (tasks.index(m.task), m.kind == "warm"))
