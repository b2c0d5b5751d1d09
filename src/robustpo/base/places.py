"""Places outside of runs; all of them are conveniences that training does without."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path | None:
    """Return where compiled programs are kept: `$ROBUSTPO_CACHE`, or the user's cache directory.

    None where there is neither, as for a user who is in no list of users.
    """
    if chosen := os.environ.get("ROBUSTPO_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "robustpo" / "xla"
    except RuntimeError:
        return None
