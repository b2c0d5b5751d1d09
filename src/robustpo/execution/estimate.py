"""How long training will take, from two short measurements made just before it starts.

Processor time is what is measured: while workers start, they share cores that they will have to
themselves when they train.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from robustpo.config.run import RunConfig
from robustpo.config.shape import Shape
from robustpo.environments import catalog
from robustpo.environments.base import HostEnvironment, TaskSpec
from robustpo.environments.bounds import bounds_to_try
from robustpo.environments.envpool import HostEnvPool
from robustpo.environments.make import make_host_environment
from robustpo.environments.watchdog import watching

MEASURED_SECONDS = 0.1
# Making a simulator takes longer than measuring it, and more of them cost little less per step.
MEASURED_ENVIRONMENTS = 3
FORWARD_AND_BACKWARD = 3.0
# Compiled updates take more than NumPy's time for their matrix products: activations, the optimiser
# and shuffling come on top. Measured on networks of 64×64.
BEYOND_PRODUCTS = 1.4


def seconds_per_step(
    config: RunConfig, num_agents: int, task: str | Callable[[], Any], env_processes: int = 0
) -> float | None:
    """Estimate the time of one simulator step of one agent, its share of learning included.

    None for simulators written in JAX: they would be compiled once more, for that alone.
    """
    entry = catalog.find(config.task)
    if entry is not None and entry.simulator == "jax":
        return None
    count = min(num_agents * config.shape.num_envs, MEASURED_ENVIRONMENTS)
    environment = make_host_environment(task, list(range(1, count + 1)), processes=env_processes)
    if environment.spec.simulator == "jax":
        return None
    try:
        with watching():
            simulator = _simulator_seconds(environment)
        spec = environment.spec
    finally:
        environment.close()
    return simulator + learner_products(config.shape, spec) * BEYOND_PRODUCTS / _product_rate()


def learner_products(shape: Shape, spec: TaskSpec) -> float:
    """Return the multiply-adds that collecting and learning cost per simulator step."""
    sizes = (spec.observation_size, *shape.hidden_sizes)
    actor = (*sizes, spec.action_size)
    critic = (sizes[-1], 1) if shape.shared_network else (sizes[0], *shape.critic_sizes, 1)
    both_networks = sum(a * b for n in (actor, critic) for a, b in itertools.pairwise(n))
    # DrAC passes every observation twice; smoothing the parameters, once per draw.
    passes = 2 if shape.augmentation == "drac" else 1
    passes *= shape.draws if shape.parameter_noise != "none" else 1
    return both_networks * (shape.update_epochs * FORWARD_AND_BACKWARD * passes + 2)


def _simulator_seconds(environment: HostEnvironment) -> float:
    # A simulator that is not compiled in may wait for processes of its own.
    clock = time.process_time if isinstance(environment, HostEnvPool) else time.perf_counter
    rng = np.random.default_rng(0)
    low, high = bounds_to_try(environment.spec.action_low, environment.spec.action_high)
    environment.reset()
    count = environment.num_envs
    steps, start = 0, clock()
    while (elapsed := clock() - start) < MEASURED_SECONDS:
        action = rng.uniform(low, high, (count, environment.spec.action_size))
        environment.step(action.astype(np.float32))
        steps += count
    return elapsed / steps


def _product_rate() -> float:
    """Measure this core's multiply-adds per second on a minibatch-sized product."""
    matrix = np.ones((64, 64), np.float32)
    best = np.inf
    for _ in range(5):
        start = time.process_time()
        for _ in range(40):
            np.dot(matrix, matrix)
        best = min(best, (time.process_time() - start) / 40)
    return 64**3 / best
