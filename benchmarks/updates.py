"""The update of every method, the methods taking turns so that what disturbs one disturbs all."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from stopwatch import Stopwatch

from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.algorithm.experience import Rollout, Transition
from robustpo.config.shape import Shape
from robustpo.environments.make import resolve
from robustpo.studies.grid import make_grid
from robustpo.training.compilation import compiler_options
from robustpo.training.population import coefficients_at, init_population, learn_population

WARM_UP = 2


def measure(task: str, methods: tuple[str, ...], seconds: float) -> dict[str, float]:
    """Return the milliseconds of each method's update of one agent.

    Times of a shared machine drift; to keep ratios of the medians those of the turns, every time is
    divided by the turn's first and multiplied by the median of these.
    """
    updates = [_Update(task, method) for method in methods]
    watch = Stopwatch(1, warm_up=WARM_UP, seconds=seconds * len(methods))
    turns = []
    while not watch.tick():
        turns.append([update() for update in updates])
    turns = turns[WARM_UP:]
    first = median(turn[0] for turn in turns)
    times = {
        f"ms {method}": 1e3 * first * median(turn[i] / turn[0] for turn in turns)
        for i, method in enumerate(methods)
    }
    return times | {"core": watch.result()["core"]}


class _Update:
    """One method's compiled update and its state."""

    def __init__(self, task: str, method: str) -> None:
        spec = resolve(task)
        (config,) = make_grid(task, [method], [0])
        population = init_population([config], spec.observation_size, spec.action_size)
        rollout = _rollout(spec.observation_size, spec.action_size, config.shape)
        numbers = coefficients_at([config], [0])
        index = jnp.zeros(1, jnp.int32)
        self._arguments = (rollout, numbers, population.keys, index, jnp.int32(1))
        self._learners = population.learners
        lowered = learn_population.lower(config.shape, self._learners, *self._arguments)
        self._learn: Any = lowered.compile(compiler_options())

    def __call__(self) -> float:
        """Update once; return the seconds it took."""
        start = time.perf_counter()
        self._learners, metrics = self._learn(self._learners, *self._arguments)
        jax.block_until_ready(metrics)
        return time.perf_counter() - start


def _rollout(observation_size: int, action_size: int, shape: Shape) -> Rollout:
    """Return random experience of one agent with one environment."""
    rng = np.random.default_rng(0)

    def normal(*size: int) -> Any:
        return jnp.asarray(rng.normal(size=(1, shape.num_steps, 1, *size)), jnp.float32)

    no = jnp.zeros((1, shape.num_steps, 1), bool)
    raw = normal(action_size)
    return Rollout(
        Transition(
            obs=normal(observation_size),
            action=raw if DISTRIBUTIONS[shape.distribution].has_scale else jax.nn.sigmoid(raw),
            reward=normal(),
            terminated=no,
            truncated=no,
            valid=~no,
            final_obs=None,
            episode_return=normal(),
            episode_length=no.astype(jnp.int32),
            fault=no.astype(jnp.int8),
        ),
        normal(observation_size)[:, 0],
    )
