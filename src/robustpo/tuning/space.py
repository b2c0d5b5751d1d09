"""What is searched: numbers of an agent, between two ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robustpo.errors import ConfigError

DIGITS = 3
# Where nothing else is asked for. Alpha is in the policy's units of action, where σ begins at 1.
DEFAULTS = {
    "alpha": (0.01, 2.0),
    "learning_rate": (3e-5, 3e-3),
    "entropy_coef": (1e-5, 0.1),
    "gamma": (0.95, 0.999),
    "gae_lambda": (0.8, 0.99),
    "clip_coef": (0.1, 0.4),
    "value_coef": (0.25, 1.0),
    "max_grad_norm": (0.25, 2.0),
    "drac_coef": (0.01, 1.0),
}
# A setting close to 1 is searched by its distance from 1.
_NEAR_ONE = ("gamma", "gae_lambda")
# Ends this far apart are searched by their logarithm.
_DECADES = 5.0


@dataclass(frozen=True)
class Dimension:
    """One number that is searched.

    Attributes:
        name: of the setting.
        low: its lower end.
        high: its upper end.
    """

    name: str
    low: float
    high: float

    @property
    def logarithmic(self) -> bool:
        """Whether ratios count, and not differences."""
        return self.low > 0 and self.high / self.low >= _DECADES

    def at(self, share: float) -> float:
        """Return the value at a share from 0 to 1 of the way, in three significant digits."""
        return min(max(self._at(share), self.low), self.high)

    def _at(self, share: float) -> float:
        if self.name in _NEAR_ONE and self.high < 1:
            ends = math.log(1 - self.low), math.log(1 - self.high)
            return 1 - _rounded(math.exp(ends[0] + share * (ends[1] - ends[0])))
        if self.logarithmic:
            return _rounded(self.low * (self.high / self.low) ** share)
        return _rounded(self.low + share * (self.high - self.low))


def parse_dimension(text: str) -> Dimension:
    """Read `alpha` or `alpha=0.01:1`.

    Raises:
        ConfigError: if the ends are missing and there are none by default, or are no range.
    """
    name, equals, rest = text.partition("=")
    name = name.replace("-", "_")
    if not equals:
        if name not in DEFAULTS:
            raise ConfigError(
                f"over={name!r} needs its ends: {name}=LOW:HIGH; those with ends of their own are "
                f"{', '.join(DEFAULTS)}"
            )
        return Dimension(name, *DEFAULTS[name])
    try:
        low, high = (float(word) for word in rest.split(":"))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"over={text!r} is not valid; expected {name}=LOW:HIGH, such as 0.01:1")
    return Dimension(name, low, high)


def grid(dimensions: Sequence[Dimension], points: int) -> list[dict[str, float]]:
    """Return all combinations of as many values of each, evenly spread."""
    shares = [0.5] if points == 1 else np.linspace(0, 1, points).tolist()
    found: list[dict[str, float]] = [{}]
    for one in dimensions:
        found = [old | {one.name: one.at(share)} for old in found for share in shares]
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
