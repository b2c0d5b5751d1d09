"""Writing a policy in another format, checked before it is handed over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

from robustpo.base.files import user_path
from robustpo.base.validation import require_choice
from robustpo.base.writing import write_atomically
from robustpo.errors import ConfigError
from robustpo.exporting.plan import plan_of
from robustpo.policy.policy import Policy

Format = Literal["onnx", "c", "stablehlo"]
SUFFIXES = {"onnx": ".onnx", "c": ".h", "stablehlo": ".stablehlo"}


def write_policy(policy: Policy, to: str, out: str | os.PathLike[str]) -> Path:
    """Write a policy's deterministic actions in another format, and return the file.

    Args:
        policy: what is exported.
        to: `onnx`, `c` or `stablehlo`.
        out: the file, or a directory to write `policy.onnx`, `policy.h` or `policy.stablehlo` in.

    Raises:
        ConfigError: if the format cannot hold the policy, needs an extra that is not installed, or
            there is no such directory.
        StorageError: if the file could not be written.
    """
    require_choice("to", to, get_args(Format))
    place = user_path(out)
    path = place / f"policy{SUFFIXES[to]}" if os.path.isdir(place) else place
    if not os.path.isdir(path.parent):
        raise ConfigError(f"out={str(path)!r}: there is no directory {str(path.parent)!r}")
    plan = plan_of(policy)
    if to == "onnx":
        from robustpo.exporting.onnx import write_onnx

        content = write_onnx(plan, path)
    elif to == "c":
        from robustpo.exporting.c import write_c

        content = write_c(plan, path.stem).encode("ascii")
    else:
        from robustpo.exporting.stablehlo import write_stablehlo

        content = write_stablehlo(plan)
    write_atomically(path, content)
    return path
