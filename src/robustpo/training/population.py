"""Many agents as one pytree: their states, their keys and their numbers per iteration.

An agent does not depend on the population it is in. Everything it draws comes from the key of its
own seed, its update runs by itself (`map_one_by_one`), and `collect` carries the population padded
to a multiple of `LANES`: XLA vectorises elementwise code across agents, so without padding the last
agents of a population would take a differently rounded path than the first. An agent with `LANES`
environments or more fills these by itself and is carried as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32, PyTree

from robustpo.algorithm.experience import Coefficients, Rollout
from robustpo.algorithm.learner import LearnerState, Metrics, init_learner, learn
from robustpo.algorithm.networks import AgentParams, init_params
from robustpo.algorithm.normalization import RunningMoments
from robustpo.algorithm.random import THREEFRY, make_key
from robustpo.base.loops import map_one_by_one
from robustpo.config.run import RunConfig
from robustpo.config.schedules import SCHEDULES, scheduled
from robustpo.config.settings import NUMBER_FIELDS, SCHEDULE_OF, Settings
from robustpo.config.shape import Shape
from robustpo.training.compilation import compiler_options

LANES = 8


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CollectorState:
    """What collection carries from step to step, padded from `P` agents to `Q` (`padded_size`).

    Attributes:
        obs: the normalised observation to act on next, `[Q, E, O]`.
        obs_moments: running moments of the raw observations, `[Q, ...]`.
        return_moments: running moments of the discounted return, `[Q, ...]`.
        discounted_return: discounted return of the running episode so far, `[Q, E]`.
        episode_return: undiscounted raw return of the running episode so far, `[Q, E]`.
        episode_length: valid steps of the running episode so far, `[Q, E]`.
    """

    obs: Float32[Array, "Q E O"]
    obs_moments: RunningMoments
    return_moments: RunningMoments
    discounted_return: Float32[Array, "Q E"]
    episode_return: Float32[Array, "Q E"]
    episode_length: Int32[Array, "Q E"]


@dataclass(frozen=True)
class Population:
    """The agents of one shape that are trained together.

    Attributes:
        learners: parameters and optimisers, `[P, ...]`.
        collector: state of collection, `[Q, ...]`.
        keys: one key per agent, `[P]`.
    """

    learners: LearnerState
    collector: CollectorState
    keys: Array


def padded_size(num_agents: int, num_envs: int) -> int:
    """Return `Q`: the next multiple of `LANES`, or `P` if the environments fill these anyway."""
    return num_agents if num_envs >= LANES else -(-num_agents // LANES) * LANES


def pad_agents(tree: PyTree, num_agents: int, num_envs: int) -> PyTree:
    """Pad the leading axis of every leaf from `P` to `Q` with zeros."""
    extra = padded_size(num_agents, num_envs) - num_agents
    if not extra:
        return tree
    return jax.tree.map(
        lambda x: jnp.concatenate([x, jnp.zeros((extra, *x.shape[1:]), x.dtype)]), tree
    )


def take_agent(tree: PyTree, index: int) -> PyTree:
    """Return a copy of one agent's part of a pytree `[P, ...]` on the host."""
    return jax.tree.map(lambda x: np.asarray(x)[index].copy(), tree)


def put_agents(tree: PyTree, agents: Sequence[PyTree | None]) -> PyTree:
    """Replace the parts of those agents that are given, in a pytree `[P, ...]` or longer."""

    def put(all_: Any, *own: Any) -> Any:
        changed = np.array(all_)
        for index, value in zip(given, own, strict=True):
            changed[index] = value
        return jnp.asarray(changed)

    given = [index for index, agent in enumerate(agents) if agent is not None]
    return jax.tree.map(put, tree, *(agents[index] for index in given)) if given else tree


def stack(trees: Sequence[PyTree]) -> PyTree:
    """Stack the leaves of equal pytrees along a new leading axis."""
    # In NumPy: eager JAX would compile a little program for every shape of leaf.
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *trees)


def init_population(
    configs: Sequence[RunConfig], observation_size: int, action_size: int
) -> Population:
    """Create the agents of a population from their seeds, each by itself."""
    shape = configs[0].shape
    seeds = [config.settings.seed for config in configs]
    params = [
        init_params(
            observation_size,
            action_size,
            shape.hidden_sizes,
            rng=np.random.default_rng([INIT_STREAM, seed]),
            distribution=shape.distribution,
            shared=shape.shared_network,
            critic_sizes=shape.critic_sizes,
            layer_norm=shape.layer_norm,
            network=shape.network,
        )
        for seed in seeds
    ]
    init = jax.jit(_init_learners, static_argnums=(1,), compiler_options=compiler_options())
    learners = init(stack(params), shape)
    words = np.stack([np.asarray(jax.random.key_data(make_key(seed))) for seed in seeds])
    keys = jax.random.wrap_key_data(jnp.asarray(words), impl=THREEFRY)
    moments = [RunningMoments.create((observation_size,))] * len(configs)
    collector = init_collector(stack(moments), len(configs), shape.num_envs)
    return Population(learners, collector, keys)


