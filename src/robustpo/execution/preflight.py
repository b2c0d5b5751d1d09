"""What is checked, and said, before runs are carried out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from robustpo.config.run import RunConfig
from robustpo.config.shape import ActionScale, Shape
from robustpo.environments.base import NO_BOUND, TaskSpec
from robustpo.environments.bounds import describe_bounds, far_bounds, off_centre
from robustpo.errors import ConfigError
from robustpo.execution.limits import available_cores
from robustpo.execution.standing import State
from robustpo.policy.families import FAMILIES, MLP
from robustpo.policy.policy import Policy, load_policy
from robustpo.training.action_units import action_units


def check_bounds(configs: Sequence[RunConfig], specs: Mapping[str, TaskSpec]) -> None:
    """Raise `ConfigError` if a distribution on the action's bounds finds none."""
    for task, family in {(c.task, c.shape.distribution): None for c in configs}:
        spec = specs[task]
        if not FAMILIES[family].clipped and not spec.bounded:
            raise ConfigError(
                f"distribution={family!r} is stretched onto the action's bounds, and those of "
                f"{spec.id!r} are not finite ({NO_BOUND:g} and more counts as none); choose a "
                "distribution such as gaussian"
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
        _check_units(path, policy, spec, shape)
        if policy.origin is not None and spec.simulator != "gymnasium":
            raise ConfigError(
                f"init_policy={path!r} observes far from zero, and task {spec.id!r} is stepped in "
                "single precision; train it in a Gymnasium environment"
            )


def _check_network(path: str, policy: Policy, shape: Shape) -> None:
    """Raise `ConfigError` if a policy's networks are not those of a shape."""
    actor, critic = (_hidden_sizes(policy, name) for name in ("actor", "critic"))
    shared = policy.metadata.get("shared_network", False)
    if policy.network != shape.network:
        raise ConfigError(
            f"init_policy={path!r} has network {policy.network}; asked for: {shape.network}; "
            f"choose --network {policy.network}"
        )
    if policy.network != MLP:
        return
    if critic is None or (shared and critic):
        raise ConfigError(
            f"init_policy={path!r} has actor layers {actor} and critic layers {critic}, which no "
            "agent has; choose a policy that robustpo has trained"
        )
    stored = {
        "hidden_sizes": actor,
        "activation": policy.metadata["activation"],
        "shared_network": shared,
        "layer_norm": "actor.0.scale" in policy.tensors,
        "distribution": policy.metadata["distribution"],
        "normalize_observations": "observation.mean" in policy.tensors,
    }
    wanted = {name: getattr(shape, name) for name in stored}
    if not shared and (shape.critic_hidden_sizes or critic != actor):
        stored["critic_hidden_sizes"], wanted["critic_hidden_sizes"] = critic, shape.critic_sizes
    other = {name: value for name, value in stored.items() if value != wanted[name]}
    if other:
        has = ", ".join(f"{name} {value}" for name, value in other.items())
        asked = ", ".join(str(wanted[name]) for name in other)
        options = " ".join(f"--{name.replace('_', '-')} {_word(v)}" for name, v in other.items())
        raise ConfigError(f"init_policy={path!r} has {has}; asked for: {asked}; choose {options}")


def _hidden_sizes(policy: Policy, network: str) -> tuple[int, ...] | None:
    sizes: list[int] = []
    while (name := f"{network}.{len(sizes)}.weight") in policy.tensors:
        sizes.append(policy.tensors[name].shape[-1])
    return tuple(sizes[:-1]) if sizes else None


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def _check_units(path: str, policy: Policy, spec: TaskSpec, shape: Shape) -> None:
    """Raise `ConfigError` if a policy acts in other units than it would be trained in."""

    def alike(units: tuple[np.ndarray, np.ndarray] | None) -> bool:
        theirs = policy.action_units or (0.0, 1.0)
        return all(map(np.allclose, theirs, units or (0.0, 1.0)))

    if alike(action_units(spec, shape)):
        return
    for scale in get_args(ActionScale):
        if alike(action_units(spec, replace(shape, action_scale=scale))):
            raise ConfigError(
                f"init_policy={path!r} acts in other units than action_scale="
                f"{shape.action_scale!r}; choose --action-scale {scale}"
            )
    raise ConfigError(
        f"init_policy={path!r} is scaled to other bounds than those of {spec.id!r}, "
        f"{describe_bounds(spec.action_low, spec.action_high)}; choose a policy of the same task"
    )


def starting_notes(
    configs: Sequence[RunConfig],
    specs: Mapping[str, TaskSpec],
    states: dict[RunConfig, State],
    *,
    workers: int,
) -> list[str]:
    """Return what a person should know before it starts."""
    notes = []
    kept = Counter(state.run.state for state in states.values() if not state.pending)
    if kept["done"]:
        notes.append(f"{kept['done']} of {len(configs)} runs are recorded already and are kept")
    if kept["failed"]:
        notes.append(
            f"{kept['failed']} of {len(configs)} runs have failed before and are kept as they are"
        )
    steps = [state.step for state in states.values() if state.step is not None]
    if steps:
        # Whoever trains reads them, and may find that an earlier one is the newest that is whole.
        where = " to ".join(f"{step:,}" for step in sorted({min(steps), max(steps)}))
        notes.append(f"{len(steps)} of {len(configs)} runs go on; newest checkpoint: step {where}")
    for change in dict.fromkeys(state.inexact for state in states.values() if state.inexact):
        notes.append(f"runs that go on are no longer exact to the bit: now with {change}")
    for task, spec in specs.items():
        notes += _task_notes([config for config in configs if config.task == task], spec)
    cores = available_cores()
    if workers > cores:
        notes.append(f"{workers} workers on {cores} cores: some share a core and none gains speed")
    floored = {c.steps: c.total_steps for c in configs if c.steps != c.total_steps}
    for asked, made in floored.items():
        notes.append(f"{asked:,} steps are floored to whole rollouts: {made:,}")
    return notes


def _task_notes(configs: Sequence[RunConfig], spec: TaskSpec) -> list[str]:
    """Return what is to be known of a task's actions and preset."""
    notes = [note for config in configs if (note := preset_note(config, spec))][:1]
    if not spec.bounded:
        notes.append(f"the actions of {spec.id} are unbounded; they go unclipped")
    raw = [
        config.settings.alpha
        for config in configs
        if config.shape.action_scale == "raw" and FAMILIES[config.shape.distribution].clipped
    ]
    bounds = (spec.action_low, spec.action_high)
    text = (far_bounds(*bounds, max(raw)) or off_centre(*bounds)) if raw else None
    if text is not None:
        notes.append(f"{spec.id} has {text}; --action-scale bounds acts in ±1 of the bounds")
    return notes


def preset_note(config: RunConfig, spec: TaskSpec | None = None) -> str | None:
    """Say in one line what the preset `own` makes of a task; None for runs under another one.

    Args:
        config: a run on the task.
        spec: sizes and bounds of the task, where they are known.
    """
    if config.preset != "own":
        return None
    ends = {"bootstrap": "bootstrapped", "terminal": "taken for terminal states"}
    return (
        f"task {config.task} gets the preset own: {_actions(config, spec)}, time limits "
        f"{ends[config.settings.time_limit]}; --preset paper is the published protocol"
    )


def _actions(config: RunConfig, spec: TaskSpec | None) -> str:
    if not FAMILIES[config.shape.distribution].clipped:
        return "actions stretched onto the bounds"
    if config.shape.action_scale == "raw":
        return "actions in raw units"
    if spec is None:
        return "actions scaled to the bounds"
    ends = np.array([spec.action_low, spec.action_high])
    bounded = np.isfinite(ends).all(axis=0)
    if not bounded.any():
        return "actions in raw units for want of finite bounds"
    others = "" if bounded.all() else "; raw where there are none"
    return f"actions scaled to the bounds ({describe_bounds(*ends[:, bounded])}{others})"
