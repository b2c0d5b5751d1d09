"""What a search is asked for, and what of it is written down, so that the same call goes on."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robustpo.base.files import parse_json, read_bytes
from robustpo.base.naming import slug
from robustpo.base.writing import make_directory, write_atomically
from robustpo.config.published import default_preset
from robustpo.errors import ConfigError
from robustpo.execution.estimate import seconds_per_step
from robustpo.execution.packing import MAX_AGENTS
from robustpo.runs.record import task_directory
from robustpo.studies.commands import option_words
from robustpo.tuning.plan import make_plan
from robustpo.tuning.search import Search
from robustpo.tuning.space import Dimension

FILE = "tune.json"


@dataclass(frozen=True)
class Request:
    """A search; one that differs in any of this is another.

    Attributes:
        task: the task, with its arguments.
        method: as in `Search`.
        dimensions: what is searched.
        sampler: how.
        seeds: selection seeds.
        confirmation_seeds: none of these.
        points: of a grid.
        seed: of the draws.
        steps: of a whole run, if a person has chosen.
        options: as in `Search`.

    Raises:
        ConfigError: if a seed selects and confirms, or a setting is named twice.
    """

    task: str
    method: str
    dimensions: tuple[Dimension, ...]
    sampler: str
    seeds: tuple[int, ...]
    confirmation_seeds: tuple[int, ...]
    points: int
    seed: int
    steps: int | None
    options: dict[str, Any]

    def __post_init__(self) -> None:
        if both := set(self.seeds) & set(self.confirmation_seeds):
            raise ConfigError(
                f"seed {min(both)} is among the selection seeds and those that confirm; choose "
                "others, or the confirmation is none"
            )
        for name in self.over:
            if self.over.count(name) > 1 or name in self.options:
                why = "named twice" if self.over.count(name) > 1 else "given as an option too"
                raise ConfigError(f"over={name!r} is {why}; search it, or choose its value")

    @property
    def over(self) -> tuple[str, ...]:
        """Names of the settings that are searched."""
        return tuple(one.name for one in self.dimensions)

    def directory(self, out: Path) -> Path:
        """Return where it lies."""
        return task_directory(out, self.task) / f"tune_{slug(self.method)}_{'-'.join(self.over)}"

    def search(self, steps: int) -> Search:
        """Return the search at a length.

        Raises:
            ConfigError: if the method has no such setting, or a value is not valid.
        """
        found = Search(self.task, self.method, self.over, self.seeds, steps, self.options)
        for share in (0.0, 0.5, 1.0):
            found.configs({one.name: one.at(share) for one in self.dimensions})
        return found

    def planned(self, out: Path, budget: float, workers: int) -> tuple[int, float]:
        """Return the steps of a whole run and the seconds of the search.

        What was planned when it began holds, whatever this machine makes of it now: runs of other
        lengths could not be compared, and the share of the search in the budget stays.

        Raises:
            ConfigError: if another search lies there, or the budget is too small.
        """
        recorded = self._recorded(self.directory(out))
        if recorded is None:
            (config, *_) = self.search(10**7).configs({o.name: o.at(0.5) for o in self.dimensions})
            plan = make_plan(
                config,
                budget=budget,
                per_step=seconds_per_step(config, MAX_AGENTS, self.task),
                workers=workers,
                seeds=len(self.seeds),
                # The best, the default and PPO.
                confirmed=3 * len(self.confirmation_seeds),
                steps=self.steps,
            )
            recorded = plan.steps, plan.selection / budget
        return recorded[0], recorded[1] * budget

    def save(self, out: Path, steps: int, share: float) -> None:
        """Write down what was asked for and planned.

        Raises:
            StorageError: if it could not be written.
        """
        directory = self.directory(out)
        make_directory(directory, out)
        planned = {"planned_steps": steps, "planned_share": share}
        content = json.dumps(self._plain() | planned, indent=1) + "\n"
        write_atomically(directory / FILE, content.encode(), out)

    def _plain(self) -> dict[str, Any]:
        """Return it as JSON reads it back."""
        return json.loads(json.dumps(asdict(self)))

    def _recorded(self, directory: Path) -> tuple[int, float] | None:
        file = directory / FILE
        if not file.is_file():
            return None
        try:
            before = parse_json(read_bytes(file, 2**20))
            planned = int(before["planned_steps"]), float(before["planned_share"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{file} is damaged; move {directory} aside") from error
        if changed := [name for name, value in self._plain().items() if before.get(name) != value]:
            raise ConfigError(
                f"{directory} holds another search ({', '.join(changed)} differ); choose another "
                "--out"
            )
        return planned

    def command(self, budget: str, out: Path) -> str:
        """Return the command that searches again, or goes on."""
        words = ["robustpo", "tune", self.task, "--budget", budget, "--over"]
        words += [f"{one.name}={one.low!r}:{one.high!r}" for one in self.dimensions]
        words += ["--method", self.method, "--sampler", self.sampler]
        words += ["--seeds", ",".join(map(str, self.seeds))]
        words += ["--confirmation-seeds", ",".join(map(str, self.confirmation_seeds))]
        words += ["--points", str(self.points)] if self.sampler == "grid" else []
        words += ["--seed", str(self.seed)] if self.seed else []
        words += ["--steps", str(self.steps)] if self.steps else []
        return shlex.join([*words, *self._options(), "--out", str(out)])

    def training_command(self, search: Search, setting: dict[str, float], out: Path) -> str:
        """Return the command that trains a setting, with seeds that people use."""
        words = ["robustpo", "train", self.task, "--method", search.method_of(setting)]
        # Not those that it was chosen by.
        first = max(self.seeds) + 1
        words += ["--seeds", f"{first}:{first + 10}", "--steps", str(search.steps)]
        return shlex.join([*words, *self._options(), "--out", str(out)])

    def _options(self) -> list[str]:
        implied = {"preset": default_preset(self.task)}
        return option_words(
            {name: value for name, value in self.options.items() if implied.get(name) != value}
        )
