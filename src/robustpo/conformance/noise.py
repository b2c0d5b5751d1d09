"""The noise that an update drew, recovered from the log-densities that it used."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from robustpo.conformance.subject import Minibatch, Rollout, Trace

HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True)
class Used:
    """A minibatch beside the actions of its rows, in float64.

    Attributes:
        batch: the minibatch.
        rows: `[b]`, of its rollout.
        distance: `[b, A]`, actions minus the plain mean.
        std: `[b, A]`.
        plain: `[b]`, log-densities under the plain policy.
        shift: `[b]`, what the noise has changed of them.
    """

    batch: Minibatch
    rows: np.ndarray
    distance: np.ndarray
    std: np.ndarray
    plain: np.ndarray
    shift: np.ndarray


def gaussian_log_prob(distance: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return log N(a; μ, σ) of rows `[b, A]`, given a − μ."""
    terms = -0.5 * (distance / std) ** 2 - np.log(std) - HALF_LOG_TAU
    return terms.sum(axis=-1)


def rollout_of(trace: Trace, batch: Minibatch) -> Rollout:
    """Return the rollout that a minibatch is of."""
    where = (batch.iteration, batch.learner)
    return next(one for one in trace.rollouts if (one.iteration, one.learner) == where)


def used(trace: Trace) -> list[Used]:
    """Return the minibatches of a training beside their actions."""
    found = []
    for batch in trace.minibatches:
        rows = np.asarray(batch.rows)
        actions = np.asarray(rollout_of(trace, batch).actions, np.float64)[rows]
        std = np.asarray(batch.std, np.float64)
        distance = actions - np.asarray(batch.mean, np.float64)
        plain = gaussian_log_prob(distance, std)
        found.append(
            Used(batch, rows, distance, std, plain, np.asarray(batch.log_prob, np.float64) - plain)
        )
    return found


def recovered(one: Used, alpha: float) -> np.ndarray:
    """Return z of every row `[b]` of one dimension, nan where it cannot be told.

    `|a − μ − z|` follows from the log-density; its sign is that of `a − μ` where that is farther
    than alpha from 0.
    """
    distance, std = one.distance[:, 0], one.std[:, 0]
    log_prob = np.asarray(one.batch.log_prob, np.float64)
    squared = -2.0 * (log_prob + np.log(std) + HALF_LOG_TAU)
    away = std * np.sqrt(np.maximum(squared, 0.0))
    z = distance - np.sign(distance) * away
    return np.where(np.abs(distance) > alpha, z, np.nan)


def recovered_all(trace: Trace, alpha: float) -> np.ndarray:
    """Return all z of a training of one dimension that can be told."""
    z = np.concatenate([recovered(one, alpha) for one in used(trace)])
    return z[np.isfinite(z)]


def shift_moments(one: Used, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of a row's shift over the noise, `[b]` each."""
    mean = -(alpha**2 / (6 * one.std**2)).sum(-1)
    linear = one.distance**2 * alpha**2 / (3 * one.std**4)
    # Of z²/(2σ²): α⁴/4 (1/5 − 1/9) / σ⁴.
    quadratic = alpha**4 / (45 * one.std**4)
    return mean, (linear + quadratic).sum(-1)
