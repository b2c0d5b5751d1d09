"""The heart of the method: the noise that shifts the policy's location in the update.

Called by the objective and by nothing else: collection and evaluation use the plain policy.
To add a family, write one function `(shape, alpha, *, key) -> z` and enter it in `NOISES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32

from robustpo.algorithm.distributions import ActionDistribution

PolicyT = TypeVar("PolicyT", bound=ActionDistribution)


def uniform(
    shape: tuple[int, ...], alpha: Float32[Array, ""], *, key: Array
) -> Float32[Array, "B A"]:
    """Draw `z ~ U(−α, α)`, independent per sample and per dimension (paper, eq. 4)."""
    return alpha * jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)


NOISES: dict[str, Callable[..., Array]] = {"uniform": uniform}


def perturb(policy: PolicyT, alpha: Float32[Array, ""], *, key: Array, noise: str) -> PolicyT:
    """Shift the location of a minibatch's policy by fresh noise (paper, Algorithm 1, line 14).

    Args:
        policy: the plain policy of the minibatch, location `[B, A]`.
        alpha: magnitude of the noise, in action units.
        key: a key used for this minibatch only.
        noise: name of the family; `none` returns the policy untouched.
    """
    if noise == "none":
        return policy
    shape = jnp.shape(policy.mode())
    return policy.shift(NOISES[noise](shape, alpha, key=key))
