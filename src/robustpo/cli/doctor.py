"""`robustpo doctor`: what works on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Doctor:
    """Check what works on this machine and say what to do about what does not."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object."""

    def __call__(self) -> int:
        """Check and print; the exit code is 1 if anything fails."""
        from robustpo.doctor.doctor import diagnose

        return diagnose(as_json=self.json)
