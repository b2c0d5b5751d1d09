"""Collection, piece by piece: `act` with the plain policy, `observe` in every step, `digest` after.

What the next action depends on happens step by step; rewards are taken in after the last step, in
one small loop of their own, because every kernel inside the simulator's loop costs its launch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32

from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.algorithm.experience import FAULTS, Rollout, Transition
from robustpo.algorithm.networks import AgentParams, mlp
from robustpo.algorithm.normalization import (
    RunningMoments,
    normalize_observation,
    normalize_reward,
)
from robustpo.config import Shape
from robustpo.training.population import COLLECT_STREAM, CollectorState, pad_agents


class Flags(NamedTuple):
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


class RawRow(NamedTuple):
    """What one step leaves behind; leading axis `T` after a scan.

    Attributes:
        obs: normalised observation the action was chosen on, `[Q, E, O]`.
        action: the sampled action, not clipped to the bounds, `[Q, E, A]`.
        flags: reward and flags, `[P·E]` each.
        final_obs: normalised true successor `[Q, E, O]`, only where simulators reset in the step.
    """

    obs: Float32[Array, "*T Q E O"]
    action: Float32[Array, "*T Q E A"]
    flags: Flags
    final_obs: Float32[Array, "*T Q E O"] | None


def rollout_noise(keys: Array, iterations: Array, shape: Shape, action_size: int) -> Array:
    """Draw each agent's action noise of a whole rollout, `[T, Q, E, A]`, from its own key."""

    def one_agent(inputs: tuple[Array, Array]) -> Array:
        key, iteration = inputs
        key = jax.random.fold_in(jax.random.fold_in(key, COLLECT_STREAM), iteration)
        size = (shape.num_steps, shape.num_envs, action_size)
        return DISTRIBUTIONS[shape.distribution].noise(size, key=key)

    noise = jax.lax.map(one_agent, (keys, iterations))
    return jnp.moveaxis(pad_agents(noise, len(keys)), 0, 1)


def act(
    params: AgentParams, obs: Float32[Array, "Q E O"], noise: Array, shape: Shape
) -> Float32[Array, "Q E A"]:
    """Sample every agent's actions from its plain, unperturbed policy."""

    def one_agent(params: AgentParams, obs: Array, noise: Array) -> Array:
        location = mlp(params.actor, obs, shape.activation)
        return DISTRIBUTIONS[shape.distribution](location, params.log_std).sample(noise)

    return jax.vmap(one_agent)(params, obs, noise)


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


def digest(
    state: CollectorState, rows: RawRow, gamma: Float32[Array, " P"], shape: Shape
) -> tuple[CollectorState, Rollout]:
    """Turn a rollout's raw rows into each agent's transitions `[P, T, E, ...]`.

    Args:
        state: the collector's state after the last step; its reward statistics are still those
            before the first.
        rows: the raw rows, `[T, ...]`.
        gamma: discount of every agent.
        shape: shape of the population.
    """
    num_agents = gamma.shape[0]
    flags = Flags(
        *(_unfold(x, num_agents, shape) for x in rows.flags),
    )
    state, rewards, episode_returns, episode_lengths = _reward_statistics(
        state, flags, pad_agents(gamma, num_agents), shape
    )
    last_obs = state.obs[:num_agents]
    obs = _agents_first(rows.obs, num_agents)
    successors = jnp.concatenate([obs[:, 1:], last_obs[:, None]], 1)
    final_obs = None if rows.final_obs is None else _agents_first(rows.final_obs, num_agents)
    reward = _agents_first(flags.reward, num_agents)
    valid = _agents_first(flags.valid, num_agents)
    transitions = Transition(
        obs=obs,
        action=_agents_first(rows.action, num_agents),
        reward=_agents_first(rewards, num_agents),
        terminated=_agents_first(flags.terminated, num_agents),
        truncated=_agents_first(flags.truncated, num_agents),
        valid=valid,
        final_obs=final_obs,
        episode_return=_agents_first(episode_returns, num_agents),
        episode_length=_agents_first(episode_lengths, num_agents),
        fault=_fault(successors, jnp.where(valid, reward, 0.0)),
    )
    return state, Rollout(transitions, last_obs)


def _reward_statistics(
    state: CollectorState, rows: Flags, gamma: Array, shape: Shape
) -> tuple[CollectorState, Array, Array, Array]:
    """Run normalised rewards, episode returns and lengths through time, `[T, Q, E]` each."""

    def one_agent(carry: CollectorState, row: Flags, gamma: Array) -> tuple:
        reward = jnp.where(row.valid, row.reward, 0.0)
        done = row.terminated | row.truncated
        discounted = carry.discounted_return * gamma + reward
        moments, scaled = carry.return_moments, reward
        if shape.normalize_rewards:
            moments = moments.update_valid(discounted, row.valid)
            scaled = normalize_reward(reward, moments)
        total = carry.episode_return + reward
        length = carry.episode_length + row.valid
        carry = replace(
            carry,
            return_moments=moments,
            discounted_return=jnp.where(done, 0.0, discounted),
            episode_return=jnp.where(done, 0.0, total),
            episode_length=jnp.where(done, 0, length),
        )
        return carry, (scaled, total, length)

    def step(carry: CollectorState, row: Flags) -> tuple:
        return jax.vmap(one_agent)(carry, row, gamma)

    # Observations play no part here and would only be copied along.
    slim = replace(state, obs=None, obs_moments=None)
    slim, outputs = jax.lax.scan(step, slim, rows)
    return replace(slim, obs=state.obs, obs_moments=state.obs_moments), *outputs


def _unfold(x: Array, num_agents: int, shape: Shape) -> Array:
    """Turn `[T, P·E]` into `[T, Q, E]`."""
    agents_first = jnp.moveaxis(x.reshape(len(x), num_agents, shape.num_envs), 1, 0)
    return jnp.moveaxis(pad_agents(agents_first, num_agents), 0, 1)


def _agents_first(x: Array, num_agents: int) -> Array:
    """Drop the padding: `[T, Q, ...]` to `[P, T, ...]`."""
    return jnp.moveaxis(x[:, :num_agents], 1, 0)


def _fault(obs: Array, reward: Array) -> Array:
    """Name what is not finite by its index in `FAULTS`; 0 if all is well."""
    obs_fault = jnp.where(jnp.isfinite(obs).all(-1), 0, FAULTS.index("observation"))
    reward_fault = jnp.where(jnp.isfinite(reward), 0, FAULTS.index("reward"))
    return jnp.maximum(obs_fault, reward_fault).astype(jnp.int8)
