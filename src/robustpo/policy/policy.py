"""Policies that act anywhere: NumPy alone, one file, no code in it.

A policy file is a safetensors file with the networks, the frozen observation moments and the
action bounds, and a digest of it all. Nothing in it can run code.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from robustpo.base.files import parse_tensors, read_bytes, user_path, write_tensors
from robustpo.errors import ConfigError
from robustpo.policy.checks import FORMAT, require_metadata, require_shapes, require_values
from robustpo.policy.families import (
    ACTIVATIONS,
    FAMILIES,
    LAYER_NORM_EPSILON,
    MLP,
    NETWORKS,
)
from robustpo.policy.layout import Layout, flatten, require_layout, text_of

POLICY_FILE = "policy.safetensors"
BEST_POLICY_FILE = "policy_best.safetensors"
MAX_BYTES = 256 * 2**20
MAX_HEADER_BYTES = 2**20
OBSERVATION_CLIP = 10.0
EPSILON = 1e-8

Array = np.ndarray


@dataclass(frozen=True, repr=False)
class Policy:
    """A trained policy with its frozen normaliser.

    Attributes:
        tensors: every array of the file by name, such as `actor.0.weight` `[O, H]`.
        metadata: task, activation, distribution, layer counts and how it was trained.

    Example:
        >>> from robustpo.policy.policy import Policy
        >>> tensors = {
        ...     "actor.0.weight": np.ones((2, 1), np.float32),
        ...     "actor.0.bias": np.zeros(1, np.float32),
        ...     "log_std": np.zeros(1, np.float32),
        ...     "action.low": np.array([-1.0], np.float32),
        ...     "action.high": np.array([1.0], np.float32),
        ... }
        >>> policy = Policy(tensors, {"activation": "tanh", "distribution": "gaussian"})
        >>> policy(np.array([0.25, 0.5])).tolist()
        [0.75]
    """

    tensors: dict[str, Array]
    metadata: dict[str, Any]

    @property
    def observation_size(self) -> int:
        """Length `O` of an observation."""
        if self.network != MLP:
            return self.metadata["observation_size"]
        return self.tensors["actor.0.weight"].shape[0]

    @property
    def network(self) -> str:
        """What its networks are: `mlp`, or the name of somebody's own."""
        return self.metadata.get("network", MLP)

    @property
    def action_size(self) -> int:
        """Length `A` of an action."""
        return self.tensors["action.low"].shape[0]

    def __call__(
        self, obs: Any, *, deterministic: bool = True, rng: np.random.Generator | None = None
    ) -> Float32[Array, "*B A"]:
        """Choose actions inside the bounds.

        Args:
            obs: one raw observation `[O]` or a batch `[B, O]`; where the environment observes a
                dictionary, a tuple or choices, also these as it gives them (see `layout`).
            deterministic: the distribution's mode; otherwise a sample.
            rng: source of the samples; fresh entropy if None.

        Returns:
            Actions `[A]` or `[B, A]`, float32, in the environment's units.

        Raises:
            ValueError: if the observation is of another size, or has other parts.
        """
        outputs = self._mlp("actor", self.normalize(self.vector(obs)))
        source = None if deterministic else rng or np.random.default_rng()
        family = FAMILIES[self.metadata["distribution"]]
        low, high = self.tensors["action.low"], self.tensors["action.high"]
        action = family.act(outputs, self.tensors["log_std"], source).astype(np.float32)
        if not family.clipped:
            action = low + (high - low) * action
        elif (units := self.action_units) is not None:
            action = units[0] + units[1] * action
        return np.clip(action, low, high)

    def predict(
        self,
        obs: Any,
        state: None = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Float32[Array, "*B A"], None]:
        """Choose actions, in the form of Stable-Baselines3's models.

        Args:
            obs: as in a call.
            state: ignored, since the networks keep none.
            episode_start: ignored likewise.
            deterministic: the distribution's mode; otherwise a sample.

        Returns:
            Actions, and None for the state.

        Raises:
            ValueError: as a call.
        """
        del state, episode_start
        return self(obs, deterministic=deterministic), None

    def log_prob(self, obs: Any, action: Any) -> Float64[Array, "*B"]:
        """Return the log-density of actions, before they are clipped to the bounds.

        Args:
            obs: as in a call.
            action: `[A]` or `[B, A]`, in the environment's units. Of one that lies on a bound it is
                the density there, not the probability that it was clipped to it.

        Returns:
            `[]` or `[B]`, float64, per unit of the environment's actions.

        Raises:
            ConfigError: if the distribution is an extension without a log-density in NumPy.
            ValueError: if a shape is not valid.
        """
        family = FAMILIES[self.metadata["distribution"]]
        if family.log_prob is None:
            raise ConfigError(
                f"distribution={self.metadata['distribution']!r} has no log_prob in NumPy; give "
                "its DistributionFamily one"
            )
        outputs = self._mlp("actor", self.normalize(self.vector(obs))).astype(np.float64)
        action = np.asarray(action, np.float64)
        shape = (*outputs.shape[:-1], self.action_size)
        if action.shape != shape:
            raise ValueError(f"action.shape={action.shape} is not valid; expected {shape}")
        low, high = (self.tensors[f"action.{x}"].astype(np.float64) for x in ("low", "high"))
        centre, unit = (0.0, 1.0) if family.clipped else (low, high - low)
        if family.clipped and (units := self.action_units) is not None:
            centre, unit = units
        scale = self.tensors["log_std"].astype(np.float64)
        own = family.log_prob(outputs, scale, (action - centre) / unit)
        return (own - np.log(unit)).sum(-1)

    def value(self, obs: Any) -> Float32[Array, "*B"]:
        """Return the critic's estimate of the discounted return from observations on.

        It is of the rewards as they were learned from: divided by the running deviation of their
        discounted sum where `normalize_rewards` was on, times `reward_scale`.

        Args:
            obs: as in a call.

        Raises:
            ConfigError: if the file holds no critic.
            ValueError: as a call.
        """
        if not any(name.startswith("critic.") for name in self.tensors):
            raise ConfigError("the policy's file holds no critic, so it has no values")
        x = self.normalize(self.vector(obs))
        if self.metadata.get("shared_network", False):
            x = self._mlp("actor", x, hidden=True)
        return self._mlp("critic", x)[..., 0]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy's file, which `robustpo.load_policy` reads.

        Raises:
            ConfigError: if its directory does not exist.
            StorageError: if it could not be written.
        """
        file = user_path(path)
        if not os.path.isdir(file.parent):
            raise ConfigError(f"path={str(file)!r}: there is no directory {str(file.parent)!r}")
        save_policy(file, self)

    def vector(self, obs: Any) -> Array:
        """Return an observation as the vector `[O]`, or a batch of them as `[B, O]`.

        Raises:
            ValueError: if it is of another size, or has other parts.
        """
        layout, size = self.layout, self.observation_size
        kind = None if layout is None else layout[0]
        composite = isinstance(obs, Mapping)
        array: Array = _array(0.0 if composite else obs)
        fits = array.ndim in (1, 2) and array.shape[-1] == size and array.dtype.kind in "biuf"
        # Whole numbers are choices where there are any, also as many of them as there are outcomes.
        chosen = kind in ("discrete", "multi-discrete") and array.dtype.kind != "f"
        if fits and not chosen and not (kind == "tuple" and isinstance(obs, tuple)):
            return array
        if layout is not None:
            return flatten(layout, obs)
        given = "a dictionary" if composite else f"obs.shape={array.shape}"
        raise ValueError(f"{given} is not valid; expected [{size}] or [batch, {size}]")

    @property
    def layout(self) -> Layout | None:
        """How an observation of several parts becomes a vector (`robustpo.policy.layout`)."""
        return self.metadata.get("observation")

    def __repr__(self) -> str:
        about = self._about()
        return f"Policy({', '.join(f'{name}={value}' for name, value in about.items())})"

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in self._about().items()
        )
        return f"<table>{''.join(rows)}</table>"

    def _about(self) -> dict[str, str]:
        """Say what it is in a few words."""
        own = self.network != MLP
        names = [] if own else self._layers("actor")[:-1]
        widths = [self.tensors[name].shape[1] for name in names]
        known = {name: self.metadata.get(name) for name in ("task", "method", "seed")}
        networks = "×".join(map(str, widths)) or "linear"
        return {name: str(value) for name, value in known.items() if value is not None} | {
            "observes": str(self.observation_size) if self.layout is None else text_of(self.layout),
            "acts": str(self.action_size),
            "distribution": self.metadata["distribution"],
            "networks": self.network if own else f"{networks} {self.metadata['activation']}",
        }

    @property
    def action_units(self) -> tuple[Array, Array] | None:
        """What lies at 0 and how long 1 is in the policy's units of action, `[A]` each.

        None where these are the environment's own, or the distribution is stretched onto the bounds
        whatever they are.
        """
        if "action.half" not in self.tensors:
            return None
        return self.tensors["action.centre"], self.tensors["action.half"]

    @property
    def origin(self) -> Array | None:
        """What is subtracted from observations in double precision, `[O]`; None for nothing."""
        return self.tensors.get("observation.origin")

    def without_origin(self) -> Policy:
        """Return the policy that acts on observations from which the origin is subtracted."""
        tensors = {k: v for k, v in self.tensors.items() if k != "observation.origin"}
        return Policy(tensors, self.metadata)

    def normalize(self, obs: Array) -> Float32[Array, "*B O"]:
        """Normalise by the frozen moments, clipped to ±10; only made float32 if trained without."""
        if self.origin is not None:
            # Far from zero, float32 would round away what tells one observation from the other.
            obs = np.asarray(obs, np.float64) - self.origin
        obs = np.asarray(obs, np.float32)
        if "observation.mean" not in self.tensors:
            return obs
        scale = np.sqrt(self.tensors["observation.variance"] + np.float32(EPSILON))
        scaled = (obs - self.tensors["observation.mean"]) / scale
        return np.clip(scaled, -OBSERVATION_CLIP, OBSERVATION_CLIP)

    def _layers(self, name: str) -> list[str]:
        """Return the names of a network's weights, in the order of its layers."""
        count = sum(key.startswith(f"{name}.") and key.endswith("weight") for key in self.tensors)
        return [f"{name}.{i}.weight" for i in range(count)]

    def _mlp(self, name: str, x: Array, *, hidden: bool = False) -> Array:
        """Return what a network puts out, or what its last hidden layer does."""
        if self.network != MLP:
            own = {
                key.removeprefix(f"{name}."): tensor
                for key, tensor in self.tensors.items()
                if key.startswith(f"{name}.")
            }
            return NETWORKS[self.network].outputs(own, x)
        weights = self._layers(name)
        activation = ACTIVATIONS[self.metadata["activation"]]
        for i, weight in enumerate(weights[:-1] if hidden else weights):
            x = x @ self.tensors[weight] + self.tensors[f"{name}.{i}.bias"]
            if (scale := self.tensors.get(f"{name}.{i}.scale")) is not None:
                x = x - x.mean(-1, keepdims=True)
                x = x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(LAYER_NORM_EPSILON))
                x = x * scale + self.tensors[f"{name}.{i}.shift"]
            x = activation(x) if i < len(weights) - 1 else x
        return x


