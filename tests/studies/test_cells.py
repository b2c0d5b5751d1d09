"""Every cell of every study of the paper, a method on a task, trains for an iteration."""

from collections import defaultdict
from dataclasses import replace

import jax
import numpy as np
import pytest

from robustpo.studies.paper import STUDIES
from robustpo.training.trainer import Trainer


def iteration_of(config):
    """Return one iteration of a run, with little to compute and all that makes its cell."""
    small = {"num_envs": min(2, config.shape.num_envs), "num_steps": 16, "num_minibatches": 1}
    shape = replace(config.shape, **small, update_epochs=1, hidden_sizes=(4,))
    return replace(config, shape=shape, steps=shape.batch_size)


CELLS = defaultdict(set)
for study in STUDIES:
    for cell in study.select(seeds=[0]).configs():
        CELLS[cell.task].add(iteration_of(cell))


FIRST = {next(iter(study.tasks)) for study in STUDIES}
EVERY = [
    pytest.param(task, marks=pytest.mark.slow if task in FIRST else pytest.mark.soak)
    for task in sorted(CELLS)
]


@pytest.mark.parametrize("task", EVERY)
def test_every_method_of_every_study_trains(task):
    populations = defaultdict(list)
    for config in sorted(CELLS[task], key=repr):
        populations[config.shape].append(config)
    for population in populations.values():
        events = []
        trainer = Trainer(population, emit=events.append)
        begun = jax.tree.map(np.array, trainer.population.learners.params)
        trainer.run()
        ends = [event for event in events if event["kind"] in ("finished", "failed")]
        assert [event["status"] for event in ends] == ["completed"] * len(population)
        learned = jax.tree.leaves(trainer.population.learners.params)
        assert all(np.isfinite(leaf).all() for leaf in learned)
        moved = [
            (np.abs(new - old).reshape(len(population), -1) > 0).any(1)
            for new, old in zip(learned, jax.tree.leaves(begun), strict=True)
        ]
        assert np.array(moved).any(0).all()
    jax.clear_caches()
