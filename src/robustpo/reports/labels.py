"""What variants are called where they stand side by side, and what all of them share."""

from __future__ import annotations

from collections.abc import Sequence

# Said in other words by whoever says what is shared.
_STATED = ("steps-", "time-limit-")


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
