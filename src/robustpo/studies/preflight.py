"""What is checked, and said, before runs are carried out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from robustpo.config import RunConfig
from robustpo.environments.base import TaskSpec
from robustpo.errors import ConfigError
from robustpo.policy import FAMILIES, Policy, load_policy
from robustpo.shape import Shape
from robustpo.studies.standing import State
from robustpo.training.limits import available_cores


def check_bounds(configs: Sequence[RunConfig], specs: Mapping[str, TaskSpec]) -> None:
    """Raise `ConfigError` if a distribution on the action's bounds finds none."""
    for task, family in {(c.task, c.shape.distribution): None for c in configs}:
        spec = specs[task]
        if not FAMILIES[family].clipped and not spec.bounded:
            raise ConfigError(
                f"distribution={family!r} is stretched onto the action's bounds, and those of "
                f"{spec.id!r} are not finite; choose a distribution such as gaussian"
            )


def check_policies(configs: Sequence[RunConfig], specs: Mapping[str, TaskSpec]) -> None:
    """Raise `ConfigError` if a policy to start from does not fit its task or its shape."""
    for task, path, shape in {(c.task, c.init_policy, c.shape) for c in configs if c.init_policy}:
        spec, policy = specs[task], load_policy(path)
        _check_network(path, policy, shape)
        sizes = (policy.observation_size, policy.action_size)
        if sizes != (spec.observation_size, spec.action_size):
            raise ConfigError(
                f"init_policy={path!r} takes {sizes[0]} observations and gives {sizes[1]} "
                f"actions, task {spec.id!r} has {spec.observation_size} and {spec.action_size}"
            )


def _check_network(path: str, policy: Policy, shape: Shape) -> None:
    """Raise `ConfigError` if a policy's networks are not those of a shape."""
    for network in ("actor", "critic"):
        sizes = []
        while (name := f"{network}.{len(sizes)}.weight") in policy.tensors:
            sizes.append(policy.tensors[name].shape[-1])
        hidden = tuple(sizes[:-1])
        if hidden != shape.hidden_sizes:
            raise ConfigError(
                f"init_policy={path!r} has {network} layers {hidden}, hidden_sizes is "
                f"{shape.hidden_sizes}; choose --hidden-sizes {' '.join(map(str, hidden))}"
            )
    for name in ("activation", "distribution"):
        stored = policy.metadata[name]
        if stored != getattr(shape, name):
            raise ConfigError(
                f"init_policy={path!r} has {name} {stored}, {getattr(shape, name)} was asked for; "
                f"choose --{name} {stored}"
            )


def starting_notes(
    configs: Sequence[RunConfig],
    specs: Mapping[str, TaskSpec],
    states: dict[RunConfig, State],
    *,
    fresh: bool,
    workers: int,
) -> list[str]:
    """Return what a person should know before it starts."""
    notes = [problem for state in states.values() for problem in state.problems]
    kept = Counter(state.run.state for state in states.values() if not state.pending)
    if kept["done"]:
        notes.append(f"{kept['done']} of {len(configs)} runs are recorded already and are kept")
    if kept["failed"]:
        notes.append(
            f"{kept['failed']} of {len(configs)} runs have failed before and are kept as they are"
        )
    steps = [state.step for state in states.values() if state.step is not None]
    if steps:
        where = " to ".join(f"{step:,}" for step in sorted({min(steps), max(steps)}))
        notes.append(f"{len(steps)} of {len(configs)} runs go on from step {where}")
    for change in dict.fromkeys(state.inexact for state in states.values() if state.inexact):
        notes.append(f"runs that go on are no longer exact to the bit: now with {change}")
    lost = sum(state.stale and not fresh for state in states.values())
    if lost:
        notes.append(
            f"{lost} of {len(configs)} runs have no checkpoint and start again; their records are "
            "moved aside"
        )
    for spec in specs.values():
        if not spec.bounded:
            notes.append(f"the actions of {spec.id} are unbounded; they go unclipped")
    cores = available_cores()
    if workers > cores:
        notes.append(f"{workers} workers on {cores} cores: some share a core and none gains speed")
    floored = {c.steps: c.total_steps for c in configs if c.steps != c.total_steps}
    for asked, made in floored.items():
        notes.append(f"{asked:,} steps are floored to whole rollouts: {made:,}")
    return notes
