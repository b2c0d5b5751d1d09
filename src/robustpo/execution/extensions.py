"""Extensions of runs: importing what may be imported, and noticing that a source has changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line, parse_json, read_bytes
from robustpo.base.registry import source_digest
from robustpo.config.run import RunConfig
from robustpo.errors import ConfigError
from robustpo.runs.surroundings import CONFIG_FILE, MAX_CONFIG_BYTES


def require_usable(directories: Mapping[RunConfig, Path]) -> list[str]:
    """Import the extensions that runs name; say of which the source has changed since.

    Args:
        directories: where each run is, or will be, recorded.

    Raises:
        ConfigError: if one may not be imported, or cannot do what is asked of it.
    """
    checked: set[Any] = set()
    notes: dict[str, None] = {}
    for config, directory in directories.items():
        if not config.extensions:
            continue
        # Runs of a grid differ in their seeds alone.
        if (names := (config.shape, config.extensions)) not in checked:
            config.require_usable()
            checked.add(names)
        for name, digest in _recorded(directory).items():
            if name in config.extensions and digest != source_digest(name):
                notes[
                    f"the source of {name} is not what {one_line(config.variant)} was begun with; "
                    "it is taken for the same: choose another --out, or --fresh, to train anew"
                ] = None
    return list(notes)


def _recorded(directory: Path) -> dict[str, Any]:
    """Return the digests of the sources that a run was begun with."""
    try:
        found = parse_json(read_bytes(directory / CONFIG_FILE, MAX_CONFIG_BYTES))["extensions"]
    except (ConfigError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
