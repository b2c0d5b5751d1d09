"""Words of a variant's name, which is the name of a directory too, and shorter ones to show."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

# What file systems take at most, and what is kept of a longer name: enough to tell runs apart.
MAX_NAME_BYTES, CUT_NAME_BYTES = 255, 150
# Slugs that are said in other words by whoever says what is shared.
_STATED = ("steps-", "time-limit-")


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


def variant_labels(variants: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return short names of variants, and the slugs that are left out because all have them.

    `ppo_steps-300k_gamma-0.9` and `rpo_gamma-0.9_steps-300k` become `ppo` and `rpo`, and
    `gamma-0.9` is what they share; steps and time limit are shared too but not among the slugs,
    since they are always said.
    """
    slugs = [name.split("_")[1:] for name in variants]
    shared = [slug for slug in slugs[0] if all(slug in others for others in slugs)]
    labels = {
        name: "_".join([name.split("_")[0], *(slug for slug in own if slug not in shared)])
        for name, own in zip(variants, slugs, strict=True)
    }
    return labels, [slug for slug in shared if not slug.startswith(_STATED)]


def reference_variant(variants: Sequence[str]) -> str:
    """Return the variant others are compared with: the first PPO, else the first of all.

    Variants are names of directories, so PPO may carry a slug: `ppo_steps-300k`.
    """
    return next((name for name in variants if name.split("_")[0] == "ppo"), variants[0])


def short_task(task: str) -> str:
    """Leave out of a task's id what a reader knows: `dm_control/walker-walk-v0` → `walker-walk`."""
    return re.sub(r"-v0$", "", task.removeprefix("dm_control/"))
