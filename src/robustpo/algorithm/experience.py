"""What an agent learns from: rollouts as collected, batches as learned from, its coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int8, Int32

from robustpo.algorithm.advantage import generalised_advantage, successor_value
from robustpo.algorithm.distributions import ActionDistribution
from robustpo.algorithm.networks import AgentParams, evaluate, state_value
from robustpo.config.settings import Numbers
from robustpo.config.shape import Shape

FAULTS = ("none", "observation", "reward")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Coefficients(Numbers[Float[Array, "*P"], Float[Array, "*P"]]):
    """One agent's settings for one iteration, as traced numbers.

    Schedules are evaluated on the host, so these are plain scalars (`[P]` for a population).

    Attributes:
        alpha_relative: whether alpha counts in the policy's standard deviations.
        bootstrap: whether a truncated episode bootstraps the value of its final observation.
        return_goes_on: whether the discounted return goes on after such a truncation.
        loss_weights: what the terms of `losses` weigh, one each.
    """

    alpha_relative: Bool[Array, "*P"]
    bootstrap: Bool[Array, "*P"]
    return_goes_on: Bool[Array, "*P"]
    loss_weights: Float[Array, "*P W"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Transition:
    """One row per environment; leading axes `[Q, E]` in a step, `[P, T, E]` in a rollout.

    Attributes:
        obs: normalised observation the action was chosen on.
        action: the sampled action, raw as the distribution has it, not clipped to the bounds.
        reward: normalised reward, 0 in phantom rows.
        terminated: the episode reached a terminal state.
        truncated: the episode was cut by a time limit.
        valid: False for phantom rows.
        final_obs: normalised true successor, only for simulators that reset in the same step.
        episode_return: raw return of the episode up to this row.
        episode_length: valid steps of the episode up to this row.
        fault: index in `FAULTS` of what was not finite in what the simulator returned, 0 if none.
        executed: what the simulator was given; None where that is the clipped raw action.
    """

    obs: Float32[Array, "*N O"]
    action: Float32[Array, "*N A"]
    reward: Float32[Array, "*N"]
    terminated: Bool[Array, "*N"]
    truncated: Bool[Array, "*N"]
    valid: Bool[Array, "*N"]
    final_obs: Float32[Array, "*N O"] | None
    episode_return: Float32[Array, "*N"]
    episode_length: Int32[Array, "*N"]
    fault: Int8[Array, "*N"]
    executed: Float32[Array, "*N A"] | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Rollout:
    """The experience of one iteration, agent by agent.

    Attributes:
        transitions: rows `[P, T, E, ...]`.
        last_obs: normalised observation after the last row, `[P, E, O]`.
        obs_offset: mean over standard deviation of the raw observations, `[P, O]`; None unless
            raw observations are to be scaled in the update.
    """

    transitions: Transition
    last_obs: Float32[Array, "*P E O"]
    obs_offset: Float32[Array, "*P O"] | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """Rows of experience of one agent; `B` is a minibatch or the whole rollout.

    Attributes:
        obs: normalised observations at collection.
        action: the sampled raw actions, not clipped to the bounds.
        log_prob: log-density of the action under the plain policy that collected it.
        value: value estimate at collection.
        advantage: generalised advantage, not yet normalised.
        value_target: `advantage + value`.
        valid: False for phantom rows, which count nowhere.
        obs_offset: the rollout's, repeated in every row.
        policy: the plain policy that collected; None unless the learning rate adapts to it.
    """

    obs: Float[Array, "B O"]
    action: Float[Array, "B A"]
    log_prob: Float[Array, " B"]
    value: Float[Array, " B"]
    advantage: Float[Array, " B"]
    value_target: Float[Array, " B"]
    valid: Bool[Array, " B"]
    obs_offset: Float[Array, "B O"] | None = None
    policy: ActionDistribution | None = None


def make_batch(
    params: AgentParams, rollout: Rollout, coefficients: Coefficients, shape: Shape
) -> Batch:
    """Evaluate one agent's rollout under the policy that collected it; flatten `[T, E]` to `B`.

    Values and log-densities are taken here, in one matrix product over the whole rollout, instead
    of one vector product per step of the collection. The normalised observations are the stored
    ones, so the numbers are those of the moment of collection.
    """
    rows = rollout.transitions
    policy, value = evaluate(params, rows.obs, shape)
    last_value = state_value(params, rollout.last_obs, shape)
    next_value = jnp.concatenate([value[1:], last_value[None]])
    done = rows.terminated | rows.truncated
    if rows.final_obs is not None:
        final_value = state_value(params, rows.final_obs, shape)
        next_value = jnp.where(done, final_value, next_value)
    successor = successor_value(next_value, rows.terminated, rows.truncated, coefficients.bootstrap)
    advantage = generalised_advantage(
        rows.reward, value, successor, done, coefficients.gamma, coefficients.gae_lambda
    )
    offset = rollout.obs_offset
    fields = {
        "obs": rows.obs,
        "action": rows.action,
        "log_prob": policy.log_prob(rows.action),
        "value": value,
        "advantage": advantage,
        "value_target": advantage + value,
        "valid": rows.valid,
        "obs_offset": None if offset is None else jnp.broadcast_to(offset, rows.obs.shape),
        "policy": per_row(policy, rows.obs) if shape.adaptive_learning_rate else None,
    }
    return Batch(**jax.tree.map(lambda x: x.reshape(shape.batch_size, *x.shape[2:]), fields))


def per_row(policy: ActionDistribution, obs: Float[Array, "*B O"]) -> ActionDistribution:
    """Repeat what a policy shares between observations, so that its rows can be shuffled."""
    rows = obs.shape[:-1]
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (*rows, x.shape[-1])), policy)
