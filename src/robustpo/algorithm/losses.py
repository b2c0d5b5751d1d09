"""Loss terms beside the clipped surrogate's: one object each, found by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jaxtyping import Array, Float

from robustpo.algorithm.experience import Coefficients
from robustpo.base.registry import LOSSES
from robustpo.config.shape import Shape
from robustpo.errors import ConfigError

EXTRA_LOSS = "extra_loss"


@dataclass(frozen=True)
class LossTerm:
    """A loss per row of a minibatch, and what it weighs.

    Attributes:
        per_row: `(params, policy, value, batch, coefficients, shape, *, key) -> [B]`: the loss of
            every row, given the parameters, the plain policy and the value at its observation.
        weight: the setting that it weighs; None is the number at its place in `loss_weights`.
        metric: what its mean is reported as. Terms without a setting of their own are reported
            together, as their weighted sum.
        diverges: whether it needs the divergence of the policy's distribution.
    """

    per_row: Callable[..., Array]
    weight: str | None = None
    metric: str = EXTRA_LOSS
    diverges: bool = False

    def __post_init__(self) -> None:
        if (self.weight is None) is not (self.metric == EXTRA_LOSS):
            raise ConfigError(
                f"a loss term has weight={self.weight!r} and metric={self.metric!r}; give both, a "
                "setting and a metric of its own, or neither"
            )


def loss_rows(
    coefficients: Coefficients, shape: Shape, keys: tuple[Array, ...], *given: object
) -> tuple[dict[str, Float[Array, " B"]], dict[str, Float[Array, ""] | float]]:
    """Return the loss terms of a minibatch's rows by metric, and what each metric weighs.

    Args:
        coefficients: the agent's numbers.
        shape: names the terms.
        keys: one for each term.
        *given: what terms take before these: parameters, policy, value and batch.
    """
    rows: dict[str, Array] = {}
    weights: dict[str, Array | float] = {}
    own = len(shape.loss_terms) - len(shape.losses)
    for index, (name, key) in enumerate(zip(shape.loss_terms, keys, strict=True)):
        term: LossTerm = LOSSES[name]
        losses = term.per_row(*given, coefficients, shape, key=key)
        if term.weight is not None:
            rows[term.metric], weights[term.metric] = losses, getattr(coefficients, term.weight)
            continue
        losses = coefficients.loss_weights[index - own] * losses
        rows[EXTRA_LOSS] = rows[EXTRA_LOSS] + losses if EXTRA_LOSS in rows else losses
        weights[EXTRA_LOSS] = 1.0
    return rows, weights


def minibatch_keys(shape: Shape, *, key: Array) -> tuple[Array, tuple[Array, ...]]:
    """Return the keys of the perturbation and of each loss term; without terms there is but one."""
    if not shape.loss_terms:
        return key, ()
    noise, *terms = (jax.random.fold_in(key, i) for i in range(1 + len(shape.loss_terms)))
    return noise, tuple(terms)
