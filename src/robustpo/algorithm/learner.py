"""One agent's update: epochs × minibatches of the objective through Optax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int32

from robustpo.algorithm.diagnostics import perturbation_diagnostics
from robustpo.algorithm.experience import Batch, Coefficients, Rollout, make_batch
from robustpo.algorithm.masking import masked_mean
from robustpo.algorithm.metrics import metric_names
from robustpo.algorithm.networks import AgentParams, action_distribution
from robustpo.algorithm.objective import objective, with_normalized_advantage
from robustpo.algorithm.random import permutation
from robustpo.config.shape import Shape

ADAM_EPSILON = 1e-5

# Epochs fold their number, from 0, into the update's key; this is none of them.
DIAGNOSTICS_STREAM = 2**31 - 1

# How the adaptive learning rate moves, and between what (rl_games' AdaptiveScheduler).
RATE_FACTOR = 1.5
RATE_BAND = 2.0
MIN_RATE, MAX_RATE = 1e-6, 1e-2

Metrics = dict[str, Float[Array, ""]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LearnerState:
    """Parameters and the state of their optimiser, which sees them as one flat vector.

    The factor of the learning rate is there only where that is adaptive.
    """

    params: AgentParams
    optimizer: optax.OptState
    rate_factor: Float[Array, ""] | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FlatLearner:
    """A learner while it updates: a kernel per small array would cost more than its arithmetic."""

    vector: Float[Array, " W"]
    optimizer: optax.OptState


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Updating:
    """What one epoch of an update hands to the next.

    Attributes:
        learner: parameters and optimiser.
        rate_factor: factor of the learning rate; None where that does not adapt.
        metrics: means over the epoch's minibatches, in the order of `metric_names`: a kernel per
            number would cost more.
        epochs: how many are done.
    """

    learner: FlatLearner
    rate_factor: Float[Array, ""] | None
    metrics: Float[Array, " M"]
    epochs: Int32[Array, ""]


def named(metrics: Float[Array, " M"], shape: Shape) -> Metrics:
    """Return the metrics of a gradient step, or their means, under their names."""
    return dict(zip(metric_names(shape), metrics, strict=True))


def make_optimizer(max_grad_norm: Array | float) -> optax.GradientTransformation:
    """Clip the global norm, then Adam without its learning rate, which `minibatch_step` applies."""
    return optax.chain(
        optax.clip_by_global_norm(max_grad_norm), optax.scale_by_adam(eps=ADAM_EPSILON)
    )


def init_learner(params: AgentParams, shape: Shape) -> LearnerState:
    """Return a learner at step 0."""
    vector, _ = ravel_pytree(params)
    factor = jnp.float32(1) if shape.adaptive_learning_rate else None
    return LearnerState(params, make_optimizer(1.0).init(vector), factor)


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

    Epochs end early once the mean approximate KL of the plain policy over one exceeds `target_kl`.
    The metrics are means over the minibatches of the last epoch. If a gradient is not finite, the
    state returned is the one given, and the metric `finite` is 0.
    """
    vector, unravel = ravel_pytree(state.params)
    floor = parameter_floor(state.params, coefficients)

    def unfinished(now: Updating) -> Array:
        kl = named(now.metrics, shape)["approx_kl"]
        return (now.epochs < shape.update_epochs) & ~(kl > coefficients.target_kl)

    def one_epoch(now: Updating) -> Updating:
        epoch_key = jax.random.fold_in(key, now.epochs)
        return epoch(now, unravel, floor, batch, coefficients, shape, key=epoch_key)

    start = Updating(
        learner=FlatLearner(vector, state.optimizer),
        rate_factor=state.rate_factor,
        metrics=jnp.zeros(len(metric_names(shape))),
        epochs=jnp.int32(0),
    )
    end = jax.lax.while_loop(unfinished, one_epoch, start)
    learned = LearnerState(unravel(end.learner.vector), end.learner.optimizer, end.rate_factor)
    metrics = named(end.metrics, shape)
    finite = jnp.isfinite(metrics["grad_norm"])
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), learned, state)
    # Only folded, never drawn from, the update's key has a stream for each epoch and this one.
    diagnostics_key = jax.random.fold_in(key, DIAGNOSTICS_STREAM)
    before = perturbation_diagnostics(state.params, batch, coefficients, shape, key=diagnostics_key)
    policy = action_distribution(kept.params, batch.obs, shape)
    return kept, metrics | before | {
        "epochs": end.epochs.astype(jnp.float32),
        "learning_rate": at_factor(coefficients, end.rate_factor).learning_rate,
        "explained_variance": explained_variance(batch),
        "action_std": masked_mean(policy.std().mean(-1), batch.valid),
        "finite": finite.astype(jnp.float32),
    }


