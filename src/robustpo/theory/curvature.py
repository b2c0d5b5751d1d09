"""Curvature of a function without its Hessian: products, traces, extreme eigenvalues.

Everything takes a twice differentiable function of one vector of `W` entries.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64
from scipy.linalg import eigh_tridiagonal

Function = Callable[[Array], Array]


def hessian_product(
    function: Function, point: Float64[Array, " W"], direction: Float64[Array, " W"]
) -> Float64[Array, " W"]:
    """Return `H v`, the derivative of the gradient along v (Pearlmutter 1994)."""
    return jax.jvp(jax.grad(function), (point,), (direction,))[1]


def hutchinson(
    function: Function,
    point: Float64[Array, " W"],
    blocks: Float64[Array, "N W"],
    *,
    key: Array,
    probes: int,
) -> Float64[Array, "K N"]:
    """Return one unbiased estimate of the trace of each diagonal block per probe.

    `v·Hv` with independent signs v has the expectation `Tr H` (Hutchinson 1990); summed over the
    entries of a block only, that of the block's trace.

    Args:
        function: whose Hessian it is.
        point: where.
        blocks: rows of zeros and ones that select the entries of a block.
        key: a key used for this only.
        probes: number of probes K.
    """
    signs = jax.random.rademacher(key, (probes, point.size), point.dtype)

    def one_probe(sign: Array) -> Array:
        return blocks @ (sign * hessian_product(function, point, sign))

    return jax.lax.map(one_probe, signs)


def hessian_diagonal(function: Function, point: Float64[Array, " W"]) -> Float64[Array, " W"]:
    """Return the diagonal of the Hessian exactly, by one product per parameter."""

    def entry(index: Array) -> Array:
        unit = jnp.zeros_like(point).at[index].set(1.0)
        return hessian_product(function, point, unit)[index]

    return jax.lax.map(entry, jnp.arange(point.size))


def lanczos(
    product: Function, start: Float64[Array, " W"], iterations: int
) -> tuple[Float64[Array, " M"], Float64[Array, " M"]]:
    """Return the diagonal and the off-diagonal of `QᵀHQ`, tridiagonal, of a symmetric H.

    Every new vector is made orthogonal to all before it, twice, since rounding would otherwise
    bring found eigenvalues back as copies. `beta[m]` couples step m to the next; the last one only
    serves the error bound of `extreme_eigenvalues`.

    Args:
        product: multiplies a vector by H.
        start: any vector that is not orthogonal to the eigenvectors looked for.
        iterations: steps M, at most `W`.
    """

    def step(m: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        basis, alpha, beta = carry
        image = product(basis[m])
        alpha = alpha.at[m].set(basis[m] @ image)
        for _ in range(2):
            image = image - basis.T @ (basis @ image)
        length = jnp.linalg.norm(image)
        following = jnp.where(length > 0, image / jnp.where(length > 0, length, 1.0), 0.0)
        return basis.at[m + 1].set(following), alpha, beta.at[m].set(length)

    basis = jnp.zeros((iterations + 1, start.size), start.dtype)
    basis = basis.at[0].set(start / jnp.linalg.norm(start))
    empty = jnp.zeros(iterations, start.dtype)
    return jax.lax.fori_loop(0, iterations, step, (basis, empty, empty))[1:]


def extreme_eigenvalues(
    alpha: np.ndarray, beta: np.ndarray
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the smallest and the largest Ritz value of `lanczos`, each with its error bound.

    An eigenvalue of H lies within the bound, `β_M |s_M|`, of the Ritz value; s is the eigenvector
    of the tridiagonal matrix. Where the off-diagonal vanishes the space is exhausted, and what
    comes after it means nothing.
    """
    alpha, beta = np.asarray(alpha, float), np.asarray(beta, float)
    scale = max(float(np.abs(alpha).max()), float(np.abs(beta).max()), np.finfo(float).tiny)
    ends = np.flatnonzero(beta < 1e-12 * scale)
    size = int(ends[0]) + 1 if len(ends) else len(alpha)
    values, vectors = eigh_tridiagonal(alpha[:size], beta[: size - 1])
    # Rounding leaves no bound smaller than this.
    bounds = np.maximum(beta[size - 1] * np.abs(vectors[-1]), np.finfo(float).eps * scale)
    return (float(values[0]), float(bounds[0])), (float(values[-1]), float(bounds[-1]))
