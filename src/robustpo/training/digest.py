"""After the last step of a rollout: rewards, returns and lengths of episodes, as one `Rollout`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32

from robustpo.algorithm.experience import FAULTS, Coefficients, Rollout, Transition
from robustpo.algorithm.normalization import normalize_reward
from robustpo.config.shape import Shape
from robustpo.training.population import CollectorState, pad_agents
from robustpo.training.rollout import Flags, RawRow, augment, scaling_offset

# An episode's length stops counting here, where an int32 ends.
MAX_LENGTH = 2**31 - 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scores:
    """What the rewards of a rollout come to, `[T, Q, E]`.

    Attributes:
        reward: normalised reward.
        episode_return: raw return of the episode up to this row.
        episode_length: valid steps of the episode up to this row.
    """

    reward: Float32[Array, "*T E"]
    episode_return: Float32[Array, "*T E"]
    episode_length: Int32[Array, "*T E"]


def digest(
    state: CollectorState,
    rows: RawRow,
    last_scale: Array | None,
    coefficients: Coefficients,
    shape: Shape,
) -> tuple[CollectorState, Rollout]:
    """Turn a rollout's raw rows into each agent's transitions `[P, T, E, ...]`.

    Args:
        state: the collector's state after the last step; its reward statistics are still those
            before the first.
        rows: the raw rows, `[T, ...]`.
        last_scale: what scales the observation after the last step, only for RAD.
        coefficients: of every agent, `[P]`.
        shape: shape of the population.
    """
    num_agents = coefficients.gamma.shape[0]
    padded = pad_agents(coefficients, num_agents, shape.num_envs)
    flags = jax.tree.map(lambda x: _unfold(x, num_agents, shape), rows.flags)
    state, scores = _reward_statistics(state, flags, padded, shape)
    last_obs = augment(state.obs, state.obs_moments, last_scale, padded, shape)[:num_agents]
    offset = None
    if shape.augmentation == "drac":
        own = jax.tree.map(lambda x: x[:num_agents], state.obs_moments)
        offset = scaling_offset(own, shape)
    obs = _agents_first(rows.obs, num_agents)
    successors = jnp.concatenate([obs[:, 1:], last_obs[:, None]], 1)
    final_obs = None if rows.final_obs is None else _agents_first(rows.final_obs, num_agents)
    if final_obs is not None:
        # An episode that ends on what is not finite begins the next one as if nothing were wrong.
        successors = jnp.concatenate([successors, final_obs], -1)
    reward = _agents_first(flags.reward, num_agents)
    valid = _agents_first(flags.valid, num_agents)
    transitions = Transition(
        obs=obs,
        action=_agents_first(rows.action, num_agents),
        executed=None if rows.executed is None else _agents_first(rows.executed, num_agents),
        reward=_agents_first(scores.reward, num_agents),
        terminated=_agents_first(flags.terminated, num_agents),
        truncated=_agents_first(flags.truncated, num_agents),
        valid=valid,
        final_obs=final_obs,
        episode_return=_agents_first(scores.episode_return, num_agents),
        episode_length=_agents_first(scores.episode_length, num_agents),
        fault=_fault(successors, jnp.where(valid, reward, 0.0)),
    )
    return state, Rollout(transitions, last_obs, offset)


def _reward_statistics(
    state: CollectorState, rows: Flags, coefficients: Coefficients, shape: Shape
) -> tuple[CollectorState, Scores]:
    """Run the statistics of rewards and episodes through time."""

    def one_agent(
        carry: CollectorState, row: Flags, numbers: Coefficients
    ) -> tuple[CollectorState, Scores]:
        reward = jnp.where(row.valid, row.reward, 0.0)
        done = row.terminated | row.truncated
        discounted = carry.discounted_return * numbers.gamma + reward
        moments, scaled = carry.return_moments, reward
        if shape.normalize_rewards:
            moments = moments.update_valid(discounted, row.valid)
            scaled = normalize_reward(reward, moments)
        total = carry.episode_return + reward
        length = carry.episode_length + (row.valid & (carry.episode_length < MAX_LENGTH))
        # The return of an episode that is only cut off goes on, past the phantom row as well.
        anew = row.terminated | (row.truncated & ~numbers.return_goes_on)
        discounted = jnp.where(row.valid, discounted, carry.discounted_return)
        carry = replace(
            carry,
            return_moments=moments,
            discounted_return=jnp.where(anew, 0.0, discounted),
            episode_return=jnp.where(done, 0.0, total),
            episode_length=jnp.where(done, 0, length),
        )
        return carry, Scores(scaled * numbers.reward_scale, total, length)

    def step(carry: CollectorState, row: Flags) -> tuple[CollectorState, Scores]:
        return jax.vmap(one_agent)(carry, row, coefficients)

    # Observations play no part here and would only be copied along.
    slim = replace(state, obs=None, obs_moments=None)
    slim, scores = jax.lax.scan(step, slim, rows)
    return replace(slim, obs=state.obs, obs_moments=state.obs_moments), scores


def _unfold(x: Array, num_agents: int, shape: Shape) -> Array:
    """Turn `[T, P·E]` into `[T, Q, E]`."""
    agents_first = jnp.moveaxis(x.reshape(len(x), num_agents, shape.num_envs), 1, 0)
    return jnp.moveaxis(pad_agents(agents_first, num_agents, shape.num_envs), 0, 1)


def _agents_first(x: Array, num_agents: int) -> Array:
    """Drop the padding: `[T, Q, ...]` to `[P, T, ...]`."""
    return jnp.moveaxis(x[:, :num_agents], 1, 0)


def _fault(obs: Array, reward: Array) -> Array:
    """Name what is not finite by its index in `FAULTS`; 0 if all is well."""
    obs_fault = jnp.where(jnp.isfinite(obs).all(-1), 0, FAULTS.index("observation"))
    reward_fault = jnp.where(jnp.isfinite(reward), 0, FAULTS.index("reward"))
    return jnp.maximum(obs_fault, reward_fault).astype(jnp.int8)
