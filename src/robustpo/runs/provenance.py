"""What a run's bits depend on besides its configuration: versions and the instruction set."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from robustpo.base.devices import accelerator
from robustpo.base.files import one_line

# Workers get it themselves, and every program of training is compiled with it anyway.
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"

VERSIONED = ("robustpo", "jax", "jaxlib", "optax", "envpool", "gymnasium", "numpy")
# What is not there decides no bit.
ABSENT = "not installed"


@cache
def versions() -> dict[str, str]:
    """Return the versions that decide a run's bits."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ABSENT
    return found


@cache
def machine() -> dict[str, Any]:
    """Return the instruction set and the kind of machine, without its name."""
    flags: set[str] = set()
    model = platform.processor() or platform.machine()
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features"):
                flags = set(value.split())
            elif key.strip() == "model name":
                model = value.strip()
    known = ("avx512f", "avx2", "fma", "avx", "asimd", "sve")
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": model,
        "instruction_set": [name for name in known if name in flags],
        "cores": os.cpu_count(),
    }


def environment_of_bits() -> dict[str, Any]:
    """Return what a run's bits depend on besides its configuration."""
    return {
        "versions": versions(),
        "instruction_set": machine()["instruction_set"],
        "xla_flags": xla_flags(),
        "accelerator": accelerator(),
    }


def xla_flags() -> list[str]:
    """Return what the user's environment asks of the compiler."""
    return [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag != ONE_THREAD]


def inexact(then: Mapping[str, Any]) -> str | None:
    """Say what has changed since `environment_of_bits` returned this, if anything has."""
    now = environment_of_bits()
    old = then.get("versions")
    old = old if isinstance(old, dict) else {}
    changed = [
        f"{name} {version} (was {old.get(name, 'unknown')})"
        for name, version in now["versions"].items()
        if old.get(name) != version and ABSENT not in (version, old.get(name))
    ]
    if then.get("instruction_set") != now["instruction_set"]:
        changed.append(
            f"instruction set {now['instruction_set']} (was {then.get('instruction_set')})"
        )
    # Checkpoints of earlier versions do not say; hardly anybody sets any.
    flags = then.get("xla_flags", [])
    if flags != now["xla_flags"]:
        changed.append(f"XLA_FLAGS {now['xla_flags']} (was {one_line(flags)})")
    # Those had none.
    if then.get("accelerator") != now["accelerator"]:
        device, was = now["accelerator"] or "cpu", then.get("accelerator") or "cpu"
        changed.append(f"device {device} (was {one_line(was)})")
    return ", ".join(changed) or None
