"""How rows that have nothing to do with each other are computed: one by one, or all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32, PyTree


def on_accelerator() -> bool:
    """Return whether programs run where a loop over small rows would leave the device idle."""
    return jax.default_backend() != "cpu"


def map_one_by_one(function: Callable[[Any], Any], inputs: PyTree, count: Int32[Array, ""]) -> Any:
    """Apply a function to one row after the other, `[P, ...]` to `[P, ...]`.

    Like `lax.map`, but the number of rows is an argument that XLA cannot see, so that the body is
    compiled by itself: it would inline the loop of a single row and round differently inside.

    Args:
        function: takes and returns the pytree of one row, such as one agent.
        inputs: pytree with leading axis `P`.
        count: `P` as a traced number.
    """
    # Traced once, though asked for its shapes first; it is inlined and changes no program.
    traced = jax.jit(function, inline=True)

    def one_row(index: Array | int) -> Any:
        return traced(jax.tree.map(lambda x: x[index], inputs))

    # Two rows at least: XLA would also drop the slices of an axis of one.
    rows = max(2, len(jax.tree.leaves(inputs)[0]))
    single = len(jax.tree.leaves(inputs)[0]) == 1
    if single:
        inputs = jax.tree.map(lambda x: jnp.concatenate([x, x]), inputs)
    empty = jax.tree.map(lambda x: jnp.zeros((rows, *x.shape), x.dtype), jax.eval_shape(one_row, 0))

    def body(index: Array, outputs: PyTree) -> PyTree:
        return jax.tree.map(lambda all_, own: all_.at[index].set(own), outputs, one_row(index))

    outputs = jax.lax.fori_loop(0, count, body, empty)
    return jax.tree.map(lambda x: x[:1], outputs) if single else outputs