def _array(obs: Any) -> Array:
    """Return an observation as an array; one of ragged parts as an array of objects."""
    try:
        return np.asarray(obs)
    except ValueError:
        return np.empty((), object)


def save_policy(path: Path, policy: Policy, root: Path | None = None) -> None:
    """Write a policy file atomically.

    Args:
        path: the file.
        policy: what it holds.
        root: the directories from it to the file must be no links; by default none is looked at.

    Raises:
        ConfigError: if one of them is.
        StorageError: if it could not be written.
    """
    tensors = {name: np.asarray(tensor, np.float32) for name, tensor in policy.tensors.items()}
    write_tensors(path, tensors, {"format": FORMAT, **policy.metadata}, root or path.parent)


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Load a policy from its file or from the directory of its run; imports no JAX.

    Raises:
        ConfigError: if there is no such file, or it is not a whole policy of this format.
    """
    file = user_path(path)
    file = file / POLICY_FILE if os.path.isdir(file) else file
    if not os.path.isfile(file):
        raise ConfigError(f"no policy at {file}; give a run directory or a .safetensors file")
    return parse_policy(read_bytes(file, MAX_BYTES), file)


def parse_policy(content: bytes, name: object) -> Policy:
    """Read a policy from the content of its file; `name` is what errors call it.

    Raises:
        ConfigError: if it is not a whole policy of this format.
    """
    tensors, metadata = parse_tensors(content, name, max_header_bytes=MAX_HEADER_BYTES)
    try:
        require_metadata(metadata)
    except ConfigError as error:
        raise ConfigError(f"{name} is not a policy of robustpo: {error}") from error
    try:
        family = FAMILIES[metadata["distribution"]]
        if metadata.get("network", MLP) != MLP:
            NETWORKS[metadata["network"]]
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    try:
        require_shapes(tensors, family, metadata)
        require_values(tensors, family)
        if (layout := metadata.get("observation")) is not None:
            require_layout(layout, Policy(tensors, metadata).observation_size)
    except ConfigError as error:
        raise ConfigError(f"{name} is not a policy of robustpo: {error}") from error
    return Policy(tensors, metadata)
