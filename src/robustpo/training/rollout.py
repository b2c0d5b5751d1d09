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

from robustpo.algorithm.augmentation import draw_uniform, scale_amplitude
from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.algorithm.experience import FAULTS, Coefficients, Rollout, Transition
from robustpo.algorithm.networks import AgentParams, action_distribution
from robustpo.algorithm.normalization import (
    RunningMoments,
    normalize_observation,
    normalize_reward,
    observation_offset,
)
from robustpo.algorithm.perturbation import NOISES, shift_by
from robustpo.shape import Shape
from robustpo.training.population import (
    AUGMENT_STREAM,
    COLLECT_STREAM,
    SHIFT_STREAM,
    CollectorState,
    pad_agents,
)

# An episode's length stops counting here, where an int32 ends.
MAX_LENGTH = 2**31 - 1


class Draws(NamedTuple):
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
        return self._replace(scale=None if self.scale is None else self.scale[:-1])

    def last_scale(self) -> Array | None:
        """Return what scales the observation after the rollout."""
        return None if self.scale is None else self.scale[-1]


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
            shift = NOISES[shape.collection_noise].draw(size, key=stream(SHIFT_STREAM))
        if shape.augmentation == "rad":
            observations = (shape.num_steps + 1, shape.num_envs, observation_size)
            scale = draw_uniform(observations, shape, key=stream(AUGMENT_STREAM))
        action = DISTRIBUTIONS[shape.distribution].noise(size, key=stream(COLLECT_STREAM))
        return Draws(action, shift, scale)

    drawn = jax.lax.map(one_agent, (keys, iterations))
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
    flags = Flags(*(_unfold(x, num_agents, shape) for x in rows.flags))
    state, rewards, episode_returns, episode_lengths = _reward_statistics(
        state, flags, padded, shape
    )
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
        reward=_agents_first(rewards, num_agents),
        terminated=_agents_first(flags.terminated, num_agents),
        truncated=_agents_first(flags.truncated, num_agents),
        valid=valid,
        final_obs=final_obs,
        episode_return=_agents_first(episode_returns, num_agents),
        episode_length=_agents_first(episode_lengths, num_agents),
        fault=_fault(successors, jnp.where(valid, reward, 0.0)),
    )
    return state, Rollout(transitions, last_obs, offset)


def _reward_statistics(
    state: CollectorState, rows: Flags, coefficients: Coefficients, shape: Shape
) -> tuple[CollectorState, Array, Array, Array]:
    """Run normalised rewards, episode returns and lengths through time, `[T, Q, E]` each."""

    def one_agent(carry: CollectorState, row: Flags, numbers: Coefficients) -> tuple:
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
        return carry, (scaled * numbers.reward_scale, total, length)

    def step(carry: CollectorState, row: Flags) -> tuple:
        return jax.vmap(one_agent)(carry, row, coefficients)

    # Observations play no part here and would only be copied along.
    slim = replace(state, obs=None, obs_moments=None)
    slim, outputs = jax.lax.scan(step, slim, rows)
    return replace(slim, obs=state.obs, obs_moments=state.obs_moments), *outputs


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
