"""What follows from the noise: moments, gradients, and what the update must not do."""

from __future__ import annotations

import numpy as np

from robustpo.conformance.check import ERRORS, RECOVERED, Runs, require
from robustpo.conformance.noise import recovered, shift_moments, used
from robustpo.conformance.subject import Trace

TARGET = 0.02


def first_moment(runs: Runs) -> str:
    """E[log p(a; μ + z) − log p(a; μ)] = −Σ α²/(6 σ²)."""
    shift, mean = _shifts(runs)
    deviation = shift - mean
    error = deviation.std() / np.sqrt(len(deviation))
    off = float(deviation.mean())
    require(
        abs(off) < ERRORS * error,
        f"the mean shift of log-densities is {shift.mean():.4g} where the formula gives "
        f"{mean.mean():.4g} (off by {abs(off) / error:.0f} standard errors)",
    )
    return f"{shift.mean():.4f}, formula {mean.mean():.4f}"


def second_moment(runs: Runs) -> str:
    """Var[shift | a] = Σ (a − μ)² α²/(3 σ⁴) + α⁴/(45 σ⁴)."""
    ratios = []
    for one in used(runs.wide):
        mean, variance = shift_moments(one, runs.alpha)
        ratios.append((one.shift - mean) ** 2 / variance)
    ratio = np.concatenate(ratios)
    error = ratio.std() / np.sqrt(len(ratio))
    require(
        abs(ratio.mean() - 1) < ERRORS * error,
        f"the shift's variance is {ratio.mean():.3g} times that of the formula "
        f"(off by {abs(ratio.mean() - 1) / error:.0f} standard errors)",
    )
    return f"{ratio.mean():.3f} ± {error:.3f} of the formula"


def mean_gradient(runs: Runs) -> str:
    """∂ log N(a; μ + z, σ)/∂μ = (a − μ − z)/σ²."""
    worst = 0.0
    for one in used(runs.perturbed):
        gradient = _given(one.batch.mean_gradient, "mean_gradient")[:, 0]
        z = recovered(one, runs.alpha)
        wanted = (one.distance[:, 0] - z) / one.std[:, 0] ** 2
        worst = max(worst, float(np.nanmax(np.abs(gradient - wanted) / (1 + np.abs(wanted)))))
    require(worst < RECOVERED, f"gradients of the mean are up to {worst:.3g} off the formula")
    return f"within {worst:.1e}"


def log_std_gradient(runs: Runs) -> str:
    """∂ log N(a; μ + z, σ)/∂ log σ = (a − μ − z)²/σ² − 1."""
    worst = 0.0
    for one in used(runs.perturbed):
        gradient = _given(one.batch.log_std_gradient, "log_std_gradient")[:, 0]
        z = recovered(one, runs.alpha)
        wanted = (one.distance[:, 0] - z) ** 2 / one.std[:, 0] ** 2 - 1
        worst = max(worst, float(np.nanmax(np.abs(gradient - wanted) / (1 + np.abs(wanted)))))
    require(worst < RECOVERED, f"gradients of log σ are up to {worst:.3g} off the formula")
    return f"within {worst:.1e}"


def alpha_zero(runs: Runs) -> str:
    """Nothing is drawn, or what is drawn changes nothing else."""
    for size in (1, 3):
        zero, plain = (runs.train(alpha, action_size=size) for alpha in (0.0, None))
        _same_parameters(zero, plain, "alpha 0 does not end with the parameters of PPO")
    return "bit for bit"


def same_seed(runs: Runs) -> str:
    """Two trainings from one seed end alike."""
    first, second = runs.perturbed, runs.train(runs.alpha, again=True)
    _same_parameters(first, second, "the same seed ends with other parameters")
    return "bit for bit"


def alpha_acts(runs: Runs) -> str:
    """An update that forgets the noise ends like PPO."""
    ours, plain = runs.perturbed.parameters, runs.train(None).parameters
    differ = [name for name in plain if not np.array_equal(ours[name], plain[name])]
    require(differ, "alpha changes no parameter: the update does not see the noise")
    return f"{len(differ)} of {len(plain)} arrays differ"


def kl_control(runs: Runs) -> str:
    """What steers by a KL divergence has to take the plain policy's."""
    mean = {}
    for alpha in (None, runs.alpha):
        trace = runs.train(alpha, iterations=3, target_kl=TARGET)
        mean[alpha] = float(np.mean([batch.control for batch in trace.minibatches]))
    plain, ours = mean[None], mean[runs.alpha]
    require(plain > 0, f"PPO itself takes no step at target_kl {TARGET:g}; nothing is shown")
    require(
        1 / 2 <= ours / plain <= 2,
        f"KL control lets {ours:.3g} through where it lets {plain:.3g} through without noise: it "
        "sees the noise, whose own divergence is Σ α²/(6 σ²)",
    )
    return f"{ours:.3g} with noise, {plain:.3g} without"


def _shifts(runs: Runs) -> tuple[np.ndarray, np.ndarray]:
    found = [(one.shift, shift_moments(one, runs.alpha)[0]) for one in used(runs.wide)]
    shift, mean = zip(*found, strict=True)
    return np.concatenate(shift), np.concatenate(mean)


def _given(array: np.ndarray | None, name: str) -> np.ndarray:
    require(
        array is not None, f"no {name} was given; declare gradients unsupported if there is none"
    )
    return np.asarray(array, np.float64)


def _same_parameters(one: Trace, other: Trace, text: str) -> None:
    require(one.parameters.keys() == other.parameters.keys(), f"{text} (other names)")
    for name, array in one.parameters.items():
        same = np.array_equal(array, other.parameters[name])
        require(same, f"{text}: {name} differs")
