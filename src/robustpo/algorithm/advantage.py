"""Generalised advantage estimation (arXiv 1506.02438) with time limits and phantom rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def successor_value(
    next_value: Float[Array, "*B"],
    terminated: Bool[Array, "*B"],
    truncated: Bool[Array, "*B"],
    bootstrap: Bool[Array, ""],
) -> Float[Array, "*B"]:
    """Return the value that the one-step target bootstraps from.

    Args:
        next_value: value of each row's true successor (at an episode's end: its final observation).
        terminated: the episode ended in a terminal state; nothing is bootstrapped.
        truncated: the episode was cut by a time limit.
        bootstrap: whether a truncated episode bootstraps from its final observation.
    """
    return jnp.where(terminated | (truncated & ~bootstrap), 0.0, next_value)


def generalised_advantage(
    reward: Float[Array, "T E"],
    value: Float[Array, "T E"],
    successor: Float[Array, "T E"],
    done: Bool[Array, "T E"],
    gamma: Float[Array, ""],
    gae_lambda: Float[Array, ""],
) -> Float[Array, "T E"]:
    """Return `Â_t = δ_t + γλ Â_{t+1}`, `δ_t = r_t + γ v'_t − v_t`; a `done` row ends the sum.

    `t` runs over [0, T−1]; `Â_T = 0`, as the last row already bootstraps through `successor`. A
    phantom row follows a `done` row, so nothing of it reaches the rows before; its own entry is
    meaningless and must be masked.
    """
    delta = reward + gamma * successor - value
    decay = jnp.where(done, 0.0, gamma * gae_lambda)

    def step(following: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        delta_t, decay_t = row
        advantage = delta_t + decay_t * following
        return advantage, advantage

    return jax.lax.scan(step, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)[1]
