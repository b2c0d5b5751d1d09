"""Carrying out the checks on a subject, and the table of what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from robustpo.base.files import one_line
from robustpo.conformance.check import Check, NotConforming, Runs
from robustpo.conformance.checks import CHECKS
from robustpo.conformance.subject import Subject

PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"


@dataclass(frozen=True)
class Result:
    """What one check has come to.

    Attributes:
        check: which.
        outcome: `passed`, `failed` or `not applicable`.
        found: what was measured or is wrong, in one line.
    """

    check: Check
    outcome: str
    found: str


def apply(check: Check, runs: Runs) -> Result:
    """Carry out one check; whatever a subject raises is a failure."""
    if check.needs is not None and check.needs in runs.subject.unsupported:
        return Result(check, NOT_APPLICABLE, f"the subject has no {check.needs}")
    try:
        return Result(check, PASSED, check.look(runs))
    except NotConforming as error:
        return Result(check, FAILED, str(error))
    except Exception as error:
        return Result(check, FAILED, f"{type(error).__name__}: {one_line(error)}")


def conformance(subject: Subject, *, alpha: float = 0.5, seed: int = 1) -> list[Result]:
    """Carry out all checks on an implementation.

    Args:
        subject: the implementation.
        alpha: half the width of the noise.
        seed: of most trainings.
    """
    return list(results(Runs(subject, alpha, seed)))


def results(runs: Runs) -> Iterator[Result]:
    """Carry out all checks, one after the other."""
    for check in CHECKS:
        yield apply(check, runs)


def as_text(found: Sequence[Result]) -> str:
    """Return a line a check, and a line that counts them."""
    width = max(len(one.check.name) for one in found)
    lines = [f"{one.check.name:{width}}  {one.outcome:14}  {one.found}" for one in found]
    counts = [
        sum(one.outcome == kind for one in found) for kind in (PASSED, FAILED, NOT_APPLICABLE)
    ]
    words = "{} passed, {} failed, {} not applicable".format(*counts)
    return "\n".join([*lines, words])
