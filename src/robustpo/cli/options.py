"""Options that `robustpo train` and `compare` share, made from the configuration classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_type_hints

import tyro
from tyro.conf import arg

from robustpo.config.settings import SETTING_FIELDS, SETTING_TYPES
from robustpo.config.shape import Shape
from robustpo.environments.task_arguments import VECTOR_PREFIX, split_arguments, with_arguments

# What `--help` shows; the rest is under `--help-all`.
OFTEN = (
    "task",
    "env_kwargs",
    "method",
    "methods",
    "seeds",
    "config",
    "judge_by",
    "alphas",
    "out",
    "workers",
    "steps",
    "preset",
    "eval_every",
    "alpha",
    "learning_rate",
    "time_limit",
    "num_envs",
)
Switch = Literal["on", "off"]
EnvKwargs = Annotated[
    tuple[str, ...],
    arg(
        name="env-kwargs",
        metavar="KEY=VALUE [KEY=VALUE ...]",
        help="Arguments of what makes the environment: numbers, true, false or words; they become "
        "part of the task's name, TASK:key=value.",
        help_behavior_hint="(default: none)",
    ),
]
Vectorized = Annotated[
    bool,
    tyro.conf.FlagCreatePairsOff,
    arg(
        help="Make the id with gymnasium.make_vec, --num-envs at a time, as ids are that register "
        "a vector; the task is then called vector/ID:num_envs=8.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    arg(
        metavar="FILE",
        help="TOML with these options by their names (learning_rate = 1e-3), which those on the "
        "command line override; `robustpo config RUN` prints one.",
        help_behavior_hint="(default: none)",
    ),
]
_DEFAULTS = "the defaults are those of rpo under the preset paper."

METHOD_HELP = (
    "See `robustpo methods`; options of its own may follow: rpo:noise=laplace,alpha=0.1. What a "
    "method is by definition cannot be changed: ppo has no alpha."
)


def _options(
    name: str, source: tuple[dataclasses.Field[Any], ...], hints: dict[str, Any], title: str
) -> type:
    """Turn a configuration class into command-line options, all unset by default."""
    fields = []
    for option in source:
        kind = Switch if hints[option.name] is bool else hints[option.name]
        about = arg(
            help=option.metadata["help"],
            metavar=_metavar(kind, option.metadata),
            help_behavior_hint=f"(default: {_show(option.default)})",
        )
        annotated = Annotated[kind | None, about]
        fields.append((option.name, annotated, field(default=None)))
    made = dataclasses.make_dataclass(name, fields, frozen=True)
    made.__doc__ = title
    return made


def _metavar(kind: Any, about: Mapping[str, Any]) -> str:
    """Name the values of a type for people, without the None that stands for unset."""
    if about.get("kind") is not None and kind is str:
        names = [*about["kind"], *about.get("but", ())]
        fitting = [n for n in names if "of" not in about or about["of"] in about["kind"][n].of]
        return "{" + ",".join([*fitting, "MODULE:NAME"]) + "}"
    words = {
        int: "INT",
        float: "FLOAT",
        str: "TEXT",
        tuple[int, ...]: "INT [INT ...]",
        tuple[float, ...]: "FLOAT [FLOAT ...]",
        tuple[str, ...]: "MODULE:NAME [MODULE:NAME ...]",
    }
    if kind in words:
        return words[kind]
    choices = [c for c in get_args(kind) if c is not type(None)]
    return words.get(choices[0]) or "{" + ",".join(choices) + "}"


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return "off" if value is None else str(value)


if TYPE_CHECKING:
    from robustpo.cli.compare import Compare
    from robustpo.cli.train import Train

    # The same fields, but optional, in classes that are only made when the program runs.
    from robustpo.config.settings import Settings as AgentOptions
    from robustpo.config.shape import Shape as ShapeOptions
else:
    AgentOptions = _options(
        "AgentOptions",
        SETTING_FIELDS[1:],
        SETTING_TYPES,
        f"Numbers of each agent; {_DEFAULTS}",
    )
    ShapeOptions = _options(
        "ShapeOptions",
        dataclasses.fields(Shape),
        get_type_hints(Shape),
        f"What all agents of a population share; {_DEFAULTS}",
    )


@dataclass(frozen=True)
class ExecutionOptions:
    """Place and processes; none of it changes a result."""

    out: Path = Path("runs")
    """Directory that holds all runs."""
    workers: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: all)")] = None
    """Processes; by default one per core, as far as memory goes."""
    allow: tuple[str, ...] = ()
    """Extensions that a file names, module:name: only what is named here or by an option, or is
    installed, is imported."""
    pin: bool = True
    """Let each process claim a core for itself, as long as others leave it alone."""
    fresh: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Train again what is recorded, however far it is; the old record is moved aside."""
    checkpoint_every: int = 0
    """Steps between checkpoints, from which a stopped run goes on; 0 for one every two minutes."""
    step_timeout: float = 60.0
    """Seconds that a worker waits for a simulator outside the compiled program; 0 for no limit."""
    env_processes: int = 0
    """Processes of each worker that step simulators outside the compiled program; 0 for none."""
    ray: Annotated[
        str | None, arg(metavar="ADDRESS", help_behavior_hint="(default: this machine alone)")
    ] = None
    """Train on the Ray cluster at HOST:PORT; `auto` takes a running one, or starts one here."""
    gpus: float = 0.0
    """GPUs, or the fraction of one, that each worker asks Ray for."""
    track: Annotated[
        Literal["tensorboard"] | None,
        arg(metavar="{tensorboard}", help_behavior_hint="(default: nothing)"),
    ] = None
    """Write scalars beside each run (extra `tensorboard`)."""


