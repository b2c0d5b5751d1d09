"""Sharpness of the loss along training: traces and extreme eigenvalues, for PPO and RPO.

Curvature with respect to a Gaussian's location scales as 1/σ², and RPO keeps σ larger. So every
trace is also given free of that scale: times σ², and at a common σ = 1 (`at_common_sigma`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from robustpo.algorithm.networks import AgentParams
from robustpo.config.shape import Shape
from robustpo.theory.agents import Agents, Snapshot
from robustpo.theory.curvature import (
    extreme_eigenvalues,
    hessian_product,
    hutchinson,
    lanczos,
)
from robustpo.theory.estimates import Interval, t_interval
from robustpo.theory.losses import (
    Rows,
    actor_mask,
    as_function_of_vector,
    at_common_sigma,
    likelihood_loss,
    prepare,
    surrogate_loss,
)


@dataclass(frozen=True)
class Sharpness:
    """Curvature of one agent's loss before one of its updates.

    Attributes:
        method: `ppo` or `rpo`.
        seed: of the agent.
        step: environment steps behind it.
        sigma: mean standard deviation of its policy.
        trace: of the surrogate's Hessian over all policy parameters (paper, eq. 34).
        actor_trace: its part from the actor.
        log_std_trace: its part from the log scale.
        scaled_trace: `actor_trace` times the mean of σ².
        common_trace: of the actor's block at the common σ = 1.
        likelihood_trace: of the actor's block for the log-likelihood loss; an estimate of the trace
            of Fisher's information, so positive up to the noise of one rollout.
        common_likelihood_trace: the same at the common σ = 1.
        largest: largest eigenvalue of the surrogate's Hessian.
        largest_bound: an eigenvalue lies within this of `largest`.
        smallest: smallest (most negative) eigenvalue.
        smallest_bound: an eigenvalue lies within this of `smallest`.
    """

    method: str
    seed: int
    step: int
    sigma: float
    trace: Interval
    actor_trace: Interval
    log_std_trace: Interval
    scaled_trace: Interval
    common_trace: Interval
    likelihood_trace: Interval
    common_likelihood_trace: Interval
    largest: float
    largest_bound: float
    smallest: float
    smallest_bound: float


@partial(jax.jit, static_argnames=("shape", "probes", "iterations"))
def curvatures(
    params: AgentParams, rows: Rows, shape: Shape, *, key: Array, probes: int, iterations: int
) -> dict[str, Array]:
    """Return Hutchinson's estimates of all traces, one per probe, and Lanczos' coefficients."""
    keys = jax.random.split(key, 5)
    mask = actor_mask(params)
    blocks = jnp.stack([mask, 1 - mask])
    common = at_common_sigma(params, rows, shape)
    function, point = as_function_of_vector(surrogate_loss, params, rows, shape)
    own = hutchinson(function, point, blocks, key=keys[0], probes=probes)
    found = {"trace": own.sum(1), "actor_trace": own[:, 0], "log_std_trace": own[:, 1]}
    others = {
        "common_trace": (surrogate_loss, *common),
        "likelihood_trace": (likelihood_loss, params, rows),
        "common_likelihood_trace": (likelihood_loss, *common),
    }
    for (name, (loss, weights, where)), own_key in zip(others.items(), keys[1:4], strict=True):
        other = as_function_of_vector(loss, weights, where, shape)
        found[name] = hutchinson(*other, mask[None], key=own_key, probes=probes)[:, 0]
    start = jax.random.normal(keys[4], point.shape, point.dtype)
    alpha, beta = lanczos(partial(hessian_product, function, point), start, iterations)
    return found | {"alpha": alpha, "beta": beta}


def measure_sharpness(
    snapshot: Snapshot, shape: Shape, *, key: Array, probes: int, iterations: int
) -> Sharpness:
    """Measure the curvature of one snapshot.

    Args:
        snapshot: the agent and its rollout.
        shape: of the agent.
        key: a key used for this only.
        probes: of Hutchinson's estimator.
        iterations: of Lanczos' method.
    """
    params, rows = prepare(snapshot, shape)
    iterations = min(iterations, sum(x.size for x in jax.tree.leaves(params)))
    found = curvatures(params, rows, shape, key=key, probes=probes, iterations=iterations)
    found = {name: np.asarray(values) for name, values in found.items()}
    low, high = extreme_eigenvalues(found.pop("alpha"), found.pop("beta"))
    variance = np.exp(2 * np.asarray(params.log_std))
    traces = {name: t_interval(samples) for name, samples in found.items()}
    return Sharpness(
        method=snapshot.method,
        seed=snapshot.seed,
        step=snapshot.step,
        sigma=float(np.sqrt(variance).mean()),
        scaled_trace=traces["actor_trace"].scaled(float(variance.mean())),
        largest=high[0],
        largest_bound=high[1],
        smallest=low[0],
        smallest_bound=low[1],
        **traces,
    )


def measure_all(
    agents: Agents, *, key: Array, probes: int, iterations: int, say: Callable[[str], None]
) -> list[Sharpness]:
    """Measure every snapshot of every agent that did not fail."""
    found = []
    for step in agents.steps:
        for method in ("ppo", "rpo"):
            for snapshot in agents.at(step, method):
                # The same probes at every point and for both methods, fresh ones for every seed.
                own = jax.random.fold_in(key, snapshot.seed)
                found.append(
                    measure_sharpness(
                        snapshot, agents.shape, key=own, probes=probes, iterations=iterations
                    )
                )
        say(f"sharpness at step {step:,}: {len(found)} of {len(agents.snapshots)} policies")
    return found
