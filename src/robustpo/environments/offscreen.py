"""How MuJoCo and pygame draw where there is no screen.

MuJoCo reads its choice when it is imported, so whoever imports it here chooses first.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys

from robustpo.errors import ConfigError

# Renderers without a screen, the library each loads, and the Debian packages that bring it.
RENDERERS = {"egl": ("EGL", "libegl1 libgl1"), "osmesa": ("OSMesa", "libosmesa6")}

_egl: ctypes.CDLL | None = None


def choose_renderer() -> None:
    """Choose what draws, unless the user has, or there is a screen."""
    if os.environ.get("DISPLAY") or not sys.platform.startswith("linux"):
        return
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    if "MUJOCO_GL" in os.environ:
        return
    for name, (library, _) in RENDERERS.items():
        if ctypes.util.find_library(library):
            os.environ["MUJOCO_GL"] = name
            return


def require_renderer(purpose: str) -> None:
    """Raise `ConfigError` if nothing here can draw for MuJoCo.

    Args:
        purpose: what is to be drawn, such as `task 'HalfCheetah-v4'`.

    Raises:
        ConfigError: with what to install.
    """
    choose_renderer()
    somewhere = "MUJOCO_GL" in os.environ or os.environ.get("DISPLAY")
    if somewhere or not sys.platform.startswith("linux"):
        return
    packages = " or ".join(f"apt-get install {packages}" for _, packages in RENDERERS.values())
    raise ConfigError(
        f"{purpose} cannot be drawn: there is no screen, and no library that draws without one; "
        f"on Debian or Ubuntu: {packages}"
    )


def load_egl(purpose: str) -> None:
    """Load the system's EGL where EnvPool's MuJoCo finds it.

    Args:
        purpose: what is to be drawn, such as `task 'Pusher-v4'`.

    Raises:
        ConfigError: if there is none, or EnvPool was imported before it.
    """
    global _egl
    if _egl is None and "envpool" in sys.modules:
        # Its own copies of these libraries are linked by now, and drawing would end the process.
        raise ConfigError(
            f"{purpose} is drawn by EnvPool, which was imported before the graphics library; "
            "record it in a process of its own: robustpo record"
        )
    try:
        _egl = _egl or ctypes.CDLL("libEGL.so.1", ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ConfigError(
            f"{purpose} cannot be drawn: libEGL.so.1 is missing; on Debian or Ubuntu: "
            f"apt-get install {RENDERERS['egl'][1]}"
        ) from error
