"""What is asked for, held against what the methods are: what is refused, and what is said.

Records and definitions of earlier versions may hold what is refused here; they can still be read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from robustpo.config.definitions import find_method
from robustpo.config.run import RunConfig
from robustpo.policy.families import MLP
from robustpo.studies.grid import make_grid, require_taken, takes, why_not
from robustpo.studies.study import Part, Study, require_distinct, require_method


def require_request(study: Study) -> None:
    """Raise `ConfigError` if an option contradicts what a method is, or one is named twice.

    An option that is shared has to apply to one of the methods that share it.
    """
    for part in study.parts:
        for text in part.methods:
            require_method(text)
        require_distinct(part)
        for option, value in part.options.items():
            holders = [other for other in study.parts if other.options.get(option) == value]
            require_taken([text for other in holders for text in other.methods], option, value)


def request_notes(study: Study) -> list[str]:
    """Return what a person should know of what was asked for, before it starts."""
    found = []
    for part in study.parts:
        found += left_alone(part)
        configs = [
            config
            for task in part.tasks
            for config in make_grid(task, part.methods, (0,), steps=part.steps, **part.options)
        ]
        found += without_effect(configs) + equal_numbers(configs)
    return list(dict.fromkeys(found))


def with_left_alone(study: Study) -> Study:
    """Return a study whose report says which methods an option left alone."""
    found = [text for part in study.parts for text in left_alone(part)]
    return replace(study, notes=tuple(dict.fromkeys([*study.notes, *found])))


def left_alone(part: Part) -> list[str]:
    """Say of each option of a part which methods it applies to, if that is not all of them."""
    return left_by_sweeps(part.methods, {name: (value,) for name, value in part.options.items()})


def left_by_sweeps(methods: Sequence[str], sweeps: Mapping[str, Sequence[Any]]) -> list[str]:
    """Say of swept values which methods they apply to, if that is not all of them."""
    found: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for option, values in sweeps.items():
        for value in values:
            taken = [text for text in methods if takes(text, option, value)]
            others = [why_not(text, option) for text in methods if text not in taken]
            if others:
                whom = f"{_listed(taken)} alone" if taken else "none of the methods"
                found[option, f"applies to {whom}: {_listed(others)}"].append(value)
    return [f"{option}={_listed(values)} {text}" for (option, text), values in found.items()]


def without_effect(configs: Sequence[RunConfig]) -> list[str]:
    """Say which options were given that change nothing beside the others, and what is PPO then."""
    idle: dict[str, dict[str, None]] = defaultdict(dict)
    for config in configs:
        for option, value in config.changed.items():
            why = next((r.why for r in _IDLE if option in r.options and r.holds(config)), None)
            if why is not None:
                idle[f"{option}={value} has no effect, since {why}"][config.variant] = None
        if "alpha" not in find_method(config.method).fixed and not _perturbs(config):
            idle["nothing is perturbed, which makes it PPO"][config.variant] = None
    return [f"{_listed(variants)}: {text}" for text, variants in idle.items()]


def equal_numbers(configs: Sequence[RunConfig]) -> list[str]:
    """Say which variants are the same experiment under two names."""
    found: dict[RunConfig, list[str]] = defaultdict(list)
    for config in configs:
        found[replace(config, method="rpo")].append(config.variant)
    return [
        f"{_listed(variants)} have the same numbers: they are one experiment"
        for variants in found.values()
        if len(variants) > 1
    ]


def _perturbs(config: RunConfig) -> bool:
    settings = config.settings
    return config.shape.noise != "none" and (settings.alpha, settings.noise_location) != (0, 0)


class _Idle(NamedTuple):
    """When options change nothing, and why."""

    options: tuple[str, ...]
    holds: Callable[[RunConfig], bool]
    why: str


_IDLE = (
    _Idle(
        ("alpha", "alpha_schedule", "noise_location", "estimator", "num_draws"),
        lambda run: run.shape.noise == "none",
        "the noise is none",
    ),
    _Idle(
        ("alpha_schedule", "noise", "noise_on", "noise_in", "estimator", "num_draws"),
        lambda run: not _perturbs(run) and run.shape.noise != "none",
        "alpha is 0 and nothing is perturbed",
    ),
    _Idle(
        ("estimator", "num_draws"),
        lambda run: run.shape.update_noise == "none",
        "the location is not perturbed in the update",
    ),
    _Idle(("alpha_schedule",), lambda run: run.settings.alpha == 0, "alpha is 0"),
    _Idle(
        ("hidden_sizes", "critic_hidden_sizes", "activation", "layer_norm"),
        lambda run: run.shape.network != MLP,
        "the network is your own",
    ),
    _Idle(
        ("num_draws",),
        lambda run: run.shape.estimator != "sampled-k",
        "the estimator is not sampled-k",
    ),
    _Idle(
        ("scale_low", "scale_high", "augmentation_per", "augmentation_of"),
        lambda run: run.shape.augmentation == "none",
        "the augmentation is none",
    ),
    _Idle(
        ("drac_coef",),
        lambda run: run.shape.augmentation != "drac",
        "the augmentation is not drac",
    ),
    _Idle(
        ("kl_target",),
        lambda run: not run.shape.adaptive_learning_rate,
        "adaptive_learning_rate is off",
    ),
    _Idle(
        ("entropy_schedule",),
        lambda run: run.settings.entropy_coef == 0,
        "entropy_coef is 0",
    ),
)


def _listed(words: Iterable[object]) -> str:
    *first, last = map(str, words)
    return f"{', '.join(first)} and {last}" if first else last
