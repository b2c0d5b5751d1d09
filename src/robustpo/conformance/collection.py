"""Collection and acting are plain: the noise is in the update's numerator and nowhere else."""

from __future__ import annotations

import numpy as np
import scipy.stats

from robustpo.conformance.check import CHANCE, CLOSE, Runs, first_of, require
from robustpo.conformance.noise import gaussian_log_prob, rollout_of, used


def first_rollout(runs: Runs) -> str:
    """Until the first update there is nothing that noise could have changed."""
    ours, plain = (first_of(runs.train(alpha)) for alpha in (runs.alpha, None))
    for name in ("observations", "actions", "log_prob"):
        one, other = (np.asarray(getattr(x, name)) for x in (ours, plain))
        same = one.shape == other.shape and np.array_equal(one, other)
        require(same, f"{name} of the first rollout differ from those of PPO with the same seed")
    return f"{len(ours.log_prob)} rows equal"


def stored_log_prob(runs: Runs) -> str:
    """They are log N(a; μ, σ) of the plain policy."""
    worst = 0.0
    for trace in (runs.perturbed, runs.wide):
        for one in trace.rollouts:
            away = np.asarray(one.actions, np.float64) - one.mean
            plain = gaussian_log_prob(away, np.asarray(one.std, np.float64))
            worst = max(worst, float(np.abs(plain - one.log_prob).max()))
    require(
        worst < CLOSE,
        f"stored log-probabilities are up to {worst:.3g} away from log N(action; mean, deviation) "
        "of the plain policy",
    )
    return f"within {worst:.1e}"


def rollout_actions(runs: Runs) -> str:
    """Noise in the rollout widens the actions: their variance is σ² + α²/3."""
    worst = 1.0
    for one in runs.bold.rollouts:
        standard = ((np.asarray(one.actions, np.float64) - one.mean) / one.std).ravel()
        p = scipy.stats.kstest(standard, "norm").pvalue
        worst = min(worst, p)
        require(
            p > CHANCE,
            f"actions of rollout {one.iteration} are not drawn from the plain policy (variance "
            f"{standard.var():.3f} of it, p = {p:.1g}); noise belongs into the update only",
        )
    return f"p ≥ {worst:.2g}"


def evaluation(runs: Runs) -> str:
    """Acting, with and without sampling, is the plain policy's."""
    trace = runs.bold
    observations = first_of(trace).observations
    mean, std = (np.asarray(x, np.float64) for x in trace.policy(observations))
    acted = np.asarray(trace.act(observations, True), np.float64)
    off = float(np.abs(acted - mean).max())
    require(off < CLOSE, f"deterministic actions are up to {off:.3g} away from the plain mean")
    drawn = np.asarray(trace.act(observations, False), np.float64)
    standard = ((drawn - mean) / std).ravel()
    p = scipy.stats.kstest(standard, "norm").pvalue
    require(p > CHANCE, f"stochastic actions are not drawn from the plain policy (p = {p:.1g})")
    return f"within {off:.1e}; p = {p:.2g}"


def denominator(runs: Runs) -> str:
    """The noise is in the numerator alone."""
    trace, worst = runs.perturbed, 0.0
    for one in used(trace):
        stored = np.asarray(rollout_of(trace, one.batch).log_prob)[one.rows]
        worst = max(worst, float(np.abs(stored - one.batch.old_log_prob).max()))
    require(
        worst < CLOSE,
        f"the ratio's denominator is up to {worst:.3g} away from what was stored while collecting",
    )
    return f"within {worst:.1e}"
