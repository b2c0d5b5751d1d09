"""What can be extended: objects found by name, built in, installed, or in a user's own module.

A built-in has a short name. An extension is called `module:name`, or by the name of an installed
entry point of the group `robustpo.<kind>`, which stands for the `module:name` it leads to. A module
is imported only if a person has named it (on the command line or in Python, see `allow`) or it is
installed as an entry point: what only stands in a file, whoever wrote that, is never imported.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any, Generic, TypeVar

from robustpo.base.files import one_line
from robustpo.base.validation import require, require_choice
from robustpo.errors import ConfigError

T = TypeVar("T")
U = TypeVar("U")

MAX_NAME = 200
_EXTENSION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)
_named: dict[str, None] = {}


def is_extension(name: Any) -> bool:
    """Whether a name is of the form `module:name`."""
    is_text = isinstance(name, str) and len(name) <= MAX_NAME
    return is_text and _EXTENSION.fullmatch(name) is not None


def allow(names: Iterable[str]) -> None:
    """Let modules of extensions be imported in this process and in the workers it starts.

    Args:
        names: such as `my_lab.noise:student`; names of no extension are left out.

    Example:
        >>> import robustpo
        >>> robustpo.allow(["my_lab.noise:student"])
    """
    _named.update(dict.fromkeys(filter(is_extension, names)))


def allow_named(names: Iterable[Any], options: Mapping[str, Any]) -> None:
    """Allow what a person names: methods with or without options, and values of options."""
    values = [x for v in options.values() for x in (v if isinstance(v, list | tuple) else (v,))]
    allow(filter(is_extension, [*names, *values]))


def allowed() -> list[str]:
    """Return the extensions that have been named in this process."""
    return list(_named)


class Kind(Mapping[str, T], Generic[T]):
    """The objects of one kind by name; iterating yields the built-in names.

    Args:
        kind: what a setting of the kind is called, and its entry points' group.
        builtins: the built-in objects, or where each is: `module:attribute`.
        of: where the class of the objects is.
    """

    def __init__(self, kind: str, builtins: Mapping[str, T | str], of: str) -> None:
        self.kind = kind
        self._builtins = builtins
        self._of = of

    @property
    def builtins(self) -> tuple[str, ...]:
        """Names of what is built in."""
        return tuple(self._builtins)

    def __iter__(self) -> Iterator[str]:
        return iter(self._builtins)

    def __len__(self) -> int:
        return len(self._builtins)

    def __contains__(self, name: object) -> bool:
        return name in self._builtins or is_extension(name)

    def __getitem__(self, name: str) -> T:
        """Return an object; import its module if it may be.

        Raises:
            KeyError: if there is no such built-in.
            ConfigError: if the module may not be imported or has no such object.
        """
        if not is_extension(name):
            found: Any = self._builtins[name]
            return load_attribute(found) if isinstance(found, str) else found
        if name not in _named and name not in self._installed().values():
            raise ConfigError(
                f"{self.kind} {name!r} is named in a file only, and what a file names is not "
                f"imported; give it again: --allow {name} (in Python allow=[{name!r}])"
            )
        found = _import(self.kind, name)
        if not isinstance(found, load_attribute(self._of)):
            raise ConfigError(
                f"{name!r} is {one_line(repr(found), 80)}, and a {self.kind} has to be a "
                f"robustpo.{self._of.partition(':')[2]}; docs/extending.md shows one"
            )
        return found

    def full_name(self, name: Any) -> Any:
        """Return what an entry point's name stands for, `module:name`; other names as they are."""
        if not isinstance(name, str) or name in self:
            return name
        return self._installed().get(name, name)

    def require(self, option: str, name: Any, choices: tuple[str, ...] | None = None) -> None:
        """Raise `ConfigError` unless a name may be one of the kind; extensions are not imported.

        Args:
            option: what takes it.
            name: the name.
            choices: what may be taken of what is built in; None for all.
        """
        known = self.builtins if choices is None else choices
        if not is_extension(name) and name not in known:
            known = (*known, *self._installed())
            module, dot, attribute = str(name).rpartition(".")
            own = f"module:name of a {self.kind} of your own"
            require(not dot, option, name, f"{own}; did you mean {module}:{attribute}?")
            require(known != (), option, name, own)
            require_choice(option, name, known)

    def _installed(self) -> dict[str, str]:
        """Return the installed entry points of the kind, as `module:name`."""
        found = metadata.entry_points(group=f"robustpo.{self.kind}")
        return {point.name: point.value for point in found if is_extension(point.value)}


class View(Mapping[str, U], Generic[T, U]):
    """What a function makes of the objects of a kind, by the same names."""

    def __init__(self, kind: Kind[T], function: Callable[[T], U]) -> None:
        self._kind, self._function = kind, function

    def __iter__(self) -> Iterator[str]:
        return iter(self._kind)

    def __len__(self) -> int:
        return len(self._kind)

    def __getitem__(self, name: str) -> U:
        return self._function(self._kind[name])


def load_attribute(place: str) -> Any:
    """Import what stands at `module:attribute`."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _import(kind: str, name: str) -> Any:
    """Import an extension; a fault of its module becomes one line."""
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        return load_attribute(name)
    except (KeyboardInterrupt, ConfigError):
        raise
    except BaseException as error:
        raise ConfigError(
            f"{kind} {name!r} cannot be imported: {type(error).__name__}: {one_line(error)}; its "
            "module has to lie in the working directory or be installed"
        ) from error


def source_digest(name: str) -> str | None:
    """Return the SHA-256 digest of the source of an extension's module; None if it has none."""
    try:
        module = importlib.import_module(name.partition(":")[0])
        return hashlib.sha256(inspect.getsource(module).encode()).hexdigest()
    except (ImportError, OSError, TypeError):
        return None


NOISES: Kind[Any] = Kind(
    "noise",
    {
        "uniform": "robustpo.algorithm.perturbation:UNIFORM",
        "laplace": "robustpo.algorithm.perturbation:LAPLACE",
        "gumbel": "robustpo.algorithm.perturbation:GUMBEL",
        "gumbel-centered": "robustpo.algorithm.perturbation:GUMBEL_CENTERED",
        "gaussian": "robustpo.algorithm.perturbation:GAUSSIAN",
    },
    of="robustpo.algorithm.perturbation:NoiseFamily",
)
ESTIMATORS: Kind[Any] = Kind(
    "estimator",
    {
        "sampled": "robustpo.algorithm.estimators:SAMPLED",
        "sampled-k": "robustpo.algorithm.estimators:SAMPLED_K",
        "marginal": "robustpo.algorithm.estimators:MARGINAL",
        "expected": "robustpo.algorithm.estimators:EXPECTED",
    },
    of="robustpo.algorithm.estimators:Estimator",
)
LOSSES: Kind[Any] = Kind(
    "loss",
    {"drac": "robustpo.algorithm.augmentation:DRAC"},
    of="robustpo.algorithm.losses:LossTerm",
)
