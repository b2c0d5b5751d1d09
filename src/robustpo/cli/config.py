"""`robustpo config`: the file that repeats a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from robustpo.base.files import user_path
from robustpo.config.run import RunConfig
from robustpo.errors import ConfigError
from robustpo.runs.identity import config_from_identity, with_defaults
from robustpo.runs.run_state import run_state
from robustpo.studies.commands import config_toml


@dataclass(frozen=True)
class Config:
    """Print the file that repeats a run: robustpo train --config FILE."""

    run: Annotated[Path, Positional, arg(metavar="RUN")]
    """Directory of a run, or of a variant with all its seeds."""

    def __call__(self) -> int:
        """Print it."""
        place = user_path(self.run)
        seeds = sorted(place.glob("seed-*/config.json"))
        print(
            config_toml(
                [recorded_config(path.parent) for path in seeds] or [recorded_config(place)]
            )
        )
        return 0


def recorded_config(directory: Path) -> RunConfig:
    """Return the configuration that a run was trained with.

    Raises:
        ConfigError: if there is no run, or its record cannot be read.
    """
    state = run_state(directory)
    if state.identity is None:
        why = state.reason or "it holds no run"
        raise ConfigError(f"no configuration in {directory}: {why}; give the directory of a run")
    return config_from_identity(with_defaults(state.identity))
