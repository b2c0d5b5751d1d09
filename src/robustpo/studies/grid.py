"""Grids: methods × swept settings × seeds."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args, get_origin, get_type_hints

from robustpo.base.registry import allow_named, is_extension
from robustpo.base.validation import plain, require, require_choice
from robustpo.config.definitions import advice, definition, find_method, is_allowed, require_allowed
from robustpo.config.methods import METHODS
from robustpo.config.run import RunConfig, build_config
from robustpo.config.settings import SETTING_TYPES
from robustpo.config.shape import Shape
from robustpo.errors import ConfigError


def make_grid(
    task: str,
    methods: Sequence[str],
    seeds: Iterable[int],
    **options: Any,
) -> list[RunConfig]:
    """Return one configuration per method and seed, without repetitions.

    An option that is shared goes to the methods that remain what they are with it; what a method
    has as its own is taken as it is written (`robustpo.studies.request` refuses contradictions).

    Args:
        task: id of the task.
        methods: names of methods, each with options of its own if wanted: `rpo:noise=laplace`.
        seeds: seeds of every variant.
        **options: settings, shape and length shared by all, as in `make_config`.

    Raises:
        ConfigError: if a name is unknown or a value not valid.
    """
    return list(grid_by_variant(task, methods, seeds, **options).values())


def grid_by_variant(
    task: str, methods: Sequence[str], seeds: Iterable[int], **options: Any
) -> dict[tuple[str, int], RunConfig]:
    """Return what `make_grid` does, by variant and seed."""
    if not methods:
        raise ConfigError(f"methods={methods!r} is not valid; name one of {', '.join(METHODS)}")
    configs: dict[tuple[str, int], RunConfig] = {}
    seeds = list(seeds)
    for text in methods if seeds else ():
        method, own = parse_method(text)
        taken = {k: v for k, v in options.items() if takes(text, k, v)}
        first = build_config(task, method, **(taken | own), seed=seeds[0])
        # A name is dear to make, and does not depend on the seed.
        variant = first.variant
        for seed in seeds:
            settings = replace(first.settings, seed=seed)
            configs.setdefault((variant, seed), replace(first, settings=settings))
    return configs


def takes(text: str, option: str, value: Any) -> bool:
    """Whether an option shared by several methods applies to this one, and it is not its own."""
    method, own = parse_method(text)
    # An unknown method is left for the configuration to refuse.
    return option not in own and (method not in METHODS or is_allowed(method, option, value))


def why_not(text: str, option: str) -> str:
    """Say why a method does not take an option that is shared by several."""
    method, own = parse_method(text)
    if option in own:
        return f"{text} sets its own"
    return f"{method} has {definition(method, option)} by definition"


def require_taken(methods: Sequence[str], option: str, value: Any) -> None:
    """Raise `ConfigError` if an option shared by several methods applies to none of them."""
    if methods and not any(takes(text, option, value) for text in methods):
        method, own = parse_method(methods[0])
        if len(methods) == 1 and option not in own:
            require_allowed(method, option, value)
        reasons = ", ".join(dict.fromkeys(why_not(text, option) for text in methods))
        hint = f"; {advice(method, option, value)}" if option not in own else ""
        raise ConfigError(f"{option}={value!r} applies to none of the methods: {reasons}{hint}")


def sweep_methods(methods: Sequence[str], sweeps: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """Return every method at every combination of swept values, as methods with own options.

    A sweep applies to the methods that remain what they are at its values: one over alpha to those
    that perturb, and PPO stays PPO beside it. What a method sets for itself is not swept.

    Args:
        methods: names of methods, each with options of its own if wanted.
        sweeps: values by setting, such as `{"alpha": (0.1, 0.5)}`; empty ones are no sweeps.

    Raises:
        ConfigError: if a value is swept twice, or applies to none of the methods.
    """
    for name, values in sweeps.items():
        require(len(set(values)) == len(values), f"{name}s", values, "no value twice")
        for value in values:
            require_taken(methods, name, value)
    found = []
    for text in methods:
        swept = {name: _swept(text, name, values) for name, values in sweeps.items()}
        used = {name: values for name, values in swept.items() if values}
        own = bool(parse_method(text)[1])
        for values in itertools.product(*used.values()):
            chosen = [f"{name}={value}" for name, value in zip(used, values, strict=True)]
            found.append(text + (("," if own else ":") if chosen else "") + ",".join(chosen))
    return tuple(found)


def _swept(text: str, option: str, values: Sequence[float]) -> list[float]:
    """Return the values of a sweep that a method is trained at; without any it is not swept."""
    # Of what a method fixes, a value that it has anyway is no variant of it.
    method, _ = parse_method(text)
    if method in METHODS and option in find_method(method).fixed:
        return []
    return [value for value in values if takes(text, option, value)]


def expand_methods(methods: Sequence[str], options: Mapping[str, Any]) -> tuple[str, ...]:
    """Write out what extensions among methods set: `my_lab.methods:mine:alpha=0.2,noise=laplace`.

    Nothing that is recorded of them has to be imported to be read again.

    Args:
        methods: names of methods, each with options of its own if wanted.
        options: what they share.

    Raises:
        ConfigError: if a method may not be imported, or an option of its own contradicts it.
    """
    return tuple(_expand(text, options) for text in methods)


def _expand(text: str, shared: Mapping[str, Any]) -> str:
    name, own = parse_method(text)
    if not is_extension(name):
        return text
    method = METHODS[name]
    for option, value in own.items():
        require_allowed(name, option, value)
    # What code that may be imported names may be imported too.
    allow_named([], method.overrides)
    set_ = {k: values[0] for k, values in method.fixed.items()} | method.overrides
    kept = {k: v for k, v in set_.items() if k not in shared or not is_allowed(name, k, shared[k])}
    return write_method(name, kept | own)


# An extension's name has a colon of its own, after which no `=` follows as in `rpo:noise=laplace`.
_METHOD = re.compile(r"([\w.]+:\w+(?=:|$)|[^:]*)(?::(.*))?", re.DOTALL)


def parse_method(text: str) -> tuple[str, dict[str, Any]]:
    """Read a method's name with options of its own: `rpo:noise=laplace,alpha=0.1`.

    Options are those of `Settings` and `Shape`, with dashes or underscores; switches are `on` or
    `off`, sizes `64x64`, lists of names or numbers `a/b`.

    Raises:
        ConfigError: if an option is unknown or its value cannot be read.
    """
    require(isinstance(text, str), "method", text, "a name such as rpo")
    found = _METHOD.fullmatch(text)
    name, rest = found.groups() if found else (text, None)
    if name.partition(":")[0] in METHODS.builtins:
        name, _, rest = text.partition(":")
        rest = rest if ":" in text else None
    options: dict[str, Any] = {}
    for part in rest.split(",") if rest is not None else ():
        key, equals, value = part.partition("=")
        key = key.strip().replace("-", "_")
        require(bool(equals), "method", text, "options such as rpo:noise=laplace,alpha=0.1")
        require_choice("option", key, tuple(_TYPES))
        require(key not in options, "method", text, f"{key} once")
        try:
            options[key] = _read_value(_TYPES[key], value.strip())
        except (ValueError, KeyError) as error:
            raise ConfigError(
                f"{key}={value.strip()!r} in method {text!r} is not valid; `robustpo train --help` "
                "shows what it takes"
            ) from error
    return METHODS.full_name(name), options


def write_method(name: str, options: Mapping[str, Any]) -> str:
    """Write a method with options of its own as `parse_method` reads it."""
    words = [f"{key}={_write_value(value)}" for key, value in options.items()]
    return name + ":" * bool(words) + ",".join(words)


def _write_value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ("x" if all(type(x) is int for x in value) else "/").join(map(str, value))
    return "none" if value is None else str(value)


_TYPES = SETTING_TYPES | get_type_hints(Shape)
del _TYPES["seed"]


def _read_value(hint: Any, text: str) -> Any:
    if hint is bool:
        return {"on": True, "off": False}[text]
    if hint == tuple[int, ...]:
        return tuple(map(int, text.split("x")))
    if get_origin(hint) is tuple:
        return tuple(map(get_args(hint)[0], text.split("/"))) if text else ()
    if hint is int:
        return int(text)
    if hint is float or float in get_args(hint):
        return None if text == "none" and hint is not float else float(text)
    return text


# No seed is longer, and Python refuses to read numbers of thousands of digits.
_SEED = r"\d{1,18}"


def parse_seeds(given: Any) -> tuple[int, ...]:
    """Read seeds: `3`, `0,4,7`, or the half-open range `0:10`; lists, ranges and arrays of numbers.

    Raises:
        ConfigError: if it is none of these, is empty, or names a seed twice or one that is no whole
            number.
    """
    text = plain(given)
    if isinstance(text, int):
        seeds = [text]
    elif not isinstance(text, str):
        seeds = list(plain(list(text))) if isinstance(text, Iterable) else []
    elif match := re.fullmatch(rf"\s*({_SEED})\s*:\s*({_SEED})\s*", text):
        first, last = int(match[1]), int(match[2])
        require(last - first <= 10_000, "seeds", text, "at most 10000 seeds")
        seeds = list(range(first, last))
    elif re.fullmatch(rf"\s*{_SEED}(\s*,\s*{_SEED})*\s*", text):
        seeds = [int(part) for part in text.split(",")]
    else:
        seeds = []
    whole = all(type(seed) is int for seed in seeds)
    require(
        bool(seeds) and whole and len(set(seeds)) == len(seeds),
        "seeds",
        given,
        "a number such as 3, a list such as 0,4,7 or a half-open range such as 0:10, none twice",
    )
    return tuple(seeds)
