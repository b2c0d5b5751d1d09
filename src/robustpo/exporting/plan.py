"""What a policy computes, as numbers in the order in which they are used.

Every format is written from this; it is the deterministic policy of `Policy.__call__`, float32 all
through but for an origin, which is subtracted in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robustpo.errors import ConfigError
from robustpo.policy.families import BETA_MARGIN, LAYER_NORM_EPSILON, MLP
from robustpo.policy.layout import Layout
from robustpo.policy.policy import EPSILON, OBSERVATION_CLIP, Policy

# Whose modes every format can compute.
DISTRIBUTIONS = ("gaussian", "laplace", "gumbel", "tanh-gaussian", "beta")

Array = np.ndarray


@dataclass(frozen=True)
class Layer:
    """One affine map and what follows it.

    Attributes:
        weight: `[I, J]`.
        bias: `[J]`.
        norm: scale and shift `[J]` of a layer normalisation, or None.
        activation: its name; None after the last layer.
    """

    weight: Array
    bias: Array
    norm: tuple[Array, Array] | None
    activation: str | None


@dataclass(frozen=True)
class Plan:
    """A policy, step by step.

    Attributes:
        observation_size: numbers `O` of an observation.
        layout: how its parts lie in them (`robustpo.policy.layout`), or None.
        origin: what is subtracted first, in float64 `[O]`, or None.
        normalizer: mean and standard deviation `[O]`, or None.
        layers: of the actor.
        distribution: whose mode is taken; it is one of `DISTRIBUTIONS`.
        units: centre and half of the actions' range `[A]`, or None.
        low, high: bounds of the action `[A]`, which may be infinite.
        metadata: of the policy.
    """

    observation_size: int
    layout: Layout | None
    origin: Array | None
    normalizer: tuple[Array, Array] | None
    layers: tuple[Layer, ...]
    distribution: str
    units: tuple[Array, Array] | None
    low: Array
    high: Array
    metadata: dict[str, Any]

    clip = OBSERVATION_CLIP
    norm_epsilon = LAYER_NORM_EPSILON
    beta_margin = BETA_MARGIN

    @property
    def action_size(self) -> int:
        """Numbers `A` of an action."""
        return len(self.low)

    @property
    def stretched(self) -> bool:
        """Whether the mode is a share of the way between the bounds."""
        return self.distribution in ("tanh-gaussian", "beta")


def plan_of(policy: Policy) -> Plan:
    """Return what a policy computes.

    Raises:
        ConfigError: if its distribution or its network is somebody's own, whose code no format
            holds.
    """
    family = policy.metadata["distribution"]
    if family not in DISTRIBUTIONS:
        raise ConfigError(
            f"distribution={family!r} is an extension, whose code no file holds; exported are "
            f"policies of {', '.join(DISTRIBUTIONS)}"
        )
    if policy.network != MLP:
        raise ConfigError(
            f"network={policy.network!r} is an extension, whose code no file holds; exported are "
            "policies of layers (mlp)"
        )
    tensors = policy.tensors
    normalizer = None
    if "observation.mean" in tensors:
        scale = np.sqrt(tensors["observation.variance"] + np.float32(EPSILON))
        normalizer = tensors["observation.mean"], scale.astype(np.float32)
    origin = policy.origin
    return Plan(
        observation_size=policy.observation_size,
        layout=policy.layout,
        origin=None if origin is None else np.asarray(origin, np.float64),
        normalizer=normalizer,
        layers=_layers(policy),
        distribution=family,
        units=policy.action_units,
        low=tensors["action.low"],
        high=tensors["action.high"],
        metadata=policy.metadata,
    )


def _layers(policy: Policy) -> tuple[Layer, ...]:
    tensors, found = policy.tensors, []
    while (weight := tensors.get(f"actor.{len(found)}.weight")) is not None:
        name = f"actor.{len(found)}"
        norm = None
        if f"{name}.scale" in tensors:
            norm = tensors[f"{name}.scale"], tensors[f"{name}.shift"]
        found.append(Layer(weight, tensors[f"{name}.bias"], norm, policy.metadata["activation"]))
    last = found[-1]
    return (*found[:-1], Layer(last.weight, last.bias, None, None))