def _init_learners(params: AgentParams, shape: Shape) -> LearnerState:
    return jax.vmap(partial(init_learner, shape=shape))(params)


INIT_STREAM, COLLECT_STREAM, LEARN_STREAM, SHIFT_STREAM, AUGMENT_STREAM = range(5)


def init_collector(obs_moments: RunningMoments, num_agents: int, num_envs: int) -> CollectorState:
    """Return the state before the first observation, with moments `[P, ...]` to start from."""
    size = padded_size(num_agents, num_envs)
    zeros: Any = np.zeros((size, num_envs), np.float32)
    extra = [jax.tree.map(lambda x: np.zeros_like(x[0]), obs_moments)] * (size - num_agents)
    own = [jax.tree.map(lambda x, i=i: np.asarray(x)[i], obs_moments) for i in range(num_agents)]
    state = CollectorState(
        obs=jnp.zeros((size, num_envs, obs_moments.mean.shape[-1])),
        obs_moments=stack(own + extra),
        return_moments=stack([RunningMoments.create()] * size),
        discounted_return=zeros,
        episode_return=zeros,
        episode_length=zeros.astype(np.int32),
    )
    return jax.tree.map(jnp.array, state)


def simulator_seeds(config: RunConfig) -> list[int]:
    """Return one seed per environment of an agent, drawn from the agent's seed alone."""
    words = np.random.SeedSequence(config.settings.seed).generate_state(config.shape.num_envs)
    return [int(word) & 0x7FFFFFFF for word in words]


def coefficients_at(configs: Sequence[RunConfig], iterations: Sequence[int]) -> Coefficients:
    """Evaluate every agent's schedules for its own iteration (0-based) into numbers `[P]`."""
    rows = [
        _coefficients(config.settings, min(iteration / config.num_iterations, 1.0))
        for config, iteration in zip(configs, iterations, strict=True)
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    numbers: dict[str, Any] = {
        name: np.asarray(column, bool if column.dtype == bool else np.float32)
        for name, column in columns.items()
    }
    # One transfer, where converting each by itself would launch a program for each.
    return Coefficients(**jax.device_put(numbers))


def _coefficients(settings: Settings, progress: float) -> dict[str, Any]:
    numbers = {field.name: getattr(settings, field.name) for field in NUMBER_FIELDS}
    for name, schedule in SCHEDULE_OF.items():
        numbers[name] = scheduled(numbers[name], getattr(settings, schedule), progress)
    off = {f.name: f.metadata["off"] for f in NUMBER_FIELDS if numbers[f.name] is None}
    bootstraps = settings.time_limit == "bootstrap"
    return {
        **numbers,
        **off,
        "alpha_relative": SCHEDULES[settings.alpha_schedule].relative,
        "bootstrap": bootstraps,
        "return_goes_on": bootstraps and settings.reward_return_reset == "time-limit",
        "loss_weights": settings.loss_weights,
    }


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Learning:
    """What an agent's update starts from; leading axis `P` for a population."""

    learner: LearnerState
    rollout: Rollout
    coefficients: Coefficients
    key: Array
    iteration: Int32[Array, "*P"]


@partial(jax.jit, static_argnums=(0,), static_argnames=("vectorized",), donate_argnums=(1,))
def learn_population(
    shape: Shape,
    learners: LearnerState,
    rollout: Rollout,
    coefficients: Coefficients,
    keys: Array,
    iterations: Array,
    num_agents: Array,
    *,
    vectorized: bool = False,
) -> tuple[LearnerState, Metrics]:
    """Update a whole population, one agent after the other or all of them at once.

    Both draw the same numbers and differ by the order in which sums are rounded. One after the
    other an agent's bits do not depend on its neighbours; at once fills an accelerator. Traced and
    compiled once in a process for each shape and size.
    """

    def one_agent(agent: Learning) -> tuple[LearnerState, Metrics]:
        key = jax.random.fold_in(jax.random.fold_in(agent.key, LEARN_STREAM), agent.iteration)
        return learn(agent.learner, agent.rollout, agent.coefficients, shape, key=key)

    agents = Learning(learners, rollout, coefficients, keys, iterations)
    if vectorized:
        return jax.vmap(one_agent)(agents)
    return map_one_by_one(one_agent, agents, num_agents)
