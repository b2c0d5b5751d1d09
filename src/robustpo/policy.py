"""Policies that act anywhere: NumPy alone, one file, no code in it.

A policy file is a safetensors file with the networks, the frozen observation moments and the
action bounds. Nothing in it can run code.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from robustpo.errors import ConfigError

POLICY_FILE = "policy.safetensors"
BEST_POLICY_FILE = "policy_best.safetensors"
METADATA_KEY = "robustpo"
FORMAT = 1
OBSERVATION_CLIP = 10.0
EPSILON = 1e-8

Array = np.ndarray


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "swish": lambda x: x * _sigmoid(x),
}


@dataclass(frozen=True)
class Policy:
    """A trained policy with its frozen normaliser.

    Attributes:
        tensors: every array of the file by name, such as `actor.0.weight` `[O, H]`.
        metadata: task, activation, distribution, layer counts and how it was trained.

    Example:
        >>> from robustpo.policy import Policy
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
        obs = np.asarray(obs, np.float32)
        if obs.ndim not in (1, 2) or obs.shape[-1] != self.observation_size:
            raise ValueError(
                f"obs.shape={obs.shape} is not valid; expected [{self.observation_size}] or "
                f"[batch, {self.observation_size}]"
            )
        action = self._mlp("actor", self.normalize(obs))
        if not deterministic:
            rng = rng or np.random.default_rng()
            noise = rng.standard_normal(action.shape, np.float32)
            action = action + np.exp(self.tensors["log_std"]) * noise
        return np.clip(action, self.tensors["action.low"], self.tensors["action.high"])

    def normalize(self, obs: Float32[Array, "*B O"]) -> Float32[Array, "*B O"]:
        """Normalise by the frozen moments, clipped to ±10; untouched if trained without."""
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


def save_policy(path: Path, policy: Policy) -> None:
    """Write a policy file atomically."""
    from safetensors.numpy import save

    metadata = {METADATA_KEY: json.dumps({"format": FORMAT, **policy.metadata}, sort_keys=True)}
    tensors = {k: np.asarray(v, np.float32, order="C") for k, v in policy.tensors.items()}
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(save(tensors, metadata))
    os.replace(partial, path)


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Load a policy from its file or from the directory of its run; imports no JAX.

    Raises:
        ConfigError: if there is no such file, or it is not a whole policy of this format.
    """
    from safetensors import SafetensorError, safe_open

    file = Path(path)
    file = file / POLICY_FILE if file.is_dir() else file
    if not file.is_file():
        raise ConfigError(f"no policy at {file}; give a run directory or a .safetensors file")
    try:
        with safe_open(file, framework="numpy") as stored:
            metadata = json.loads((stored.metadata() or {}).get(METADATA_KEY, "{}"))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{file} is not a readable policy file ({error})") from error
    problem = _problem(tensors, metadata)
    if problem:
        raise ConfigError(f"{file} is not a policy of robustpo: {problem}")
    return Policy(tensors, metadata)


def _problem(tensors: dict[str, Array], metadata: Any) -> str | None:
    """Say what is wrong with the content of a policy file, if anything."""
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        return f"its metadata does not name format {FORMAT}"
    activation = metadata.get("activation")
    known = isinstance(activation, str) and activation in ACTIVATIONS
    if not known or metadata.get("distribution") != "gaussian":
        return "its activation or distribution is unknown"
    if any(tensor.dtype != np.float32 for tensor in tensors.values()):
        return "a tensor is not float32"
    return _shape_problem(tensors)


def _shape_problem(tensors: dict[str, Array]) -> str | None:
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    first = shapes.get("actor.0.weight", ())
    width = first[0] if len(first) == 2 else -1
    observation, layer = (width,), 0
    while f"actor.{layer}.weight" in shapes:
        weight = shapes[f"actor.{layer}.weight"]
        if len(weight) != 2 or weight[0] != width:
            return f"actor.{layer}.weight has shape {weight}"
        width = weight[1]
        if shapes.get(f"actor.{layer}.bias") != (width,):
            return f"actor.{layer}.bias does not fit its weight"
        layer += 1
    if sum(name.startswith("actor.") for name in shapes) != 2 * layer:
        return f"its actor has other tensors than the weights and biases of {layer} layers"
    wanted = dict.fromkeys(("log_std", "action.low", "action.high"), (width,))
    if "observation.mean" in shapes or "observation.variance" in shapes:
        wanted |= dict.fromkeys(("observation.mean", "observation.variance"), observation)
    for name, shape in wanted.items():
        if shapes.get(name) != shape:
            return f"{name} has shape {shapes.get(name)}, expected {shape}"
    return None
