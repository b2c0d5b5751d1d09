"""Measurements that are made up, whose findings are known."""

import dataclasses

from robustpo.environments.shifts import SHIFTS
from robustpo.stress.measure import Score, Terms
from robustpo.stress.results import results_of
from robustpo.stress.study import Measured

TASK = "dm_control/walker-walk-v0"
LEVELS = (0.0, 1.0, 2.0)


def rows(*per_seed):
    return {
        seed: tuple(Score(None if value is None else float(value)) for value in row)
        for seed, row in enumerate(per_seed)
    }


def measured(name, task=TASK, **scores):
    shift = dataclasses.replace(SHIFTS["action-noise"], name=name)
    return Measured(task, shift, task, LEVELS, scores, 100.0)


# RPO is better by 100 to 104 under the first, by noise alone under the second.
PPO = rows(*[(500, 300, 100 + seed) for seed in range(5)])
RPO = rows(*[(500, 400 + seed, 300) for seed in range(5)])
SAME = rows(*[(500 + (-1) ** seed, 300, 100) for seed in range(5)])
OTHER = rows(*[(500 - (-1) ** seed, 300, 100) for seed in range(5)])


def results(task=TASK, command="robustpo robustness x"):
    both = [
        measured("first", task, **{"ppo_steps-1m": PPO, "rpo_steps-1m": RPO}),
        measured("second", task, **{"ppo_steps-1m": SAME, "rpo_steps-1m": OTHER}),
    ]
    return results_of(both, "ppo_steps-1m", Terms(), ["A note."], command)