@dataclass(frozen=True)
class RunOptions(ExecutionOptions):
    """Length, place and processes."""

    steps: int = 8_000_000
    """Simulator steps of each run."""
    preset: Annotated[
        Literal["paper", "own", "isaac"] | None,
        arg(
            metavar="{paper,own,isaac}",
            help="Defaults that the method is laid over: the paper's Table 2 (paper), the same "
            "with actions in units of the bounds and bootstrapped time limits (own), or rl_games' "
            "of IsaacGym (isaac).",
            help_behavior_hint="(default: paper, or isaac for isaac/*; own for tasks of your own, "
            "unless they are recorded under paper)",
        ),
    ] = None
    eval_every: Annotated[
        int | None, arg(metavar="INT", help_behavior_hint="(default: 0, or as in the run extended)")
    ] = None
    """Steps between evaluations during training, which keep the best policy; 0 for none."""
    eval_episodes: Annotated[
        int | None, arg(metavar="INT", help_behavior_hint="(default: 10, or as there)")
    ] = None
    """Episodes of each of those evaluations."""
    init_policy: Annotated[
        str | None, arg(metavar="PATH", help_behavior_hint="(default: none)")
    ] = None
    """Policy file or run directory to start from."""


def task_of(command: Train | Compare) -> str:
    """Return the name of the task that a command asks for.

    Raises:
        ConfigError: if it is to be made as a vector and is no id.
    """
    if not command.vectorized:
        return command.task
    name, arguments = split_arguments(command.task.removeprefix(VECTOR_PREFIX))
    if command.shape.num_envs is not None:
        arguments |= {"num_envs": command.shape.num_envs}
    return with_arguments(f"{VECTOR_PREFIX}{name}", arguments)


def keywords(command: Train | Compare) -> dict[str, Any]:
    """Collect everything but what names the runs; unset options are left to the method."""
    values = dataclasses.asdict(command.run)
    for name in ("eval_every", "eval_episodes"):
        if values[name] is None:
            del values[name]
    for group in (command.agent, command.shape):
        for name, value in dataclasses.asdict(group).items():
            if value is not None:
                values[name] = value == "on" if value in ("on", "off") else value
    return values
