"""Extensions of runs: importing what may be imported, and noticing that a source has changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustpo.base.files import one_line
from robustpo.base.registry import is_extension, source_digest
from robustpo.config.run import RunConfig
from robustpo.errors import ConfigError
from robustpo.runs.run_files import as_dict, read_object
from robustpo.runs.surroundings import CONFIG_FILE


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
            if is_extension(config.shape.noise):
                _require_drawable(config.shape.noise)
            checked.add(names)
        for name, digest in _recorded(directory):
            if name in config.extensions and digest != source_digest(name):
                notes[
                    f"the source of {name} is not what {one_line(config.variant)} was "
                    "trained with; it is taken for the same: choose another --out, or --fresh, to "
                    "train anew"
                ] = None
    return list(notes)


def _require_drawable(noise: str) -> None:
    """Raise `ConfigError` unless noise of one's own can be drawn, before anything is compiled."""
    import jax

    from robustpo.algorithm.perturbation import draw_noise

    try:
        jax.eval_shape(lambda key: draw_noise(noise, (2, 3), key=key), jax.random.key(0))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"noise {noise!r} cannot be drawn: {type(error).__name__}: {one_line(error)}; its "
            "function takes (size, *, key), docs/extending.md shows one"
        ) from error


def _recorded(directory: Path) -> list[tuple[str, Any]]:
    """Return the digests of the sources that a run was begun and gone on with."""
    record = as_dict(read_object(directory / CONFIG_FILE))
    resumed = record.get("resumed")
    times = [record, *map(as_dict, resumed if isinstance(resumed, list) else ())]
    return [pair for time in times for pair in as_dict(time.get("extensions")).items()]
