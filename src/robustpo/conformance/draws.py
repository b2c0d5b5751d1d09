"""The noise is what the paper says: uniform, fresh, independent everywhere."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import scipy.stats

from robustpo.conformance.check import CHANCE, ERRORS, RECOVERED, Runs, require
from robustpo.conformance.noise import recovered, recovered_all, rollout_of, shift_moments, used
from robustpo.conformance.subject import Trace


def within_alpha(runs: Runs) -> str:
    """No draw is larger, by its size recovered from the log-density."""
    z = recovered_all(runs.perturbed, runs.alpha)
    reach = float(np.abs(z).max())
    require(
        reach <= runs.alpha * (1 + RECOVERED),
        f"|z| is up to {reach:.4g}, beyond alpha {runs.alpha:g}",
    )
    return f"|z| ≤ {reach:.4f}"


def uniform(runs: Runs) -> str:
    """Kolmogorov–Smirnov on the draws that can be recovered."""
    z = recovered_all(runs.perturbed, runs.alpha)
    found = scipy.stats.kstest(z / runs.alpha, "uniform", args=(-1.0, 2.0))
    require(
        found.pvalue > CHANCE,
        f"z is not U(−{runs.alpha:g}, {runs.alpha:g}): mean {z.mean():.3g}, deviation "
        f"{z.std():.3g} where {runs.alpha / np.sqrt(3):.3g} was expected (Kolmogorov–Smirnov "
        f"p = {found.pvalue:.1g})",
    )
    return f"p = {found.pvalue:.2g}, {len(z)} draws"


def fresh_rows(runs: Runs) -> str:
    """In one minibatch every row has noise of its own."""
    for one in used(runs.perturbed):
        z = recovered(one, runs.alpha)
        z = z[np.isfinite(z)]
        distinct = len(np.unique(np.round(z, 4)))
        require(
            distinct > 0.5 * len(z),
            f"{len(z)} rows of a minibatch have {distinct} different draws; each row needs its own",
        )
    return "every row its own"


def fresh_minibatches(runs: Runs) -> str:
    """Two minibatches of one epoch share no noise by their places in it."""
    by_epoch: dict[tuple, list[np.ndarray]] = {}
    for one in used(runs.perturbed):
        where = (one.batch.iteration, one.batch.epoch)
        by_epoch.setdefault(where, []).append(recovered(one, runs.alpha))
    pairs = [pair for found in by_epoch.values() for pair in pairwise(found)]
    return _unrelated(pairs, "minibatches of one epoch", runs.alpha)


def fresh_epochs(runs: Runs) -> str:
    """A row has other noise in the next epoch, and so has a place in the minibatch."""
    pairs = []
    for one in _by_row(runs, runs.perturbed).values():
        pairs += list(pairwise(one))
    _unrelated(pairs, "one row in two epochs", runs.alpha)
    epochs: dict[tuple, np.ndarray] = {}
    for one in used(runs.perturbed):
        where = (one.batch.iteration, one.batch.epoch)
        z = recovered(one, runs.alpha)
        epochs[where] = np.concatenate([epochs[where], z]) if where in epochs else z
    by_place = [
        (epochs[where], epochs[later])
        for where in epochs
        if (later := (where[0], where[1] + 1)) in epochs
    ]
    return _unrelated(by_place, "one place in two epochs", runs.alpha)


def fresh_iterations(runs: Runs) -> str:
    """Neither rows nor places have the noise of the iteration before."""
    rows, places = {}, {}
    for one in used(runs.perturbed):
        if one.batch.epoch == 0:
            z = recovered(one, runs.alpha)
            places.setdefault(one.batch.iteration, []).append(z)
            kept = rows.setdefault(one.batch.iteration, np.full(10**6, np.nan))
            kept[one.rows] = z
    require(len(places) > 1, "there was one iteration only")
    first, second = [np.concatenate(places[i]) for i in sorted(places)][:2]
    _unrelated([(first, second)], "one place in two iterations", runs.alpha)
    return _unrelated([(rows[0], rows[1])], "one row in two iterations", runs.alpha)


def over_dimensions(runs: Runs) -> str:
    """With one draw for all dimensions the squared shift goes with the products of distances."""
    cross, excess = [], []
    for one in used(runs.wide):
        scaled = one.distance / one.std**2
        product = (scaled.sum(-1) ** 2 - (scaled**2).sum(-1)) * runs.alpha**2 / 3
        mean, variance = shift_moments(one, runs.alpha)
        # Rows count by what they can tell.
        cross.append(product / variance)
        excess.append((one.shift - mean) ** 2 / variance - 1)
    x, y = np.concatenate(cross), np.concatenate(excess)
    slope = float((x * y).sum() / (x**2).sum())
    error = float(np.sqrt(((x * (y - slope * x)) ** 2).sum()) / (x**2).sum())
    require(
        abs(slope) < max(ERRORS * error, 0.05),
        f"draws of the dimensions go together: slope {slope:.3g} ± {error:.2g} where 0 is "
        "independent and 1 is one draw for all",
    )
    return f"slope {slope:.3f} ± {error:.3f}"


def over_learners(runs: Runs) -> str:
    """Two learners draw independently, though they start from one seed."""
    trace = runs.train(runs.alpha, learners=2)
    by_learner: dict[int, list[np.ndarray]] = {}
    for one in used(trace):
        by_learner.setdefault(one.batch.learner, []).append(recovered(one, runs.alpha))
    require(len(by_learner) > 1, "there was one learner only")
    first, second = (np.concatenate(by_learner[i]) for i in sorted(by_learner)[:2])
    return _unrelated([(first, second)], "two learners", runs.alpha)


def _by_row(runs: Runs, trace: Trace) -> dict[int, list[np.ndarray]]:
    """Return for each iteration the noise of every row, an array `[B]` an epoch."""
    found: dict[int, dict[int, np.ndarray]] = {}
    for one in used(trace):
        size = len(rollout_of(trace, one.batch).log_prob)
        epochs = found.setdefault(one.batch.iteration, {})
        epochs.setdefault(one.batch.epoch, np.full(size, np.nan))[one.rows] = recovered(
            one, runs.alpha
        )
    return {i: [epochs[e] for e in sorted(epochs)] for i, epochs in found.items()}


def _unrelated(pairs: list[tuple[np.ndarray, np.ndarray]], what: str, alpha: float) -> str:
    """Raise `NotConforming` if noise in two places goes together; both may lack values (nan)."""
    require(pairs, f"there is nothing to compare: {what}")
    one, other = (
        np.concatenate([pair[i][: min(map(len, pair))] for pair in pairs]) for i in (0, 1)
    )
    known = np.isfinite(one) & np.isfinite(other)
    require(known.sum() > 30, f"too few draws can be told: {what}")
    spread = float(one[known].std())
    require(spread > 0.01 * alpha, f"there is no noise to compare (deviation {spread:.1g}): {what}")
    found = float(np.corrcoef(one[known], other[known])[0, 1])
    bound = ERRORS / np.sqrt(known.sum())
    require(
        abs(found) < bound,
        f"noise of {what} goes together (correlation {found:.3f} over {known.sum()} draws)",
    )
    return f"correlation {found:.3f}"
