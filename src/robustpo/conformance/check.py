"""What a check is, and the trainings that checks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest import SkipTest

from robustpo.conformance.subject import Rollout, Subject, Trace

# A right implementation fails no check more often than this.
CHANCE = 1e-6
# Standard errors that a mean is off with that chance, with room for tails.
ERRORS = 6.0
# Single precision of a log-density, and of what is recovered from it.
CLOSE, RECOVERED = 2e-3, 2e-2


class NotConforming(AssertionError):
    """What a check found wrong, in one line."""


@dataclass(frozen=True)
class Check:
    """One thing that is proven.

    Attributes:
        name: of the check.
        proves: what, in one sentence.
        look: raises `NotConforming`, or returns what was found, in a few words.
        needs: what a subject must have for it, or None.
    """

    name: str
    proves: str
    look: Callable[[Runs], str]
    needs: str | None = None

    def __str__(self) -> str:
        return self.name


@dataclass
class Runs:
    """Trains a subject as checks ask for it; what has been trained is kept.

    Attributes:
        subject: what is checked.
        alpha: half the width of the noise.
        seed: of most trainings.
    """

    subject: Subject
    alpha: float = 0.5
    seed: int = 1
    _kept: dict[tuple, Trace | Exception] = field(default_factory=dict)

    def train(
        self,
        alpha: float | None,
        *,
        seed: int | None = None,
        action_size: int = 1,
        iterations: int = 2,
        again: bool = False,
        **options: Any,
    ) -> Trace:
        """Return what a training did; `again` trains it a second time."""
        seed = self.seed if seed is None else seed
        asked = (alpha, seed, action_size, iterations, again, *sorted(options.items()))
        if asked not in self._kept:
            try:
                found = self.subject.train(alpha, seed, action_size, iterations, **options)
            except Exception as error:
                found = error
            self._kept[asked] = found
        if isinstance(kept := self._kept[asked], Exception):
            raise kept
        return kept

    def require(self, check: Check) -> None:
        """Carry out one check, as a test does.

        Raises:
            NotConforming: if it fails.
            SkipTest: if the subject lacks what it needs; pytest skips then, too.
        """
        if check.needs is not None and check.needs in self.subject.unsupported:
            raise SkipTest(f"the subject has no {check.needs}")
        check.look(self)

    @property
    def perturbed(self) -> Trace:
        """A training with noise of one dimension."""
        return self.train(self.alpha)

    @property
    def bold(self) -> Trace:
        """A training with so much noise that it shows wherever it is not to be."""
        return self.train(4 * self.alpha, action_size=3)

    @property
    def wide(self) -> Trace:
        """A training with noise of three dimensions."""
        return self.train(self.alpha, action_size=3)


def require(condition: Any, text: str) -> None:
    """Raise `NotConforming` unless a condition holds."""
    if not condition:
        raise NotConforming(text)


def first_of(trace: Trace) -> Rollout:
    """Return the first rollout of the first learner."""
    return next(one for one in trace.rollouts if (one.iteration, one.learner) == (0, 0))
