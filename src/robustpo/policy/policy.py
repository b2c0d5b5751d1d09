"""Policies that act anywhere: NumPy alone, one file, no code in it.

A policy file is a safetensors file with the networks, the frozen observation moments and the
action bounds, and a digest of it all. Nothing in it can run code.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from robustpo.base.files import parse_tensors, read_bytes, user_path, write_tensors
from robustpo.errors import ConfigError
from robustpo.policy.checks import FORMAT, require_metadata, require_shapes, require_values
from robustpo.policy.families import ACTIVATIONS, FAMILIES

POLICY_FILE = "policy.safetensors"
BEST_POLICY_FILE = "policy_best.safetensors"
MAX_BYTES = 256 * 2**20
MAX_HEADER_BYTES = 2**20
OBSERVATION_CLIP = 10.0
EPSILON = 1e-8

Array = np.ndarray


@dataclass(frozen=True)
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
        return self.tensors["actor.0.weight"].shape[0]

    @property
    def action_size(self) -> int:
        """Length `A` of an action."""
        return self.tensors["action.low"].shape[0]

    def __call__(
        self, obs: Any, *, deterministic: bool = True, rng: np.random.Generator | None = None
    ) -> Float32[Array, "*B A"]:
        """Choose actions inside the bounds.

        Args:
            obs: one raw observation `[O]` or a batch `[B, O]`.
            deterministic: the distribution's mode; otherwise a sample.
            rng: source of the samples; fresh entropy if None.

        Returns:
            Actions `[A]` or `[B, A]`, float32, in the environment's units.

        Raises:
            ValueError: if the observation's last axis is not `O`.
        """
        obs = np.asarray(obs)
        if obs.ndim not in (1, 2) or obs.shape[-1] != self.observation_size:
            raise ValueError(
                f"obs.shape={obs.shape} is not valid; expected [{self.observation_size}] or "
                f"[batch, {self.observation_size}]"
            )
        outputs = self._mlp("actor", self.normalize(obs))
        source = None if deterministic else rng or np.random.default_rng()
        family = FAMILIES[self.metadata["distribution"]]
        low, high = self.tensors["action.low"], self.tensors["action.high"]
        action = family.act(outputs, self.tensors["log_std"], source).astype(np.float32)
        if not family.clipped:
            action = low + (high - low) * action
        elif (units := self.action_units) is not None:
            action = units[0] + units[1] * action
        return np.clip(action, low, high)

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

    def _mlp(self, name: str, x: Array) -> Array:
        layers = sum(key.startswith(f"{name}.") and key.endswith("weight") for key in self.tensors)
        activation = ACTIVATIONS[self.metadata["activation"]]
        for i in range(layers):
            x = x @ self.tensors[f"{name}.{i}.weight"] + self.tensors[f"{name}.{i}.bias"]
            x = activation(x) if i < layers - 1 else x
        return x


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
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    try:
        require_shapes(tensors, family, shared=metadata.get("shared_network", False))
        require_values(tensors, family)
    except ConfigError as error:
        raise ConfigError(f"{name} is not a policy of robustpo: {error}") from error
    return Policy(tensors, metadata)
