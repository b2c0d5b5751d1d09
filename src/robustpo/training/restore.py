"""Between a running population and the checkpoints of its agents."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from robustpo.algorithm.normalization import normalize_observation
from robustpo.environments.base import HostEnvironment, Replayed, RestartedEnvironment
from robustpo.environments.watchdog import watching
from robustpo.errors import ConfigError, SimulatorError
from robustpo.training.collectors import Collector
from robustpo.training.population import CollectorState, padded_size, put_agents

# Replayed observations, normalised, differ from those saved by rounding at most.
TOLERANCE = 1e-4
# Beyond either, a new episode begins instead. The longest of the catalog, 8M steps of
# quadruped-escape, has 8,000 resets, which take some eight minutes.
MAX_RESETS = 1_000_000
MAX_SECONDS = 1800.0
# Between two looks at the clock.
RESETS_AT_ONCE = 1000


@dataclass(frozen=True)
class SavedCollection:
    """One agent's part of collection, as a checkpoint has it.

    Attributes:
        state: the collector's state of one agent, without a leading axis.
        resets: resets of each of its environments so far, `[E]`.
        tails: actions since the last reset of each, `E` arrays `[L, A]`.
        kept: whether each of the tails is whole, `[E]`.
        simulator: the state of its environments, leaves `[E, ...]`; None if they are replayed.
        origin: what is subtracted from what they observe, `[O]`.
    """

    state: CollectorState
    resets: np.ndarray
    tails: list[np.ndarray]
    kept: np.ndarray
    simulator: PyTree
    origin: np.ndarray


def to_tensors(name: str, tree: PyTree) -> dict[str, np.ndarray]:
    """Name every leaf of a pytree by its place."""
    return {f"{name}{place}": np.asarray(leaf) for place, leaf in _places(tree)}


def from_tensors(name: str, like: PyTree, tensors: dict[str, np.ndarray]) -> PyTree:
    """Build a pytree like another from named leaves.

    Raises:
        ConfigError: if a leaf is missing or has another shape or type.
    """
    leaves = []
    for place, leaf in _places(like):
        found = tensors.get(f"{name}{place}")
        wanted = np.asarray(leaf)
        if found is None or (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            kind = "nothing" if found is None else f"{found.dtype}{list(found.shape)}"
            raise ConfigError(
                f"it holds {kind} as {name}{place}, expected {wanted.dtype}{list(wanted.shape)}"
            )
        leaves.append(found)
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _places(tree: PyTree) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def restore_collection(
    collector: Collector, state: CollectorState, saved: Sequence[SavedCollection | None]
) -> tuple[CollectorState, np.ndarray]:
    """Bring agents back to where they stood, simulators and all.

    Args:
        collector: freshly started.
        state: what its `start` returned.
        saved: one per agent; None leaves an agent at its start.

    Returns:
        The state, and which environments begin a new episode because theirs could not be brought
        back, `[P, E]`.
    """
    restarted = np.zeros((collector.num_agents, collector.shape.num_envs), bool)
    if all(agent is None for agent in saved):
        return state, restarted
    state = put_agents(state, [agent and agent.state for agent in saved])
    collector.set_origins([agent and agent.origin for agent in saved])
    environment = collector.environment
    given = np.array([agent is not None for agent in saved])
    if isinstance(environment, RestartedEnvironment):
        restarted[given] = True
        return _restart(collector, environment, state, saved, restarted), restarted
    if not isinstance(environment, Replayed):
        collector.load_simulators([agent and agent.simulator for agent in saved])
        return state, restarted
    restarted = ~_replay(collector, environment, state, saved) & given[:, None]
    if isinstance(environment, HostEnvironment):
        # It has been heard already.
        environment.take_information()
    if restarted.any():
        state = _begin_episodes(collector, environment, state, restarted)
    return state, restarted


def _replay(
    collector: Collector,
    environment: Replayed,
    state: CollectorState,
    saved: Sequence[SavedCollection | None],
) -> np.ndarray:
    """Replay what each environment did; return where it led to what was saved, `[P, E]`."""
    folded = (collector.num_agents, collector.shape.num_envs)
    usable = np.zeros(folded, bool)
    further = np.zeros(folded, int)
    nothing = np.zeros((0, collector.spec.action_size), np.float32)
    tails = [nothing] * usable.size
    for index, agent in enumerate(saved):
        if agent is None:
            continue
        few = agent.resets <= MAX_RESETS
        further[index] = np.where(few, agent.resets - 1, 0)
        usable[index] = agent.kept & few & (not environment.random_step)
        for env in np.flatnonzero(usable[index]):
            tails[index * folded[1] + env] = agent.tails[env]
    try:
        with watching():
            usable &= _reset_all_but_one(environment, further.ravel()).reshape(folded)
            obs = environment.replay(further.ravel().clip(max=1), tails)
    except SimulatorError:
        return np.zeros(folded, bool)
    found = np.asarray(_normalized(collector, state, obs))
    close = np.all(np.isclose(found, state.obs, TOLERANCE, TOLERANCE), axis=-1)
    return usable & close[: collector.num_agents]


def _reset_all_but_one(environment: Replayed, further: np.ndarray) -> np.ndarray:
    """Make all but the last of further resets, `[N]`; return where there was time for them."""
    left = (further - 1).clip(0)
    nothing = [np.zeros((0, environment.spec.action_size), np.float32)] * len(left)
    deadline = time.monotonic() + MAX_SECONDS
    while left.any() and time.monotonic() < deadline:
        environment.replay(left.clip(max=RESETS_AT_ONCE), nothing)
        left -= left.clip(max=RESETS_AT_ONCE)
    return left == 0


def _begin_episodes(
    collector: Collector, environment: Replayed, state: CollectorState, which: np.ndarray
) -> CollectorState:
    """Reset some environments, a mask `[P, E]`, once more."""
    nothing = np.zeros((0, collector.spec.action_size), np.float32)
    with watching():
        obs = environment.replay(which.ravel().astype(int), [nothing] * which.size)
    return _begun(collector, state, which, obs)


def _restart(
    collector: Collector,
    environment: RestartedEnvironment,
    state: CollectorState,
    saved: Sequence[SavedCollection | None],
    which: np.ndarray,
) -> CollectorState:
    """Begin other episodes in all environments of some agents, a mask `[P, E]`."""
    resets = np.ones(which.shape, int)
    for index, agent in enumerate(saved):
        if agent is not None:
            resets[index] = agent.resets
    with watching():
        obs = environment.restart(which.ravel(), resets.ravel())
    return _begun(collector, state, which, obs)


def _begun(
    collector: Collector, state: CollectorState, which: np.ndarray, obs: np.ndarray
) -> CollectorState:
    """Return the state with first observations `[P·E, O]` where episodes begin, `[P, E]`."""
    num_envs = collector.shape.num_envs
    mask = np.zeros((padded_size(collector.num_agents, num_envs), num_envs), bool)
    mask[: collector.num_agents] = which
    return replace(
        state,
        obs=jnp.where(mask[..., None], _normalized(collector, state, obs), state.obs),
        discounted_return=jnp.where(mask, 0, state.discounted_return),
        episode_return=jnp.where(mask, 0, state.episode_return),
        episode_length=jnp.where(mask, 0, state.episode_length),
    )


def _normalized(collector: Collector, state: CollectorState, obs: np.ndarray) -> Array:
    """Normalise raw observations `[P·E, O]` by the moments as they are, to `[Q, E, O]`."""
    folded = collector.from_environment(jnp.asarray(obs))
    if not collector.shape.normalize_observations:
        return folded
    return jax.vmap(normalize_observation)(folded, state.obs_moments)
