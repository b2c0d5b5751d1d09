"""A small policy with a rollout of its own, drawn here and not by training."""

from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robustpo.algorithm.experience import Batch, Coefficients
from robustpo.algorithm.networks import AgentParams, action_distribution, init_params
from robustpo.config.shape import Shape
from robustpo.theory.losses import make_rows, policy_part

SHAPE = Shape(hidden_sizes=(8, 8))
OBSERVATIONS, ACTIONS = 3, 2


def small_policy(seed=0, log_std=(0.0, -0.5), head_gain=50.0):
    """Return a policy in float64 whose mean really depends on its hidden layers."""
    rng = np.random.default_rng(seed)
    params = init_params(OBSERVATIONS, ACTIONS, SHAPE.hidden_sizes, rng=rng)
    *hidden, head = params.actor
    head = type(head)(head.weight * head_gain, head.bias + 0.1)
    scale = jnp.array(log_std, jnp.float32)
    return policy_part(AgentParams((*hidden, head), scale, params.critic))


def small_rows(params, seed=0, count=200, phantom=7):
    """Return rows in float64 with the policy's own actions; a few of them do not count."""
    rng = np.random.default_rng([1, seed])
    obs = rng.normal(size=(count, OBSERVATIONS)).astype(np.float32)
    policy: Any = action_distribution(params, jnp.asarray(obs, jnp.float64), SHAPE)
    noise = rng.normal(size=(count, ACTIONS))
    action = np.asarray(policy.location) + np.exp(np.asarray(params.log_std)) * noise
    zeros = np.zeros(count, np.float32)
    advantage = (3 * rng.normal(size=count) + 1 + noise[:, 0]).astype(np.float32)
    valid = np.arange(count) >= phantom
    columns: Any = (obs, action.astype(np.float32), zeros, zeros, advantage, zeros, valid)
    arrays: Any = [jnp.asarray(column) for column in columns]
    batch = Batch(*arrays)
    return make_rows(params, batch, SHAPE)


def coefficients(alpha, noise_location=0.0, clip_coef=0.2):
    """Return coefficients in float64; what the checks do not use is zero."""
    given = {"alpha": alpha, "noise_location": noise_location, "clip_coef": clip_coef}
    flags = ("alpha_relative", "bootstrap", "return_goes_on")
    numbers = {f.name: given.get(f.name, 0.0) for f in fields(Coefficients)} | {"loss_weights": ()}
    return Coefficients(
        **{
            name: jnp.asarray(value, bool if name in flags else jnp.float64)
            for name, value in numbers.items()
        }
    )


def key(seed):
    return jax.random.key(seed, impl="threefry2x32")
