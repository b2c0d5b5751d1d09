"""Collection, step by step: `act` with the plain policy, `observe` what the simulator returns.

Only what the next action depends on happens here, because every kernel inside the simulator's loop
costs its launch; `digest.py` does the rest after the last step.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32

from robustpo.algorithm.augmentation import draw_uniform, scale_amplitude
from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.algorithm.experience import Coefficients, Transition
from robustpo.algorithm.networks import AgentParams, action_distribution
from robustpo.algorithm.normalization import (
    RunningMoments,
    normalize_observation,
    observation_offset,
)
from robustpo.algorithm.perturbation import draw_noise, shift_by
from robustpo.base.loops import on_accelerator
from robustpo.config.shape import Shape
from robustpo.training.population import (
    AUGMENT_STREAM,
    COLLECT_STREAM,
    SHIFT_STREAM,
    pad_agents,
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Draws:
    """All that is random in collection; leading axis `T` for a rollout, `[Q, E, ...]` in a step.

    Attributes:
        action: standard noise of the actions, `[T, Q, E, A, ...]`.
        shift: standard noise that `scale_shift` turns into what shifts the location, only where
            collection is perturbed.
        scale: what becomes factors of the observations, `[T + 1, Q, E, 1 or O]`, only for RAD; the
            last row belongs to the observation after the rollout.
    """

    action: Array
    shift: Array | None
    scale: Array | None

    def steps(self) -> Draws:
        """Return what belongs to the steps of the rollout."""
        return replace(self, scale=None if self.scale is None else self.scale[:-1])

    def last_scale(self) -> Array | None:
        """Return what scales the observation after the rollout."""
        return None if self.scale is None else self.scale[-1]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Flags:
    """The small numbers of a step, one per environment.

    Attributes:
        reward: raw reward.
        terminated: the episode reached a terminal state.
        truncated: the episode was cut by a time limit.
        valid: False for phantom rows.
    """

    reward: Float32[Array, "*N"]
    terminated: Bool[Array, "*N"]
    truncated: Bool[Array, "*N"]
    valid: Bool[Array, "*N"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RawRow:
    """What one step leaves behind; leading axis `T` after a scan.

    Attributes:
        obs: normalised observation the action was chosen on, `[Q, E, O]`.
        action: the sampled raw action, not clipped to the bounds, `[Q, E, A]`.
        executed: what the simulator was given for it, `[Q, E, A]`; None where that is the clipped
            raw action.
        flags: reward and flags, `[P·E]` each.
        final_obs: normalised true successor `[Q, E, O]`, only where simulators reset in the step.
    """

    obs: Float32[Array, "*T Q E O"]
    action: Float32[Array, "*T Q E A"]
    executed: Float32[Array, "*T Q E A"] | None
    flags: Flags
    final_obs: Float32[Array, "*T Q E O"] | None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Decision:
    """What the agents do in one step.

    Attributes:
        obs: what entered them.
        action: the sampled raw actions.
        given: what the simulator is given, `[P·E, A]`.
    """

    obs: Float32[Array, "Q E O"]
    action: Float32[Array, "Q E A"]
    given: Float32[Array, "N A"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Outcome:
    """What the host looks at of a rollout, each `[P, T, E]`, fetched at once.

    Attributes:
        valid: False for phantom rows.
        terminated, truncated: how episodes ended.
        episode_return, episode_length: of the episode so far.
        fault: what is not finite, by its index in `FAULTS`.
        executed: `[P, T, E, A]`, what the simulators were given, where they are to be replayed.
    """

    valid: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    episode_return: np.ndarray
    episode_length: np.ndarray
    fault: np.ndarray
    executed: np.ndarray | None


def outcome(rows: Transition, replayed: bool) -> Any:
    """Return what of a rollout is fetched as an `Outcome`."""
    given: Any = {f.name: getattr(rows, f.name) for f in fields(Outcome)}
    executed = rows.action if rows.executed is None else rows.executed
    return Outcome(**given | {"executed": executed if replayed else None})


def draw_rollout(
    keys: Array, iterations: Array, shape: Shape, observation_size: int, action_size: int
) -> Draws:
    """Draw all that each agent's collection of a rollout needs, from the agent's own key."""

    def one_agent(inputs: tuple[Array, Array]) -> Draws:
        key, iteration = inputs

        def stream(number: int) -> Array:
            return jax.random.fold_in(jax.random.fold_in(key, number), iteration)

        size = (shape.num_steps, shape.num_envs, action_size)
        shift = scale = None
        if shape.collection_noise != "none":
            shift = draw_noise(shape.collection_noise, size, key=stream(SHIFT_STREAM))
        if shape.augmentation == "rad":
            observations = (shape.num_steps + 1, shape.num_envs, observation_size)
            scale = draw_uniform(observations, shape, key=stream(AUGMENT_STREAM))
        action = DISTRIBUTIONS[shape.distribution].noise(size, key=stream(COLLECT_STREAM))
        return Draws(action, shift, scale)

    # The same bits either way: they are integers until the last.
    map_agents = jax.vmap(one_agent) if on_accelerator() else partial(jax.lax.map, one_agent)
    drawn = map_agents((keys, iterations))
    drawn = pad_agents(drawn, len(keys), shape.num_envs)
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), drawn)


def scale_shift(
    standard: Float32[Array, "T Q E A"],
    params: AgentParams,
    coefficients: Coefficients,
    shape: Shape,
) -> Float32[Array, "T Q E A"]:
    """Turn standard noise into what shifts each agent's location in collection.

    For a whole rollout at once: within a step, products and sums of it could be contracted in more
    than one way, and in populations of different sizes were.
    """

    def one_agent(standard: Array, params: AgentParams, numbers: Coefficients) -> Array:
        outputs = jnp.zeros(standard.shape[-1])
        policy = DISTRIBUTIONS[shape.distribution].build(outputs, params.log_std)
        return shift_by(policy, standard, numbers).mode()

    num_agents = coefficients.alpha.shape[0]
    padded = pad_agents((params, coefficients), num_agents, shape.num_envs)
    return jax.vmap(one_agent, (1, 0, 0), 1)(standard, *padded)


def act(
    params: AgentParams,
    obs: Float32[Array, "Q E O"],
    draws: Draws,
    shape: Shape,
) -> Float32[Array, "Q E A"]:
    """Sample every agent's raw actions from its plain policy, or as a control from a shifted one.

    Args:
        params: of every agent.
        obs: what enters the agents.
        draws: of this step, shifts scaled by `scale_shift`.
        shape: shape of the population.
    """

    def one_agent(params: AgentParams, obs: Array, draws: Draws) -> Array:
        policy = action_distribution(params, obs, shape)
        if draws.shift is not None:
            policy = policy.shift(draws.shift)
        return policy.sample(draws.action)

    return jax.vmap(one_agent)(params, obs, draws)


def augment(
    obs: Float32[Array, "Q E O"],
    moments: RunningMoments,
    scale: Array | None,
    coefficients: Coefficients,
    shape: Shape,
) -> Float32[Array, "Q E O"]:
    """Return what enters the agents: normalised observations, with RAD randomly scaled ones."""
    if scale is None:
        return obs

    def one_agent(
        obs: Array, moments: RunningMoments, scale: Array, numbers: Coefficients
    ) -> Array:
        offset = scaling_offset(moments, shape)
        return scale_amplitude(obs, scale, numbers.scale_low, numbers.scale_high, offset)

    return jax.vmap(one_agent)(obs, moments, scale, coefficients)


def scaling_offset(moments: RunningMoments, shape: Shape) -> Array | None:
    """Return what `scale_amplitude` needs to scale raw observations; None for normalised ones."""
    raw = shape.augmentation_of == "raw" and shape.normalize_observations
    return observation_offset(moments) if raw else None


def observe(
    moments: RunningMoments, obs: Float32[Array, "Q E O"], shape: Shape
) -> tuple[RunningMoments, Float32[Array, "Q E O"]]:
    """Take new raw observations into the running moments, then normalise them by these."""
    if not shape.normalize_observations:
        return moments, obs

    def one_agent(moments: RunningMoments, obs: Array) -> tuple[RunningMoments, Array]:
        moments = moments.update(obs)
        return moments, normalize_observation(obs, moments)

    return jax.vmap(one_agent)(moments, obs)


def observe_ends(
    moments: RunningMoments,
    obs: Float32[Array, "Q E O"],
    final_obs: Float32[Array, "Q E O"],
    ended: Bool[Array, "Q E"],
    shape: Shape,
) -> tuple[RunningMoments, Float32[Array, "Q E O"], Float32[Array, "Q E O"]]:
    """Do what `observe` does where an episode is reset in the step that ends it.

    The moments take in the observation that each action led to and, where an episode has ended,
    also the one that the next begins with: every observation once, as with other simulators.
    """
    if not shape.normalize_observations:
        return moments, obs, final_obs

    def one_agent(moments: RunningMoments, obs: Array, final_obs: Array, ended: Array) -> tuple:
        seen = jnp.concatenate([final_obs, obs])
        counts = jnp.concatenate([jnp.ones_like(ended), ended])
        moments = moments.update_valid(seen, counts)
        return (
            moments,
            normalize_observation(obs, moments),
            normalize_observation(final_obs, moments),
        )

    return jax.vmap(one_agent)(moments, obs, final_obs, ended)
