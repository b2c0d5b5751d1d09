"""`robustpo export`: a policy for where there is no Python, or no robustpo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import arg

import robustpo


@dataclass(frozen=True)
class Export:
    """Write a trained policy as ONNX, as a C header or as StableHLO."""

    policy: Annotated[str, tyro.conf.Positional, arg(metavar="RUN")]
    """Run directory or policy file."""
    to: Annotated[Literal["onnx", "c", "stablehlo"], arg(metavar="{onnx,c,stablehlo}")] = "onnx"
    """The format: ONNX (extra onnx), a C99 header without allocation, or StableHLO."""
    out: Annotated[
        Path | None, arg(metavar="PATH", help_behavior_hint="(default: beside the policy)")
    ] = None
    """File, or directory to write it in."""
    best: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Take the best policy of the evaluations made during training."""

    def __call__(self) -> int:
        """Write the file and name it."""
        print(robustpo.export(self.policy, self.to, out=self.out, best=self.best))
        return 0
