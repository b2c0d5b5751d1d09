"""What a study's page is made from: plain data, ready for JSON, a missing number is None.

Whoever reads the runs fills these in; the page only shows them. No number is a NaN.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

Outcome = Literal["win", "tie", "loss", "none"]


class Provenance(TypedDict):
    """Where the page comes from: when, with which versions, on what."""

    generated: str
    versions: dict[str, str]
    machine: str


class Method(TypedDict):
    """A method; the order of a study's methods is the order of their colours and columns."""

    id: str
    label: str
    # The one that the others are compared with.
    reference: NotRequired[bool]


class Task(TypedDict):
    """A task, the suite it is filtered and aggregated by, and the decimals of its returns."""

    id: str
    suite: str
    digits: int


class Setting(TypedDict):
    """One setting and its value in words for each method, in the order of the methods.

    A method that has several values over tasks or runs has them all; the empty text is none.
    """

    name: str
    values: list[str]


class SeedReturn(TypedDict):
    """The final return of one seed and the directory of its run, relative to the page."""

    seed: int
    value: float | None
    path: str


class Estimate(TypedDict):
    """A number and its 95% interval, which is missing where there are too few runs for one."""

    value: float | None
    low: float | None
    high: float | None


class MeanDifference(TypedDict):
    """How far a method's final return is from the reference's: 95% Welch interval and p-values.

    `p` is Welch's after Holm's correction, `permutation` that of the permutation test by itself.
    `verdict` is `none` where there is none.
    """

    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    permutation: float | None
    verdict: Outcome


class Published(TypedDict):
    """What others report for the same task and method; never mixed with the study's own runs."""

    source: str
    mean: float
    std: float | None


class Cell(TypedDict):
    """One method on one task: final returns over its seeds, and how to repeat them."""

    task: str
    method: str
    # Finished seeds, and in words those that were left out, such as `1 failed, 2 waiting`.
    seeds: int
    left_out: str
    # Whether they are too few for a verdict on this method, or for any if it is the reference.
    few: bool
    mean: float | None
    std: float | None
    # The ends of the 95% t interval of the mean.
    low: float | None
    high: float | None
    # Of the policy at the end of training, in nats.
    entropy: float | None
    returns: list[SeedReturn]
    # None for the reference itself and where one of the two has no runs.
    difference: MeanDifference | None
    # The probability that a run of this method ends above a run of the reference.
    improvement: Estimate | None
    # The mean return over all of training.
    area: float | None
    # Steps until the reference's final return was reached.
    reached: int | None
    published: list[Published]
    command: str


class SeedLine(TypedDict):
    """One seed's values at the steps of its curve."""

    seed: int
    values: list[float | None]


class Lines(TypedDict):
    """A quantity over training: mean over seeds, 95% t interval, single seeds."""

    mean: list[float | None]
    low: list[float | None]
    high: list[float | None]
    seeds: list[SeedLine]


# Functional, because one of the keys is a keyword.
Curve = TypedDict(
    "Curve",
    {"task": str, "method": str, "step": list[int], "return": Lines, "entropy": Lines},
)


class SuiteRow(TypedDict):
    """One method over all tasks of a suite, in normalised scores."""

    method: str
    runs: int
    iqm: Estimate
    mean: Estimate
    # The optimality gap: how far below 1 the scores are, those above counted as 1.
    gap: Estimate
    improvement: Estimate | None
    wins: int
    ties: int
    losses: int
    undecided: int


class ProfileLine(TypedDict):
    """The fraction of a method's runs that score above each tau."""

    method: str
    value: list[float | None]
    low: list[float | None]
    high: list[float | None]


class Profile(TypedDict):
    """A performance profile: scores tau, and a line for each method."""

    tau: list[float]
    methods: list[ProfileLine]


class Suite(TypedDict):
    """The aggregates over the tasks of a suite, and in words how scores were normalised."""

    suite: str
    tasks: int
    scale: str
    rows: list[SuiteRow]
    profile: Profile


class PageData(TypedDict):
    """All that a study's page shows."""

    name: str
    title: str
    sentence: str
    # Steps, seeds and the time-limit mode, in words.
    setup: str
    # What verdicts of so few seeds are worth, empty where there are enough.
    worth: str
    # What a reader must know before trusting the numbers: how runs were made (`Study.notes`), which
    # are left out, versions that differ. Nothing else on the page warns.
    notes: list[str]
    # What repeats all of it.
    command: str
    provenance: Provenance
    methods: list[Method]
    settings: list[Setting]
    tasks: list[Task]
    cells: list[Cell]
    curves: list[Curve]
    suites: list[Suite]
    # What the columns mean, and the rule of wins, ties and losses.
    rules: list[str]
