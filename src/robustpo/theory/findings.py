"""Everything that a check of the theory found, as data."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from robustpo.theory.bias import Bias
from robustpo.theory.directions import Profile
from robustpo.theory.flatness import Comparison
from robustpo.theory.penalty import Penalty
from robustpo.theory.sharpness import Sharpness
from robustpo.theory.smoothing import Smoothing


@dataclass(frozen=True)
class Effort:
    """How much is drawn.

    Attributes:
        points: of training at which agents are looked at.
        draws: of the noise per bias, each of a whole rollout.
        pairs: antithetic, per smoothed loss.
        probes: of Hutchinson's estimator.
        max_exact: most parameters of which the trace is also computed exactly, which takes one
            product with the Hessian for each.
        iterations: of Lanczos' method.
        directions: random, per policy.
    """

    points: int = 8
    draws: int = 512
    pairs: int = 128
    probes: int = 64
    max_exact: int = 8_000
    iterations: int = 30
    directions: int = 5


@dataclass(frozen=True)
class Setup:
    """What was asked for.

    Attributes:
        task: id of the task.
        seeds: of PPO and of RPO.
        steps: of every agent, floored to whole iterations.
        alpha: magnitude of the noise: of RPO's training and of the check of the bias.
        init_policy: what training started from; None for fresh policies.
        effort: how much was drawn.
    """

    task: str
    seeds: tuple[int, ...]
    steps: int
    alpha: float
    init_policy: str | None
    effort: Effort


@dataclass(frozen=True)
class Findings:
    """The numbers.

    Attributes:
        setup: what was asked for.
        returns: final training return by method and seed.
        failures: agents that failed.
        biases: by policy and objective.
        penalties: by family, alpha and scale.
        smoothings: by policy.
        sharpness: by agent and point.
        comparisons: of sharpness at the end, by measure.
        verdict: whether RPO's solutions are flatter.
        profiles: of the losses along random directions at the end, by agent.
        provenance: versions and machine.
    """

    setup: Setup
    returns: dict[str, dict[str, float]]
    failures: tuple[str, ...]
    biases: tuple[Bias, ...]
    penalties: tuple[Penalty, ...]
    smoothings: tuple[Smoothing, ...]
    sharpness: tuple[Sharpness, ...]
    comparisons: tuple[Comparison, ...]
    verdict: str
    profiles: tuple[Profile, ...]
    provenance: dict[str, Any]

    def to_json(self) -> str:
        """Return all of it as strict JSON; what is not finite is null."""
        return json.dumps(_plain(dataclasses.asdict(self)), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
