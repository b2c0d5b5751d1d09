"""Has the annotations of `robustpo.algorithm` checked wherever a test of this process calls it."""

import dataclasses
from typing import Any

import jax
from jaxtyping import install_import_hook

register = jax.tree_util.register_dataclass


def check_annotations():
    """Check what is imported from now on."""
    jax.tree_util.register_dataclass = _register_own
    install_import_hook("robustpo.algorithm", "beartype.beartype")


def _register_own(cls: Any, *arguments, **options):
    """Register a class of the package so that JAX rebuilds it without its constructor.

    The program's own calls of the constructor are checked; what JAX puts in there between two of
    them (placeholders, shapes, rows of many agents) need not be what the annotations say.
    """
    if arguments or options or not cls.__module__.startswith("robustpo."):
        return register(cls, *arguments, **options)
    names = [field.name for field in dataclasses.fields(cls)]

    def rebuild(_, children):
        made = object.__new__(cls)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(made, name, child)
        return made

    def children(it):
        return [getattr(it, name) for name in names], None

    def named_children(it):
        return [(jax.tree_util.GetAttrKey(name), getattr(it, name)) for name in names], None

    jax.tree_util.register_pytree_with_keys(cls, named_children, rebuild, children)
    return cls
