"""`robustpo config`: the file that repeats a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from robustpo.base.files import user_path
from robustpo.runs.extension import recorded_configs
from robustpo.studies.commands import config_toml


@dataclass(frozen=True)
class Config:
    """Print the file that repeats a run: robustpo train --config FILE."""

    run: Annotated[Path, Positional, arg(metavar="RUN")]
    """Directory of a run, or of a variant with all its seeds."""

    def __call__(self) -> int:
        """Print it."""
        print(config_toml(recorded_configs(user_path(self.run))))
        return 0
