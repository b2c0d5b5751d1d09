"""The search itself: rounds in which every running trial is trained one part further.

A round trains all running trials side by side, in populations; of those that are compared then, the
worse half ends, and its places are taken by new ones in the next. All go on by the same number of
steps, so that trials that stand at different ones share a population.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from robustpo.config.run import RunConfig
from robustpo.errors import ConfigError, UnfinishedError
from robustpo.execution.execution import execute
from robustpo.execution.manner import Execution
from robustpo.execution.packing import MAX_AGENTS
from robustpo.runs.record import run_directory
from robustpo.runs.run_files import read_metrics
from robustpo.runs.run_state import run_state
from robustpo.studies.grid import make_grid, sweep_methods
from robustpo.tuning.samplers import Sampler
from robustpo.tuning.trials import PARTS, RUNGS, Journal, Trial, keep


@dataclass(frozen=True)
class Search:
    """What is searched, and at which length.

    Attributes:
        task: the task.
        method: name of the method, with options of its own if wanted.
        over: names of the settings that are searched.
        seeds: selection seeds, of every trial.
        steps: simulator steps of a whole run.
        options: settings, shape and preset that are shared.
    """

    task: str
    method: str
    over: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    options: dict[str, Any] = field(default_factory=dict)

    def method_of(self, setting: dict[str, float]) -> str:
        """Return the method at a setting, as a person would write it."""
        return sweep_methods((self.method,), {name: (setting[name],) for name in self.over})[0]

    def configs(self, setting: dict[str, float]) -> list[RunConfig]:
        """Return the runs of a trial.

        Raises:
            ConfigError: if a value is not valid.
        """
        method = self.method_of(setting)
        return make_grid(self.task, [method], self.seeds, steps=self.steps, **self.options)

    def target(self, config: RunConfig, parts: int) -> int:
        """Return the steps of so many parts of a run, whole iterations."""
        return config.num_iterations * parts // PARTS * config.shape.batch_size


Say = Callable[[str], None]
# So often in a row may a sampler ask for what is known.
MOST_REPEATED = 20


def places(seeds: int, workers: int) -> int:
    """Return how many trials are trained side by side."""
    return max(1, MAX_AGENTS // seeds) * workers


def run_search(
    search: Search,
    sampler: Sampler,
    journal: Journal,
    execution: Execution,
    *,
    workers: int,
    budget: float,
    say: Say,
) -> list[Trial]:
    """Try settings until the budget is spent, or there are no more.

    Args:
        search: what is searched.
        sampler: which setting comes next.
        journal: what has happened, and what happens.
        execution: where and how runs are trained.
        workers: how many processes train at once.
        budget: seconds for all of it, those that the journal says are spent included.
        say: takes a line on how far it is.

    Returns:
        All trials; those that the budget has ended are `stopped`.

    Raises:
        KeyboardInterrupt: after an orderly stop; what is recorded is kept, and gone on from.
        UnfinishedError: if a worker has died.
    """
    longest = journal.longest
    for trial in journal.trials:
        # A larger budget takes up what a smaller one has stopped.
        if trial.state == "stopped" and budget - journal.seconds > longest:
            journal.add(kind="judged", parts={}, values={}, ended={trial.number: "running"})
    while True:
        _tell_ended(sampler, journal)
        # Whoever has come far is not ended for want of a place.
        if budget - journal.seconds > longest:
            _fill(sampler, journal, places(len(search.seeds), workers))
        running = [trial for trial in journal.trials if trial.state == "running"]
        if not running or budget - journal.seconds < longest * 0.5:
            break
        start = time.monotonic()
        try:
            _train_round(search, running, journal, execution)
        finally:
            spent = time.monotonic() - start
            journal.add(kind="spent", seconds=spent)
        longest = max(longest, spent)
        _judge(search, running, sampler, journal, execution)
        say(_summary(search, journal, budget))
    for trial in journal.trials:
        if trial.state == "running":
            journal.add(kind="judged", parts={}, values={}, ended={trial.number: "stopped"})
    _tell_ended(sampler, journal)
    return journal.trials


def _fill(sampler: Sampler, journal: Journal, count: int) -> None:
    """Ask for new trials until all places are taken."""
    repeated = 0
    _end_repeated(journal)
    while sum(trial.state == "running" for trial in journal.trials) < count:
        number = len(journal.trials)
        setting = sampler.ask(number)
        if setting is None or repeated == MOST_REPEATED:
            return
        journal.add(kind="asked", number=number, setting=setting)
        repeated += _end_repeated(journal)


def _end_repeated(journal: Journal) -> int:
    """End running trials of a setting that an earlier one has: they would be the same runs."""
    known, ended = [], {}
    for trial in journal.trials:
        if trial.state == "running" and trial.setting in known:
            ended[trial.number] = "repeated"
        known.append(trial.setting)
    if ended:
        journal.add(kind="judged", parts={}, values={}, ended=ended)
    return len(ended)


def _train_round(
    search: Search, running: Sequence[Trial], journal: Journal, execution: Execution
) -> None:
    """Train every running trial one part further, and write down what it returned there."""
    targets: dict[RunConfig, int] = {}
    for trial in running:
        for config in search.configs(trial.setting):
            targets[config] = search.target(config, trial.parts + 1)
    ends = {search.target(config, n) for config in targets for n in range(1, PARTS + 1)}

    def hear(event: dict[str, Any]) -> None:
        # One that was ahead when the command was stopped is trained beyond its part with others.
        if event["step"] in ends:
            place = event["variant"], event["seed"], event["step"]
            _keep_return(journal, *place, event["return_mean"])

    _find_returns(search, targets, journal, execution)
    left = {c: step for c, step in targets.items() if _left(c, step, journal)}
    # One that diverged is a finding; that others died is not.
    with contextlib.suppress(UnfinishedError):
        if left:
            execute(list(left), execution, callback=hear, pause_at=left)
    _find_returns(search, targets, journal, execution)
    lost = [c for c, step in left.items() if _left(c, step, journal) and not _failed(execution, c)]
    if lost:
        raise UnfinishedError(
            f"{len(lost)} of {len(left)} runs did not come to where they are compared, such as "
            f"{run_directory(execution.out, lost[0])}; the same command goes on from there",
            [],
        )


def _find_returns(
    search: Search, targets: dict[RunConfig, int], journal: Journal, execution: Execution
) -> None:
    """Take from records what was not heard: whoever was to hear it may have been killed."""
    for config, step in targets.items():
        if not _left(config, step, journal):
            continue
        metrics = read_metrics(run_directory(execution.out, config))
        steps = metrics["step"]
        if steps.size and steps[-1] >= step:
            # Rows are averages over iterations; that before it, or the first.
            row = max(0, int(np.searchsorted(steps, step, side="right")) - 1)
            value = float(metrics["return_mean"][row])
            _keep_return(journal, config.variant, config.settings.seed, step, value)


def _keep_return(journal: Journal, variant: str, seed: int, step: int, value: float) -> None:
    """Write down a return; None if no episode has ended yet."""
    known = value if math.isfinite(value) else None
    journal.add(kind="return", variant=variant, seed=seed, step=step, value=known)


def _left(config: RunConfig, step: int, journal: Journal) -> bool:
    return (config.variant, config.settings.seed, step) not in journal.returns


def _failed(execution: Execution, config: RunConfig) -> bool:
    return run_state(run_directory(execution.out, config)).state == "failed"


def _judge(
    search: Search,
    running: Sequence[Trial],
    sampler: Sampler,
    journal: Journal,
    execution: Execution,
) -> None:
    """Give every trial its value at the rung that it has come to, and end those that do badly.

    It is one line of the journal: of a round that was not written down, nothing has happened.
    """
    parts = {trial.number: trial.parts + 1 for trial in running}
    values: dict[int, float | None] = {}
    failed = set()
    for trial in running:
        if any(_failed(execution, config) for config in search.configs(trial.setting)):
            failed.add(trial.number)
        returns = [
            journal.returns.get((c.variant, c.settings.seed, search.target(c, parts[trial.number])))
            for c in search.configs(trial.setting)
        ]
        known = [value for value in returns if value is not None]
        whole = len(known) == len(returns)
        if parts[trial.number] in RUNGS or trial.number in failed:
            values[trial.number] = sum(known) / len(known) if whole else None
    after = [replace(t, values=[*t.values, *_one(values, t)]) for t in journal.trials]
    ended: dict[int, str] = {}
    for trial in (after[number] for number in values):
        if trial.number in failed:
            ended[trial.number] = "failed"
        elif parts[trial.number] == PARTS:
            ended[trial.number] = "done"
        elif (
            sampler.prunes
            # Of which no episode has ended, nothing can be said yet.
            and trial.value is not None
            and trial.number not in keep(after, trial.rung)
        ):
            ended[trial.number] = "pruned"
    journal.add(kind="judged", parts=parts, values=values, ended=ended)


def _one(values: dict[int, float | None], trial: Trial) -> list[float | None]:
    return [values[trial.number]] if trial.number in values else []


def _tell_ended(sampler: Sampler, journal: Journal) -> None:
    for trial in journal.trials:
        if trial.state != "running":
            sampler.tell(trial)


def best_of(trials: Sequence[Trial]) -> Trial:
    """Return the trial to recommend: of those that came furthest, the one that returned most.

    Raises:
        ConfigError: if none has come to a rung.
    """
    known = [trial for trial in trials if trial.value is not None and trial.state != "failed"]
    if not known:
        raise ConfigError(
            "no setting has a return to be compared by; give a larger --budget, or --steps of "
            "which a quarter is longer than an episode"
        )
    return max(known, key=lambda trial: (trial.rung, trial.value, -trial.number))


def _summary(search: Search, journal: Journal, budget: float) -> str:
    states = [trial.state for trial in journal.trials]
    best = max(
        (t for t in journal.trials if t.value is not None),
        key=lambda t: (t.rung, t.value or 0.0),
        default=None,
    )
    shown = ""
    if best is not None:
        words = ", ".join(f"{name} {best.setting[name]:g}" for name in search.over)
        shown = f" | best so far {words}: {best.value:.1f} at {best.share:.0%} of the steps"
    return (
        f"{min(1.0, journal.seconds / budget):.0%} of the search | {len(states)} settings, "
        f"{states.count('pruned')} ended early, {states.count('done')} to the end{shown}"
    )
