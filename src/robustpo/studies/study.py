"""Studies as data: tasks × methods × seeds, which expand into runs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from robustpo.base.naming import slug
from robustpo.base.registry import allow_named
from robustpo.config.definitions import require_allowed
from robustpo.config.methods import METHODS
from robustpo.config.run import RunConfig
from robustpo.environments import catalog
from robustpo.environments.task_arguments import canonical, with_arguments
from robustpo.errors import ConfigError
from robustpo.studies.grid import expand_methods, grid_by_variant, make_grid, parse_method

MAX_RUNS = 100_000


@dataclass(frozen=True)
class Part:
    """Tasks that are all trained alike.

    Attributes:
        tasks: ids of the tasks.
        methods: names of methods, with options of their own if wanted: `rpo:alpha=0.1`.
        seeds: seeds of every method on every task.
        steps: simulator steps of each run.
        options: settings, shape and preset shared by all, by name.
    """

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...] = tuple(range(10))
    steps: int = 8_000_000
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(map(canonical, self.tasks)))


@dataclass(frozen=True)
class Study:
    """A comparison that is declared before it is run.

    Attributes:
        name: what it is called on the command line and in directories.
        title: what it compares, in one line.
        parts: what is trained; most studies have one part.
        source: where the experiment is published, empty for a user's own.
        shows: `return` or `entropy`: what its figure shows.
        note: what the source leaves open and how it is filled in, in one sentence.
        aliases: other names of the same study.
        notes: what a reader of its report must know of how its runs were made, a sentence each,
            such as an option that some of its methods leave alone.
        judged_by: what in `info` its runs are judged by, with `:min` behind it where less is
            better; empty for the return.
    """

    name: str
    title: str
    parts: tuple[Part, ...]
    source: str = ""
    shows: str = "return"
    note: str = ""
    aliases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    judged_by: str = ""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Ids of all its tasks, each once, in order."""
        return tuple(dict.fromkeys(task for part in self.parts for task in part.tasks))

    @property
    def methods(self) -> tuple[str, ...]:
        """All its methods as they are written, each once, in order."""
        return tuple(dict.fromkeys(method for part in self.parts for method in part.methods))

    def expanded(self) -> Study:
        """Return the study with what extensions among its methods set written out.

        Raises:
            ConfigError: as `expand_methods`.
        """
        parts = (replace(p, methods=expand_methods(p.methods, p.options)) for p in self.parts)
        return replace(self, parts=tuple(parts))

    def configs(self) -> list[RunConfig]:
        """Return the configuration of every run, task by task, each once.

        Raises:
            ConfigError: if a method or an option is unknown, a value is not valid, or there are
                more than `MAX_RUNS`.
        """
        self._require_bounded()
        found: dict[tuple[str, str, int], RunConfig] = {}
        for task in self.tasks:
            for part in self.parts:
                if task not in part.tasks:
                    continue
                grid = grid_by_variant(
                    task, part.methods, part.seeds, steps=part.steps, **part.options
                )
                for (variant, seed), config in grid.items():
                    found.setdefault((task, variant, seed), config)
        return list(found.values())

    def check(self) -> None:
        """Raise `ConfigError` where `configs` does, without making a run of every seed."""
        self._require_bounded()
        ends = [
            replace(part, seeds=tuple(dict.fromkeys((min(part.seeds), max(part.seeds)))))
            for part in self.parts
        ]
        replace(self, parts=tuple(ends)).configs()

    def _require_bounded(self) -> None:
        count = sum(len(p.tasks) * len(p.methods) * len(p.seeds) for p in self.parts)
        if count > MAX_RUNS:
            raise ConfigError(
                f"study {self.name!r} has {count:,} runs; at most {MAX_RUNS:,} are possible: "
                "choose fewer tasks, methods or seeds"
            )

    def select(
        self,
        *,
        tasks: Sequence[str] = (),
        env_kwargs: Mapping[str, Any] | None = None,
        methods: Sequence[str] = (),
        seeds: Sequence[int] = (),
        steps: int | None = None,
    ) -> Study:
        """Return a part of the study, or the study at another length.

        Args:
            tasks: ids, or parts of ids, of its tasks; none is all.
            env_kwargs: arguments of what makes the environments of these tasks.
            methods: its methods as they are written, or any others; none is all.
            seeds: seeds instead of its own; none is its own.
            steps: simulator steps of each run instead of its own.

        Raises:
            ConfigError: if a task is none of its own, or a method is unknown, contradicts itself,
                or is named twice.
        """
        chosen = _chosen_tasks(self, tasks)
        for method in methods:
            require_method(method)
        parts = []
        for part in self.parts:
            own = tuple(
                with_arguments(task, env_kwargs or {}) for task in part.tasks if task in chosen
            )
            used = tuple(methods) or part.methods
            if own and used:
                parts.append(
                    replace(
                        part,
                        tasks=own,
                        methods=used,
                        seeds=tuple(seeds) or part.seeds,
                        steps=part.steps if steps is None else steps,
                    )
                )
                require_distinct(parts[-1])
        return replace(self, parts=tuple(parts))


def name_methods(methods: Sequence[str]) -> None:
    """Let the extensions that a person names in methods be imported."""
    for text in methods:
        name, own = parse_method(text)
        allow_named([name], own)


def named_study(study: Study) -> Study:
    """Return a study that a person has named all of, with its extensions written out."""
    for part in study.parts:
        name_methods(part.methods)
        allow_named([], part.options)
    return study.expanded()


def require_method(text: str) -> None:
    """Raise `ConfigError` unless a method is known and remains what it is with its own options."""
    name, own = parse_method(text)
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, 2)
        guess = f"; did you mean {' or '.join(near)}?" if near else ";"
        raise ConfigError(f"unknown method {name!r}{guess} `robustpo methods` lists all")
    for option, value in own.items():
        require_allowed(name, option, value)


def require_distinct(part: Part) -> None:
    """Raise `ConfigError` if two methods of a part ask for the same runs.

    An agent that is trained twice tells of no difference.
    """
    for task in part.tasks:
        found: dict[str, str] = {}
        for text in part.methods:
            (config,) = make_grid(task, [text], (0,), steps=part.steps, **part.options)
            if config.variant in found:
                raise ConfigError(
                    f"methods={list(part.methods)} name {config.variant} twice, as "
                    f"{found[config.variant]!r} and as {text!r}; name every method once"
                )
            found[config.variant] = text


def require_task(task: str) -> None:
    """Raise `ConfigError` if a plain name is neither in the catalog nor anything else's.

    Names with a namespace of their own (`module:callable`, `gymnasium/...`) are left to whatever
    makes them.
    """
    if catalog.find(task) is not None or ":" in task or ("/" in task and "-v" not in task):
        return
    from robustpo.environments.constructors import find_constructor

    find_constructor(task)


def _chosen_tasks(study: Study, wanted: Sequence[str]) -> set[str]:
    if not wanted:
        return set(study.tasks)
    chosen: set[str] = set()
    for text in wanted:
        found = [task for task in study.tasks if task == text] or [
            task for task in study.tasks if text.lower() in task.lower()
        ]
        if not found:
            near = difflib.get_close_matches(text, study.tasks, 3, cutoff=0.4)
            raise ConfigError(
                f"study {study.name!r} has no task {text!r}; it has "
                f"{', '.join(near or study.tasks[:5])}{'' if near else ', …'}"
            )
        chosen.update(found)
    return chosen


def valid_name(name: str) -> bool:
    """Whether a study may be called this: it names a directory."""
    return bool(name) and slug(name) == name and not name.startswith((".", "-")) and len(name) < 80
