"""What is measured: which shifts a task has, at which levels, and in which simulator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
from gymnasium.envs import registration

from robustpo.environments import catalog
from robustpo.environments.constructors import GYMNASIUM_PREFIX, construct, find_constructor
from robustpo.environments.dynamics import dynamics_of
from robustpo.environments.make import is_jax_task
from robustpo.environments.shifts import ARGUMENT, SHIFTS, Shift
from robustpo.environments.task_arguments import split_arguments, with_arguments
from robustpo.errors import ConfigError

# What everything is compared with: nothing differs.
NOTHING = ""


@dataclass(frozen=True)
class Condition:
    """One way in which the world differs.

    Attributes:
        task: what is simulated.
        shift: name of what differs; empty if nothing does.
        level: by how much.
    """

    task: str
    shift: str = NOTHING
    level: float = 0.0


@dataclass(frozen=True)
class PlannedShift:
    """A shift of a task and the conditions that measure it, by level."""

    shift: Shift
    conditions: tuple[tuple[float, Condition], ...]


def parse_shift(text: str) -> tuple[str, tuple[float, ...] | None]:
    """Return the name of a shift and its levels from text such as `mass=0.5,1,2`; None for its own.

    Raises:
        ConfigError: if a level is no number.
    """
    name, equals, rest = text.partition("=")
    if not equals:
        return name, None
    try:
        return name, tuple(float(word) for word in rest.split(","))
    except ValueError:
        raise ConfigError(
            f"shift {text!r} is not valid; expected a name with numbers, such as {name}=0.5,1,2"
        ) from None


def plan(task: str, wanted: Sequence[str] = ()) -> list[PlannedShift]:
    """Return the shifts of a task that are asked for; none is all it has.

    Raises:
        ConfigError: if the task has none of a name, or a level is not valid.
    """
    names = [text.partition("=")[0] for text in wanted]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"shift {twice!r} is asked for twice; give all its levels at once")
    own = {**_around(), **_of_physics(task)}
    if not wanted:
        return [_planned(task, shift, shift.levels) for shift in own.values()]
    planned = []
    for text in wanted:
        name, levels = parse_shift(text)
        if name.startswith(ARGUMENT):
            planned.append(_of_argument(task, name, levels))
        elif name in own:
            shift = own[name]
            planned.append(_planned(task, shift, shift.with_levels(levels or shift.levels)))
        else:
            raise ConfigError(
                f"task {task!r} has no shift {name!r}; it has {', '.join(own)}, and "
                f"{ARGUMENT}NAME=… for what its constructor takes"
            )
    return planned


def _around() -> dict[str, Shift]:
    return {n: shift for n, shift in SHIFTS.items() if shift.kind in ("observation", "action")}


def _of_physics(task: str) -> dict[str, Shift]:
    """Return the shifts of a task's physics, found out by making one environment."""
    entry = catalog.published(task)
    if entry is not None and entry.simulator in ("jax", "mujoco"):
        return {}
    name = simulated(task)
    made = construct(name, find_constructor(name))
    if is_jax_task(made) or not isinstance(made, gymnasium.Env):
        return {}
    try:
        return {name: SHIFTS[name] for name in dynamics_of(made)}
    finally:
        made.close()


def simulated(task: str) -> str:
    """Return the name under which a task's physics can be changed: EnvPool's cannot."""
    entry = catalog.find(task)
    if entry is not None and entry.simulator == "envpool":
        return GYMNASIUM_PREFIX + task
    return task


def _planned(task: str, shift: Shift, levels: tuple[float, ...]) -> PlannedShift:
    place = simulated(task) if shift.kind == "dynamics" else task
    return PlannedShift(
        shift,
        tuple(
            (
                level,
                Condition(place, shift.name, level) if level != shift.nominal else Condition(place),
            )
            for level in levels
        ),
    )


def _of_argument(task: str, name: str, levels: tuple[float, ...] | None) -> PlannedShift:
    """Return the shift of an argument of what makes the task's environment."""
    key, (base, own) = name.removeprefix(ARGUMENT), split_arguments(task)
    if levels is None:
        raise ConfigError(f"shift {name} needs its levels: {name}=0.5,1,2")
    nominal = own.get(key, _default(find_constructor(base), key))
    if isinstance(nominal, bool) or not isinstance(nominal, int | float):
        raise ConfigError(
            f"shift {name}: the task {task!r} was not trained with a number for {key!r} that is "
            f"known; give the argument a default, or train with --env-kwargs {key}=…"
        )
    shift = Shift(name, "argument", "the argument itself", float(nominal), (), low=float("-inf"))
    levels = shift.with_levels(levels)
    whole = isinstance(nominal, int) and all(level == int(level) for level in levels)

    def condition(level: float) -> Condition:
        if level == nominal:
            return Condition(task)
        value = int(level) if whole else level
        return Condition(with_arguments(base, own | {key: value}))

    return PlannedShift(shift, tuple((level, condition(level)) for level in levels))


def _default(constructor: Any, key: str) -> Any:
    """Return the default of an argument of a constructor; None if there is none to be found."""
    registered = _registered(constructor)
    if registered is not None and key in (given := gymnasium.spec(constructor.args[0]).kwargs):
        return given[key]
    for function in (constructor, registered):
        try:
            found = inspect.signature(function).parameters.get(key) if function else None
        except (TypeError, ValueError):
            continue
        if found is not None and found.default is not inspect.Parameter.empty:
            return found.default
    return None


def _registered(constructor: Any) -> Callable[..., Any] | None:
    """Return what Gymnasium makes of an id, behind `functools.partial(gymnasium.make, id)`."""
    if getattr(constructor, "func", None) is not gymnasium.make:
        return None
    point = gymnasium.spec(constructor.args[0]).entry_point
    if isinstance(point, str):
        return registration.load_env_creator(point)
    return point
