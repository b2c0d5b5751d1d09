"""The two halves of a step around the simulator's: `act` with the plain policy, then `observe`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32

from robustpo.algorithm.distributions import DISTRIBUTIONS
from robustpo.algorithm.experience import FAULTS, Transition
from robustpo.algorithm.networks import AgentParams, mlp
from robustpo.algorithm.normalization import (
    RunningMoments,
    normalize_observation,
    normalize_reward,
)
from robustpo.config import Shape
from robustpo.environments.base import Step
from robustpo.training.population import COLLECT_STREAM, CollectorState, pad_agents


def act(
    params: AgentParams, obs: Float32[Array, "Q E O"], noise: Array, shape: Shape
) -> Float32[Array, "Q E A"]:
    """Sample every agent's actions from its plain, unperturbed policy."""

    def one_agent(params: AgentParams, obs: Array, noise: Array) -> Array:
        location = mlp(params.actor, obs, shape.activation)
        return DISTRIBUTIONS[shape.distribution](location, params.log_std).sample(noise)

    return jax.vmap(one_agent)(params, obs, noise)


def observe(
    state: CollectorState,
    action: Float32[Array, "Q E A"],
    step: Step,
    gamma: Float32[Array, " Q"],
    shape: Shape,
    *,
    same_step: bool,
) -> tuple[CollectorState, Transition]:
    """Take in what the simulator returned: moments, normalised row, episode statistics."""
    observe_agent = partial(_observe_agent, shape=shape, same_step=same_step)
    return jax.vmap(observe_agent)(state, action, step, gamma)


def _observe_agent(
    state: CollectorState, action: Array, step: Step, gamma: Array, *, shape: Shape, same_step: bool
) -> tuple[CollectorState, Transition]:
    """`observe` for one agent: arrays `[E, ...]`."""
    reward = jnp.where(step.valid, step.reward, 0.0)
    done = step.terminated | step.truncated
    discounted = state.discounted_return * gamma + reward
    return_moments = state.return_moments
    obs_moments = state.obs_moments
    if shape.normalize_rewards:
        return_moments = return_moments.update(discounted, step.valid)
        scaled = normalize_reward(reward, return_moments)
    else:
        scaled = reward
    if shape.normalize_observations:
        obs_moments = obs_moments.update(step.obs, jnp.ones_like(step.valid))
    episode_return = state.episode_return + reward
    episode_length = state.episode_length + step.valid
    row = Transition(
        obs=state.obs,
        action=action,
        reward=scaled,
        terminated=step.terminated,
        truncated=step.truncated,
        valid=step.valid,
        final_obs=_normalize(step.final_obs, obs_moments, shape) if same_step else None,
        episode_return=episode_return,
        episode_length=episode_length,
        fault=_fault(step.obs, reward),
    )
    return CollectorState(
        obs=_normalize(step.obs, obs_moments, shape),
        obs_moments=obs_moments,
        return_moments=return_moments,
        discounted_return=jnp.where(done, 0.0, discounted),
        episode_return=jnp.where(done, 0.0, episode_return),
        episode_length=jnp.where(done, 0, episode_length),
    ), row


def _fault(obs: Array, reward: Array) -> Array:
    """Name what is not finite by its index in `FAULTS`; 0 if all is well."""
    obs_fault = jnp.where(jnp.isfinite(obs).all(-1), 0, FAULTS.index("observation"))
    reward_fault = jnp.where(jnp.isfinite(reward), 0, FAULTS.index("reward"))
    return jnp.maximum(obs_fault, reward_fault).astype(jnp.int8)


def _normalize(obs: Array, moments: RunningMoments, shape: Shape) -> Array:
    return normalize_observation(obs, moments) if shape.normalize_observations else obs


def observe_first(state: CollectorState, obs: Array, shape: Shape) -> CollectorState:
    """Take in the observations `[Q, E, O]` that follow the first reset."""

    def one_agent(moments: RunningMoments, obs: Array) -> tuple[RunningMoments, Array]:
        if shape.normalize_observations:
            moments = moments.update(obs, jnp.ones(obs.shape[0], bool))
        return moments, _normalize(obs, moments, shape)

    moments, normalized = jax.vmap(one_agent)(state.obs_moments, obs)
    return replace(state, obs=normalized, obs_moments=moments)


def rollout_noise(keys: Array, iteration: Array, shape: Shape, action_size: int) -> Array:
    """Draw each agent's action noise of a whole rollout, `[T, Q, E, A]`, from its own key."""

    def one_agent(key: Array) -> Array:
        key = jax.random.fold_in(jax.random.fold_in(key, COLLECT_STREAM), iteration)
        size = (shape.num_steps, shape.num_envs, action_size)
        return DISTRIBUTIONS[shape.distribution].noise(size, key=key)

    noise = jax.lax.map(one_agent, keys)
    return jnp.moveaxis(pad_agents(noise, len(keys)), 0, 1)
