"""What the tasks of the catalog need besides the core installation, and whether it is there."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from robustpo.environments.entry import Entry
from robustpo.errors import ConfigError

# Modules that an extra brings.
MODULES = {
    "dm-control": ("dm_control",),
    "envpool": ("envpool",),
    "mjx": ("brax", "mujoco_playground"),
    "mujoco": ("mujoco",),
    "onnx": ("onnx",),
    "pybullet": ("pybullet", "pybullet_envs_gymnasium"),
    "ray": ("ray",),
    "video": ("imageio_ffmpeg",),
}
# Distributions of a simulator or an extra whose versions stand beside the runs of its tasks.
PACKAGES = {
    "envpool": ("envpool",),
    "mujoco": ("mujoco",),
    "gymnasium": ("gymnasium",),
    "mjx": ("playground", "brax", "mujoco-mjx"),
    "pybullet": ("pybullet",),
}
# First Python that a package of the extra has no wheel for.
ENDS_BEFORE = {"pybullet": (3, 12), "dm-control": (3, 13)}


def missing_extra(entry: Entry) -> str | None:
    """Return the extra that a task needs and that is not installed, or None."""
    return None if entry.extra is None or is_installed(entry.extra) else entry.extra


def is_installed(extra: str) -> bool:
    """Return whether the modules of an extra can be found; none is imported."""
    return all(find_spec(module) is not None for module in MODULES[extra])


def require_extra(extra: str, purpose: str) -> None:
    """Raise `ConfigError` unless an extra is installed.

    Args:
        extra: name of the extra.
        purpose: what needs it, such as `task 'AntBulletEnv-v0'`.

    Raises:
        ConfigError: with the one line that installs it, or why there is none for this Python.
    """
    if is_installed(extra):
        return
    absent = next(module for module in MODULES[extra] if find_spec(module) is None)
    last = ENDS_BEFORE.get(extra)
    if last and sys.version_info >= last:
        raise ConfigError(
            f"{purpose} needs {absent}, which has no wheel for Python "
            f"{sys.version_info[0]}.{sys.version_info[1]}; use Python {last[0]}.{last[1] - 1}, "
            f"then: pip install 'robustpo[{extra}]'"
        )
    raise ConfigError(
        f"{purpose} needs {absent}, which is not installed; pip install 'robustpo[{extra}]'"
    )
