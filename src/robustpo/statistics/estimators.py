"""What is measured over a suite of tasks, from the scores of single runs.

Scores are given as one array per task, the last axis of which counts the runs of that task; tasks
may differ in their number of runs and always weigh alike. Leading axes are carried through, so
that thousands of bootstrap samples are measured at once.

The measures are those of Agarwal et al., "Deep Reinforcement Learning at the Edge of the
Statistical Precipice" (2021, arXiv 2108.13264, sections 4.2 and 4.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Scores = Sequence[np.ndarray]


def mean_score(scores: Scores) -> np.ndarray:
    """Return the mean over tasks of each task's mean over runs.

    Args:
        scores: K arrays `[..., n_k]`.

    Returns:
        Shape `[...]`.
    """
    return _over_tasks([task.mean(axis=-1) for task in scores])


def interquartile_mean(scores: Scores) -> np.ndarray:
    """Return the mean of the middle half of all runs of all tasks (arXiv 2108.13264, sec. 4.3).

    A run of task k weighs w = 1 / (K · n_k), so that every task weighs 1 / K. With all runs in
    order of their scores, run i covers the share (W_{i-1}, W_i] with W_i = w_1 + … + w_i, and

        IQM = 2 · Σ_i x_i · |(W_{i-1}, W_i] ∩ (¼, ¾]|.

    A run on the edge of a quartile counts in part. For a number of runs that is a multiple of
    four, and as many of each task, this is `scipy.stats.trim_mean(x, 0.25)`, as in rliable; that
    rounds the number it trims down otherwise, and knows no weights.

    Args:
        scores: K arrays `[..., n_k]`.

    Returns:
        Shape `[...]`.
    """
    values = np.concatenate(scores, axis=-1)
    shares = [np.full(task.shape[-1], 1 / task.shape[-1]) for task in scores]
    weights = np.concatenate(shares) / len(scores)
    order = np.argsort(values, axis=-1, kind="stable")
    weights = weights[order]
    ends = np.cumsum(weights, axis=-1)
    inside = np.minimum(ends, 0.75) - np.maximum(ends - weights, 0.25)
    inside = np.maximum(inside, 0.0)
    ordered = np.take_along_axis(values, order, axis=-1)
    return (inside * ordered).sum(axis=-1) / inside.sum(axis=-1)


def optimality_gap(scores: Scores, gamma: float = 1.0) -> np.ndarray:
    """Return how far scores stay below gamma on average: gamma - mean of min(x, gamma).

    Args:
        scores: K arrays `[..., n_k]`.
        gamma: the score that is good enough; what is above counts as gamma.

    Returns:
        Shape `[...]`; lower is better.
    """
    return gamma - mean_score([np.minimum(task, gamma) for task in scores])


def performance_profile(scores: Scores, tau: np.ndarray) -> np.ndarray:
    """Return the fraction of runs that score above each tau (arXiv 2108.13264, section 4.2).

    F(τ) = 1/K · Σ_k 1/n_k · Σ_n [x_{k,n} > τ]

    Args:
        scores: K arrays `[..., n_k]`.
        tau: thresholds, `[G]`.

    Returns:
        Shape `[..., G]`.
    """
    return _over_tasks([(task[..., None, :] > tau[:, None]).mean(axis=-1) for task in scores])


def improvement_by_task(scores: Scores, others: Scores) -> np.ndarray:
    """Return for each task the probability that a run of X ends above a run of Y.

    P(X_k > Y_k) + ½ P(X_k = Y_k), over all pairs of runs: the Mann-Whitney U statistic by the
    number of pairs (arXiv 2108.13264, section 4.3).

    Args:
        scores: K arrays `[..., n_k]`, of X.
        others: K arrays `[..., m_k]`, of Y, of the same tasks in the same order.

    Returns:
        Shape `[..., K]`.
    """
    shares = []
    for first, second in zip(scores, others, strict=True):
        left, right = first[..., :, None], second[..., None, :]
        above = (left > right).mean(axis=(-2, -1))
        shares.append(above + 0.5 * (left == right).mean(axis=(-2, -1)))
    return np.stack(shares, axis=-1)


def _over_tasks(values: Sequence[np.ndarray]) -> np.ndarray:
    return np.mean(values, axis=0)
