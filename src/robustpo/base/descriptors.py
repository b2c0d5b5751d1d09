"""Open files that what an environment starts must not inherit: locks and pipes.

A lock lasts, and a pipe stays open, until the last process that holds it has ended. A process that
an environment starts may outlive the training by far.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

_kept: set[int] = set()


def keep_from_children(descriptors: Iterable[int]) -> None:
    """See to it that programs and forks that this process starts do not have these files."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        _kept.add(descriptor)


def forget(descriptor: int) -> None:
    """Take in that a file is about to be closed."""
    _kept.discard(descriptor)


def _blind() -> None:
    """Let the numbers of the kept files lead nowhere: a fork may still write to them."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in _kept:
        os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_blind)