def epoch(
    now: Updating,
    unravel: Callable[[Array], AgentParams],
    floor: Float[Array, " W"],
    batch: Batch,
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
) -> Updating:
    """Take the gradient steps of one pass over the batch.

    Args:
        now: what the epoch before left.
        unravel: turns the flat vector into parameters.
        floor: least value of every parameter.
        batch: the whole rollout.
        coefficients: the agent's numbers.
        shape: sizes, and what is perturbed.
        key: a key used for this epoch only.
    """
    numbers = at_factor(coefficients, now.rate_factor)
    minibatches, keys = shuffle(batch, shape, key=key)

    def step(learner: FlatLearner, inputs: tuple[Batch, Array]) -> tuple[FlatLearner, Array]:
        minibatch, minibatch_key = inputs
        learner, metrics = minibatch_step(
            learner, unravel, minibatch, numbers, shape, key=minibatch_key
        )
        return replace(learner, vector=jnp.maximum(learner.vector, floor)), metrics

    learner, steps = jax.lax.scan(step, now.learner, (minibatches, keys))
    metrics, factor = steps.mean(0), now.rate_factor
    if factor is not None:
        factor = adapt(factor, named(metrics, shape)["policy_kl"], coefficients)
    return Updating(learner, factor, metrics, now.epochs + 1)


def at_factor(coefficients: Coefficients, factor: Float[Array, ""] | None) -> Coefficients:
    """Return the numbers with the learning rate times its factor, if it has one."""
    if factor is None:
        return coefficients
    return replace(coefficients, learning_rate=coefficients.learning_rate * factor)


def adapt(
    factor: Float[Array, ""], moved: Float[Array, ""], coefficients: Coefficients
) -> Float[Array, ""]:
    """Return the next factor of the learning rate, given how far the policy has moved.

    Divided by 1.5 above twice the target, multiplied below half of it, so that the rate stays in
    [1e-6, 1e-2]: the rule of rl_games, which IsaacGym's tasks were published with.

    Args:
        factor: the factor of this epoch.
        moved: mean KL of the plain policy from the one that collected, over this epoch's
            minibatches, in nats. rl_games measures it from the epoch before.
        coefficients: the agent's numbers.
    """
    target, initial = coefficients.kl_target, coefficients.learning_rate
    shrunk = jnp.maximum(factor / RATE_FACTOR, MIN_RATE / initial)
    grown = jnp.minimum(factor * RATE_FACTOR, MAX_RATE / initial)
    factor = jnp.where(moved < target / RATE_BAND, grown, factor)
    return jnp.where(moved > target * RATE_BAND, shrunk, factor)


def parameter_floor(params: AgentParams, coefficients: Coefficients) -> Float[Array, " W"]:
    """Return the least value of every parameter: −∞ but for the log scale, kept by projection.

    A bound inside the policy instead would leave a parameter below it without a gradient.
    """
    nothing = jax.tree.map(lambda x: jnp.full_like(x, -jnp.inf), params)
    least = jnp.broadcast_to(coefficients.log_std_min, params.log_std.shape)
    return ravel_pytree(replace(nothing, log_std=least))[0]


def shuffle(batch: Batch, shape: Shape, *, key: Array) -> tuple[Batch, Array]:
    """Shuffle the rows into minibatches `[N, B, ...]` with a key for each.

    Advantages are normalised within their minibatch. A single minibatch keeps the order of the
    rollout, on which nothing depends.
    """
    order_key, noise_key = jax.random.split(key)
    if shape.num_minibatches > 1:
        order = permutation(shape.batch_size, key=order_key)
        batch = jax.tree.map(lambda x: x[order], batch)
    minibatches = jax.tree.map(
        lambda x: x.reshape(shape.num_minibatches, shape.minibatch_size, *x.shape[1:]), batch
    )
    if shape.normalize_advantages:
        minibatches = jax.vmap(with_normalized_advantage)(minibatches)
    return minibatches, jax.random.split(noise_key, shape.num_minibatches)


def minibatch_step(
    learner: FlatLearner,
    unravel: Callable[[Array], AgentParams],
    batch: Batch,
    coefficients: Coefficients,
    shape: Shape,
    *,
    key: Array,
) -> tuple[FlatLearner, Float[Array, " M"]]:
    """Take one gradient step; return its metrics in the order of `metric_names`."""

    def loss(vector: Array) -> tuple[Array, dict[str, Array]]:
        return objective(unravel(vector), batch, coefficients, shape, key=key)

    gradient, metrics = jax.grad(loss, has_aux=True)(learner.vector)
    optimizer = make_optimizer(coefficients.max_grad_norm)
    update, optimizer_state = optimizer.update(gradient, learner.optimizer)
    direction = jnp.asarray(update)
    vector = learner.vector - coefficients.learning_rate * direction
    metrics = metrics | {"grad_norm": optax.tree.norm(gradient)}
    values = jnp.stack([metrics[name] for name in metric_names(shape)])
    return FlatLearner(vector, optimizer_state), values


def explained_variance(batch: Batch) -> Float[Array, ""]:
    """Return `1 − Var(target − value)/Var(target)` over the valid rows; NaN if constant."""

    def variance(x: Array) -> Array:
        return masked_mean((x - masked_mean(x, batch.valid)) ** 2, batch.valid)

    return 1 - variance(batch.value_target - batch.value) / variance(batch.value_target)
