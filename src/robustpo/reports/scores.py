"""Final returns of a study by task and variant, and their normalisation to scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

DEEPMIND_CONTROL = "DeepMind Control"


# Final returns `[n]` of the finished runs, in the order of their seeds, by task and by variant; a
# pair without any run on disk is not in it.
StudyReturns = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class ScoreScale:
    """Which return counts as 0 and which as 1.

    Attributes:
        low: the return that scores 0.
        high: the return that scores 1.
    """

    low: float
    high: float

    def normalize(self, returns: np.ndarray) -> np.ndarray:
        """Return (returns - low) / (high - low), or 1 for all if the two are equal."""
        if self.high == self.low:
            return np.ones_like(returns)
        return (returns - self.low) / (self.high - self.low)


def score_scales(returns: StudyReturns, suites: Mapping[str, str]) -> dict[str, ScoreScale]:
    """Return the scale of every task that has a completed run; `scale_text` says it in words.

    Args:
        returns: of all compared variants.
        suites: the suite of each task.
    """
    scales = {}
    for task, variants in returns.items():
        values = np.concatenate(list(variants.values()))
        if suites.get(task) == DEEPMIND_CONTROL:
            scales[task] = ScoreScale(0.0, 1000.0)
        elif len(values):
            scales[task] = ScoreScale(float(values.min()), float(values.max()))
    return scales


def scale_text(suite: str) -> str:
    """Say how the returns of a suite become scores."""
    if suite == DEEPMIND_CONTROL:
        return "Score: final return / 1000, the most that an episode can return."
    return (
        "Score: linear from 0 at the worst to 1 at the best final return among the compared runs "
        "of the task, so it depends on what is compared and says nothing about how good the best "
        "is; if all are equal, all score 1. The intervals take the two ends as given."
    )
