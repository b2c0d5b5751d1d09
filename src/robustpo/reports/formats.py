"""How numbers are written wherever a report shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from robustpo.statistics.means import SIGNIFICANCE


def count_seeds(count: int) -> str:
    """Write `1 seed` or `5 seeds`."""
    return f"{count} seed{'' if count == 1 else 's'}"


def decimals(samples: Iterable[Sequence[float]]) -> int:
    """Return the decimals that leave the largest mean three significant digits, for all numbers.

    One number of decimals for a whole table lets its numbers be compared by eye.
    """
    means = [abs(fmean(sample)) for sample in samples if sample]
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


def join_words(words: Sequence[str], last: str = "and") -> str:
    """Write `a`, `a and b` or `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
