"""The losses that are analysed, of one agent's whole rollout in float64.

The Hessian of the return J itself cannot be had: it would take derivatives of the distribution of
states. The surrogate `L = −mean(Â π_θ/π_old)` stands for it: it has the gradient of −J at the
parameters that collected (paper, eq. 2, 6), and unlike the clipped surrogate two derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float64

from robustpo.algorithm.distributions import Gaussian
from robustpo.algorithm.experience import Batch
from robustpo.algorithm.networks import AgentParams, action_distribution
from robustpo.algorithm.objective import normalize_advantage
from robustpo.config.shape import Shape
from robustpo.theory.agents import Snapshot

Loss = Callable[[AgentParams, "Rows", Shape], Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Rows:
    """The rows of a rollout, in float64.

    Attributes:
        obs: normalised observations.
        action: sampled actions, not clipped.
        log_prob: log-density of the actions at the parameters that collected.
        raw_advantage: generalised advantage.
        advantage: the same normalised over the valid rows, of mean zero.
        weight: one over the number of valid rows; 0 in phantom rows. They add up to 1.
    """

    obs: Float64[Array, "B O"]
    action: Float64[Array, "B A"]
    log_prob: Float64[Array, " B"]
    raw_advantage: Float64[Array, " B"]
    advantage: Float64[Array, " B"]
    weight: Float64[Array, " B"]


def policy_part(params: AgentParams) -> AgentParams:
    """Return the actor and the log scale in float64, without the critic."""
    own = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), jnp.float64), params)
    return replace(own, critic=())


def make_rows(params: AgentParams, batch: Batch, shape: Shape) -> Rows:
    """Turn a rollout into float64; the log-densities are taken anew, so that ratios are 1."""
    obs, action, advantage = (
        jnp.asarray(np.asarray(x), jnp.float64) for x in (batch.obs, batch.action, batch.advantage)
    )
    valid = jnp.asarray(np.asarray(batch.valid))
    return Rows(
        obs=obs,
        action=action,
        log_prob=action_distribution(params, obs, shape).log_prob(action),
        raw_advantage=jnp.where(valid, advantage, 0.0),
        advantage=jnp.where(valid, normalize_advantage(advantage, valid), 0.0),
        weight=valid / valid.sum(),
    )


def prepare(snapshot: Snapshot, shape: Shape) -> tuple[AgentParams, Rows]:
    """Return a snapshot's policy and rows in float64."""
    params = policy_part(snapshot.params)
    return params, make_rows(params, snapshot.batch, shape)


def surrogate_loss(params: AgentParams, rows: Rows, shape: Shape) -> Float64[Array, ""]:
    """Return `L(θ) = −mean(Â exp(log π_θ(a|s) − log π_old(a|s)))`, not clipped."""
    log_prob = action_distribution(params, rows.obs, shape).log_prob(rows.action)
    return -(rows.weight * rows.advantage * jnp.exp(log_prob - rows.log_prob)).sum()


def likelihood_loss(params: AgentParams, rows: Rows, shape: Shape) -> Float64[Array, ""]:
    """Return `−mean log π_θ(a|s)` of the policy's own actions.

    The expectation of its Hessian at the parameters that collected is Fisher's information.
    """
    log_prob = action_distribution(params, rows.obs, shape).log_prob(rows.action)
    return -(rows.weight * log_prob).sum()


def at_common_sigma(params: AgentParams, rows: Rows, shape: Shape) -> tuple[AgentParams, Rows]:
    """Give a policy σ = 1 and its rows the actions that the same standard noise makes of it.

    `a′ = μ(s) + (a − μ(s))/σ`. The mean function, the noise and the advantages stay, so curvatures
    of two policies can be compared apart from how broad they are.
    """
    policy = action_distribution(params, rows.obs, shape)
    assert isinstance(policy, Gaussian), "only Gaussian policies are analysed"
    noise = (rows.action - policy.location) / policy.std()
    common = replace(params, log_std=jnp.zeros_like(params.log_std))
    action = policy.location + noise
    log_prob = action_distribution(common, rows.obs, shape).log_prob(action)
    return common, replace(rows, action=action, log_prob=log_prob)


def as_function_of_vector(
    loss: Loss, params: AgentParams, rows: Rows, shape: Shape
) -> tuple[Callable[[Array], Array], Float64[Array, " W"]]:
    """Return a loss as a function of all policy parameters in one vector, and that vector."""
    vector, unravel = ravel_pytree(params)
    return lambda x: loss(unravel(x), rows, shape), vector


def actor_mask(params: AgentParams) -> Float64[Array, " W"]:
    """Return 1 at the actor's entries of that vector and 0 at the log scale's."""
    ones = jax.tree.map(jnp.ones_like, params)
    return ravel_pytree(replace(ones, log_std=jnp.zeros_like(params.log_std)))[0]
