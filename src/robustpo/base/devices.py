"""Which device training is asked to compute on, known without starting JAX."""

from __future__ import annotations

import os


def accelerator() -> str | None:
    """Return the platform that JAX is asked to compute on, if that is not the CPU."""
    asked = os.environ.get("JAX_PLATFORMS", "").split(",")[0].strip().lower()
    return asked if asked not in ("", "cpu") else None
