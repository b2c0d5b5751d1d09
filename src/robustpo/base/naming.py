"""Words of a variant's name, which is the name of a directory too, and shorter ones to show."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

# What file systems take at most, and what is kept of a longer name: enough to tell runs apart.
MAX_NAME_BYTES, CUT_NAME_BYTES = 255, 150
# Slugs of a variant's name that the subtitle states anyway when all variants share them.
_STATED_SLUGS = ("steps-", "time-limit-", "own")


def slug(value: Any) -> str:
    """Write a value with signs that paths may have; different values stay different."""
    if isinstance(value, bool):
        return "on" if value else "off"
    text = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip("-")
    if plain == text:
        return plain
    # Signs that paths should not have are gone; a hash keeps apart what they told apart.
    return f"{plain[-40:]}-{short_hash(text)}"


def fit(name: str) -> str:
    """Return a name that a directory may have: whole, or cut with a hash of the whole.

    Names are counted in bytes, and what fits keeps its name, since runs lie under it.
    """
    content = name.encode("utf-8", "surrogatepass")
    if len(content) <= MAX_NAME_BYTES:
        return name
    kept = content[:CUT_NAME_BYTES].decode("utf-8", "ignore")
    return f"{kept}-{short_hash(name)}"


def short_hash(text: str) -> str:
    """Return eight signs that stand for a text."""
    # The name of a file need not be UTF-8.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def short_count(count: int) -> str:
    """Write a count as people do: 8m, 600k, 1.5m, or the digits."""
    for unit, letter in ((1_000_000, "m"), (1_000, "k")):
        if count >= unit and (count * 1000) % unit == 0:
            return f"{count / unit:.3f}".rstrip("0").rstrip(".") + letter
    return str(count)


def short_labels(variants: Sequence[str]) -> dict[str, str]:
    """Drop what the subtitle states if all variants share it, for titles and legends.

    `ppo_steps-300k` and `rpo_steps-300k` become `ppo` and `rpo`.
    """
    slugs = [set(name.split("_")[1:]) for name in variants]
    shared = {s for s in set.intersection(*slugs) if s.startswith(_STATED_SLUGS)} if slugs else ()
    return {
        name: "_".join(part for part in name.split("_") if part not in shared) for name in variants
    }


def short_task(task: str) -> str:
    """Leave out of a task's id what a reader knows: `dm_control/walker-walk-v0` → `walker-walk`."""
    return re.sub(r"-v0$", "", task.removeprefix("dm_control/"))
