"""What a record says which run it is of, against the run that is asked for."""

from __future__ import annotations

import dataclasses
import json
import reprlib
from collections.abc import Mapping
from typing import Any

from robustpo.base.files import one_line
from robustpo.config.run import RunConfig
from robustpo.errors import ConfigError


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return data as it comes back from JSON."""
    return json.loads(json.dumps(data))


def with_defaults(identity: Any) -> Any:
    """Fill in settings that a record does not name: they did not exist then, and act by default."""
    from robustpo.config.settings import Settings
    from robustpo.config.shape import Shape

    if not isinstance(identity, dict):
        return identity
    filled: dict[str, Any] = {"preset": "paper", **identity}
    for part, defaults in (("settings", Settings()), ("shape", Shape())):
        if isinstance(filled.get(part), dict):
            filled[part] = plain(dataclasses.asdict(defaults)) | filled[part]
    return filled


def difference(old: Any, new: Any) -> str:
    """Name the first settings in which two identities differ."""
    flat_old, flat_new = _flatten(old), _flatten(new)
    names = [n for n in flat_old | flat_new if flat_old.get(n) != flat_new.get(n)]
    shown = [
        f"{one_line(n, 60)} {reprlib.repr(flat_old.get(n))} there, {flat_new.get(n)!r} asked"
        for n in names[:3]
    ]
    return "; ".join(shown) + ("; …" if len(names) > 3 else "")


def _flatten(data: Any, prefix: str = "") -> dict[str, Any]:
    # An identity has two levels; what a stranger's file nests deeper is shown as it is.
    if not isinstance(data, dict) or prefix.count(".") >= 2:
        return {prefix.rstrip("."): data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flatten(value, f"{prefix}{key}.")
    return flat


def config_from_identity(identity: Mapping[str, Any]) -> RunConfig:
    """Rebuild a configuration from `RunConfig.identity()`.

    Raises:
        ConfigError: if a value is not valid.
    """
    from robustpo.config.settings import Settings
    from robustpo.config.shape import Shape

    try:
        fields = dict(identity)
        fields["settings"] = Settings(**fields["settings"])
        fields["shape"] = Shape(**fields["shape"])
        return RunConfig(**fields)
    except ConfigError:
        raise
    except (TypeError, KeyError, ValueError) as error:
        raise ConfigError(f"not a configuration of robustpo: {one_line(error)}") from error
