"""One honest sentence on which variant is better, and with what certainty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from robustpo.reports.statistics import (
    MIN_SEEDS,
    SIGNIFICANCE,
    Difference,
    compare_with_reference,
    reference_variant,
)

_MEASURE = "final return (mean of the last 100 training episodes)"


def verdict(
    returns: Mapping[str, Sequence[float]],
    *,
    task: str,
    steps: str,
    time_limit: str,
    reference: str | None = None,
) -> str:
    """State what the final returns show about one task.

    Each variant is compared with the reference by a 95% Welch interval; with several, p-values
    are Holm-adjusted and the best is said to have been chosen as the best.

    Args:
        returns: final returns per variant, one value per completed seed.
        task: id of the task.
        steps: how long the runs trained, such as `8M`.
        time_limit: the time-limit mode, such as `terminal`.
        reference: the variant compared with; by default PPO if there is one, else the first.

    Returns:
        One sentence. With fewer than 5 seeds in a variant it gives no verdict and says so.
    """
    setup = f"{steps} steps, time limit {time_limit}"
    if len(returns) < 2:
        only = "".join(f" ({name}, {count_seeds(len(r))})" for name, r in returns.items())
        return f"On {task}, no verdict: there is one variant{only}, nothing to compare; {setup}."
    if min(len(sample) for sample in returns.values()) < MIN_SEEDS:
        return (
            f"On {task}, no verdict: the single seeds are shown, and at least {MIN_SEEDS} "
            f"completed seeds per variant are needed; {_seeds(returns)}, {setup}."
        )
    reference = reference or reference_variant(tuple(returns))
    differences = compare_with_reference(returns, reference)
    best = max(differences, key=lambda name: differences[name].mean)
    difference = differences[best]
    digits = decimals(returns)
    return (
        f"On {task}, {_finding(best, reference, difference, len(differences), digits)}: "
        f"{_certainty(difference, digits, adjusted=len(differences) > 1)}"
        f"{_others(differences, reference)}; {_seeds(returns)}, {setup}."
    )


def _finding(best: str, reference: str, difference: Difference, family: int, digits: int) -> str:
    subject, other = best, reference
    if family > 1:
        subject = f"{best}, chosen as the best of {family} variants compared with {reference},"
        other = "it"
    direction = "above" if difference.mean >= 0 else "below"
    ended = f"ended {format_value(abs(difference.mean), digits)} {direction} {other} in {_MEASURE}"
    if difference.mean == 0:
        ended = f"ended equal to {other} in {_MEASURE}"
    if difference.p_adjusted >= SIGNIFICANCE:
        return f"no difference could be shown between {best} and {reference}: {subject} {ended}"
    return f"{subject} {ended}"


def _certainty(difference: Difference, digits: int, *, adjusted: bool) -> str:
    if math.isnan(difference.low):
        agreed = "at one value" if difference.mean == 0 else "each at its own value"
        return f"all seeds of the two agree {agreed}, so there is no interval and no test"
    low, high = format_value(difference.low, digits), format_value(difference.high, digits)
    test = "Holm-adjusted " if adjusted else ""
    return f"95% Welch interval {low} to {high}, {test}{format_p(difference.p_adjusted)}"


def _others(differences: Mapping[str, Difference], reference: str) -> str:
    """Say how many of a family differ, so that the best is not the only thing reported."""
    if len(differences) < 2:
        return ""
    shown = [one for one in differences.values() if one.p_adjusted < SIGNIFICANCE]
    above = sum(one.mean > 0 for one in shown)
    return (
        f"; of the {len(differences)}, {above} could be shown to be above and "
        f"{len(shown) - above} below {reference}"
    )


def _seeds(returns: Mapping[str, Sequence[float]]) -> str:
    counts = {name: len(sample) for name, sample in returns.items()}
    if len(set(counts.values())) == 1:
        return f"{count_seeds(next(iter(counts.values())))} each"
    return "seeds: " + ", ".join(f"{name} {count}" for name, count in counts.items())


def count_seeds(count: int) -> str:
    """Write `1 seed` or `5 seeds`."""
    return f"{count} seed{'' if count == 1 else 's'}"


def decimals(returns: Mapping[str, Sequence[float]]) -> int:
    """Return the decimals that leave the largest mean three significant digits, for all numbers.

    One number of decimals for a whole table lets its numbers be compared by eye.
    """
    means = [abs(fmean(sample)) for sample in returns.values() if sample]
    size = max(means, default=0.0)
    return min(6, max(0, 2 - math.floor(math.log10(size)))) if size > 0 else 0


def format_value(value: float, digits: int) -> str:
    """Write a return with fixed decimals, without an exponent below 10⁷ and never as `-0`."""
    if not math.isfinite(value):
        return "n/a"
    if abs(value) >= 1e7:
        return f"{value:.3g}"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def format_p(p_value: float) -> str:
    """Write a p-value with its sign of equality: `p = 0.012`, `p < 0.001`."""
    if math.isnan(p_value):
        return "p n/a"
    if p_value < 0.001:
        return "p < 0.001"
    # Rounding must not carry a value across the threshold it is read against.
    digits = 3 if p_value < 0.1 else 2
    floor = math.floor(p_value * 10**digits) / 10**digits
    rounded = round(p_value, digits)
    crosses = (p_value < SIGNIFICANCE) != (rounded < SIGNIFICANCE)
    return f"p = {floor if crosses else rounded:.{digits}f}"
