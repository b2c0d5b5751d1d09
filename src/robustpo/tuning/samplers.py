"""Which setting to try next: at random, on a grid, or where Optuna's model expects more."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robustpo.errors import ConfigError
from robustpo.tuning.space import Dimension, grid
from robustpo.tuning.trials import Trial

SAMPLERS = ("halving", "optuna", "random", "grid")
STREAM = 0x7A1E


class Sampler(Protocol):
    """Asked for settings, one after the other.

    Attributes:
        prunes: whether trials that do badly so far are ended early.
    """

    prunes: bool

    def ask(self, number: int) -> dict[str, float] | None:
        """Return the setting of a trial; None if there are no more."""
        ...

    def tell(self, trial: Trial) -> None:
        """Hear what has become of a trial that has ended."""
        ...


class RandomSampler:
    """Independent draws; with pruning, successive halving."""

    def __init__(self, dimensions: Sequence[Dimension], seed: int, *, prunes: bool) -> None:
        self._dimensions, self._seed, self.prunes = dimensions, seed, prunes

    def ask(self, number: int) -> dict[str, float]:
        """Return the draw of this number, which depends on nothing else."""
        shares = np.random.default_rng([STREAM, self._seed, number]).random(len(self._dimensions))
        pairs = zip(self._dimensions, shares, strict=True)
        return {one.name: one.at(share) for one, share in pairs}

    def tell(self, trial: Trial) -> None:
        """Nothing is learned."""


class GridSampler:
    """All combinations, each trained to its end."""

    prunes = False

    def __init__(self, dimensions: Sequence[Dimension], points: int) -> None:
        self._grid = grid(dimensions, points)

    def ask(self, number: int) -> dict[str, float] | None:
        """Return the combination of this number."""
        return self._grid[number] if number < len(self._grid) else None

    def tell(self, trial: Trial) -> None:
        """Nothing is learned."""


class OptunaSampler:
    """Optuna's tree-structured Parzen estimator, told of running trials too (`constant_liar`).

    Its study lies in a journal beside ours, which Optuna's own tools can read.

    Args:
        dimensions: what is searched.
        seed: of its draws.
        journal: file of Optuna's journal.

    Raises:
        ConfigError: if Optuna is not installed.
    """

    prunes = True

    def __init__(self, dimensions: Sequence[Dimension], seed: int, journal: Path) -> None:
        if importlib.util.find_spec("optuna") is None:
            raise ConfigError(
                "sampler='optuna' needs Optuna: pip install 'robustpo[tune]'; or choose halving"
            )
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna: Any = optuna
        self._dimensions, self._journal = dimensions, journal
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name="robustpo",
            direction="maximize",
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(
                seed=seed, constant_liar=True, multivariate=len(dimensions) > 1
            ),
        )

    def ask(self, number: int) -> dict[str, float]:
        """Return the setting of a trial, again if it had not been written down."""
        known = self._study.get_trials(deepcopy=False)
        if number > len(known):
            raise ConfigError(f"{self._journal} is not of this search; choose another --out")
        trial = self._study.ask() if number >= len(known) else None
        trial = trial or self._optuna.trial.Trial(self._study, known[number]._trial_id)
        shares = {one.name: trial.suggest_float(one.name, 0.0, 1.0) for one in self._dimensions}
        return {one.name: one.at(shares[one.name]) for one in self._dimensions}

    def tell(self, trial: Trial) -> None:
        """Say what a trial came to, and whether it was ended early."""
        states = self._optuna.trial.TrialState
        if trial.number >= len(self._study.get_trials(deepcopy=False)):
            raise ConfigError(f"{self._journal} is not of this search; choose another --out")
        if trial.value is None:
            self._study.tell(trial.number, state=states.FAIL, skip_if_finished=True)
            return
        state = states.COMPLETE if trial.state == "done" else states.PRUNED
        known = self._study.get_trials(deepcopy=False)[trial.number]
        if state is states.PRUNED and not known.state.is_finished():
            running = self._optuna.trial.Trial(self._study, known._trial_id)
            running.report(trial.value, step=trial.rung)
            self._study.tell(trial.number, state=state, skip_if_finished=True)
            return
        self._study.tell(trial.number, trial.value, state=state, skip_if_finished=True)


def make_sampler(
    name: str, dimensions: Sequence[Dimension], seed: int, points: int, directory: Path
) -> Sampler:
    """Return the sampler of one of `SAMPLERS`.

    Raises:
        ConfigError: if it needs what is not installed.
    """
    if name == "optuna":
        return OptunaSampler(dimensions, seed, directory / "optuna.log")
    if name == "grid":
        return GridSampler(dimensions, points)
    return RandomSampler(dimensions, seed, prunes=name == "halving")
