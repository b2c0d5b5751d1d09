"""One agent's update: epochs × minibatches of the objective through Optax."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float32

from robustpo.algorithm.experience import Batch, Coefficients, Rollout, make_batch
from robustpo.algorithm.networks import AgentParams
from robustpo.algorithm.objective import masked_mean, objective
from robustpo.algorithm.random import permutation
from robustpo.config import Shape

ADAM_EPSILON = 1e-5

# What a gradient step reports, as one vector: a kernel per number would cost more than the numbers.
METRICS = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction", "grad_norm")

Metrics = dict[str, Float32[Array, ""]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LearnerState:
    """Parameters and their optimiser."""

    params: AgentParams
    optimizer: optax.OptState


def make_optimizer(max_grad_norm: Array | float) -> optax.GradientTransformation:
    """Clip the global norm, then Adam without its learning rate, which `minibatch_step` applies.

    Flattened into one vector, because a kernel per small array costs more than its arithmetic.
    """
    return optax.flatten(
        optax.chain(optax.clip_by_global_norm(max_grad_norm), optax.scale_by_adam(eps=ADAM_EPSILON))
    )


def init_learner(params: AgentParams) -> LearnerState:
    """Return a learner at step 0."""
    return LearnerState(params, make_optimizer(1.0).init(params))  # pyright: ignore


def learn(
    state: LearnerState, rollout: Rollout, coefficients: Coefficients, shape: Shape, *, key: Array
) -> tuple[LearnerState, Metrics]:
    """Turn one agent's rollout into a batch and learn from it."""
    batch = make_batch(state.params, rollout, coefficients, shape)
    return update(state, batch, coefficients, shape, key=key)


def update(
    state: LearnerState, batch: Batch, coefficients: Coefficients, shape: Shape, *, key: Array
) -> tuple[LearnerState, Metrics]:
    """Learn from one rollout: `update_epochs` passes over freshly shuffled minibatches.

    Epochs end early once the mean approximate KL of one exceeds `target_kl`. The metrics are means
    over the minibatches of the last epoch. If a gradient is not finite, the state returned is the
    one given, and the metric `finite` is 0.
    """

    def unfinished(carry: tuple) -> Array:
        _, metrics, epoch = carry
        kl = metrics[METRICS.index("approx_kl")]
        return (epoch < shape.update_epochs) & ~(kl > coefficients.target_kl)

    def one_epoch(carry: tuple) -> tuple:
        learner, _, epoch = carry
        epoch_key = jax.random.fold_in(key, epoch)
        learner, metrics = _epoch(learner, batch, coefficients, shape, key=epoch_key)
        return learner, metrics, epoch + 1

    start = jnp.zeros(len(METRICS))
    learner, last, epochs = jax.lax.while_loop(unfinished, one_epoch, (state, start, jnp.int32(0)))
    metrics = dict(zip(METRICS, last, strict=True))
    finite = jnp.isfinite(metrics["grad_norm"])
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), learner, state)
    return kept, metrics | {
        "epochs": epochs.astype(jnp.float32),
        "explained_variance": explained_variance(batch),
        "action_std": jnp.exp(kept.params.log_std).mean(),
        "finite": finite.astype(jnp.float32),
    }


def _epoch(
    state: LearnerState, batch: Batch, coefficients: Coefficients, shape: Shape, *, key: Array
) -> tuple[LearnerState, Float32[Array, " M"]]:
    """Shuffle the rows into minibatches and step through them; return means over them."""
    order_key, noise_key = jax.random.split(key)
    order = permutation(shape.batch_size, key=order_key)
    minibatches = jax.tree.map(
        lambda x: x[order].reshape(shape.num_minibatches, shape.minibatch_size, *x.shape[1:]),
        batch,
    )
    keys = jax.random.split(noise_key, shape.num_minibatches)

    def step(learner: LearnerState, inputs: tuple[Batch, Array]) -> tuple[LearnerState, Array]:
        minibatch, minibatch_key = inputs
        return minibatch_step(learner, minibatch, coefficients, shape, key=minibatch_key)

    state, metrics = jax.lax.scan(step, state, (minibatches, keys))
    return state, metrics.mean(0)


def minibatch_step(
    state: LearnerState, batch: Batch, coefficients: Coefficients, shape: Shape, *, key: Array
) -> tuple[LearnerState, Float32[Array, " M"]]:
    """Take one gradient step; return its metrics in the order of `METRICS`."""
    gradient, metrics = jax.grad(objective, has_aux=True)(
        state.params, batch, coefficients, shape, key=key
    )
    optimizer = make_optimizer(coefficients.max_grad_norm)
    direction, optimizer_state = optimizer.update(gradient, state.optimizer)
    params = jax.tree.map(lambda p, d: p - coefficients.learning_rate * d, state.params, direction)
    metrics = metrics | {"grad_norm": optax.tree.norm(gradient)}
    values = jnp.stack([metrics[name] for name in METRICS])
    return LearnerState(params, optimizer_state), values


def explained_variance(batch: Batch) -> Float32[Array, ""]:
    """Return `1 − Var(target − value)/Var(target)` over the valid rows; NaN if constant."""

    def variance(x: Array) -> Array:
        return masked_mean((x - masked_mean(x, batch.valid)) ** 2, batch.valid)

    return 1 - variance(batch.value_target - batch.value) / variance(batch.value_target)
