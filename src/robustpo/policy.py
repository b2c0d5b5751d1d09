"""Policies that act anywhere: NumPy alone, one file, no code in it.

A policy file is a safetensors file with the networks, the frozen observation moments and the
action bounds, and a digest of it all. Nothing in it can run code.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from robustpo.errors import ConfigError
from robustpo.files import one_line, parse_tensors, read_bytes, user_path, write_tensors

POLICY_FILE = "policy.safetensors"
BEST_POLICY_FILE = "policy_best.safetensors"
FORMAT = 1
MAX_BYTES = 256 * 2**20
MAX_HEADER_BYTES = 2**20
MAX_TEXT = 1000
OBSERVATION_CLIP = 10.0
EPSILON = 1e-8
# The exponential of a larger log scale is beyond float32.
MAX_LOG_SCALE = 80.0

Array = np.ndarray


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, np.float32(0))


@dataclass(frozen=True)
class _Family:
    """What acting needs of an action distribution; `robustpo.algorithm.distributions` has the rest.

    Attributes:
        outputs_per_action: numbers the actor puts out per dimension of the action.
        has_scale: whether there is a log scale per dimension.
        act: takes outputs, log scale and a source of samples, or None for the mode; returns actions
            that are only clipped to the bounds if `clipped`, in the environment's units or in those
            that the file scales to them, else in (0, 1) of the way between the bounds.
        clipped: see `act`.
    """

    outputs_per_action: int
    has_scale: bool
    act: Callable[[Array, Array, np.random.Generator | None], Array]
    clipped: bool


def _gaussian(outputs: Array, log_scale: Array, rng: np.random.Generator | None) -> Array:
    if rng is None:
        return outputs
    return outputs + np.exp(log_scale) * rng.standard_normal(outputs.shape, np.float32)


def _laplace(outputs: Array, log_scale: Array, rng: np.random.Generator | None) -> Array:
    return outputs if rng is None else outputs + np.exp(log_scale) * rng.laplace(size=outputs.shape)


def _gumbel(outputs: Array, log_scale: Array, rng: np.random.Generator | None) -> Array:
    return outputs if rng is None else outputs + np.exp(log_scale) * rng.gumbel(size=outputs.shape)


def _tanh_gaussian(outputs: Array, log_scale: Array, rng: np.random.Generator | None) -> Array:
    return 0.5 * (1.0 + np.tanh(_gaussian(outputs, log_scale, rng)))


def _beta(outputs: Array, log_scale: Array, rng: np.random.Generator | None) -> Array:
    del log_scale
    a, b = np.split(_softplus(outputs) + np.float32(BETA_MARGIN), 2, axis=-1)
    return a / (a + b) if rng is None else rng.beta(1 + a, 1 + b)


FAMILIES = {
    "gaussian": _Family(1, True, _gaussian, True),
    "laplace": _Family(1, True, _laplace, True),
    "gumbel": _Family(1, True, _gumbel, True),
    "tanh-gaussian": _Family(1, True, _tanh_gaussian, False),
    "beta": _Family(2, False, _beta, False),
}
BETA_MARGIN = 1e-6

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
        _require_metadata(metadata)
        family = FAMILIES[metadata["distribution"]]
        _require_shapes(tensors, family, shared=metadata.get("shared_network", False))
        _require_values(tensors, family)
    except ConfigError as error:
        raise ConfigError(f"{name} is not a policy of robustpo: {error}") from error
    return Policy(tensors, metadata)


def _require_metadata(metadata: dict[str, Any]) -> None:
    form = metadata.get("format")
    if type(form) is not int or form != FORMAT:
        raise ConfigError(f"its metadata does not name format {FORMAT}")
    for name, known in (("activation", ACTIVATIONS), ("distribution", FAMILIES)):
        if not isinstance(metadata.get(name), str) or metadata[name] not in known:
            raise ConfigError("its activation or distribution is unknown")
    for name in ("task", "method", "variant"):
        text = metadata.get(name, "")
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise ConfigError(f"its {name} is not text of at most {MAX_TEXT} signs")
    if type(metadata.get("shared_network", False)) is not bool:
        raise ConfigError("its shared_network is neither true nor false")
    seed = metadata.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ConfigError("its seed is not a whole number from 0 to 2⁶³")


def _require_shapes(tensors: dict[str, Array], family: _Family, *, shared: bool) -> None:
    """Raise `ConfigError` unless the tensors are those of a policy, no more and no fewer."""
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    first = shapes.get("actor.0.weight", ())
    observation = first[0] if len(first) == 2 else 0
    wanted, outputs = _network_shapes("actor", shapes, observation)
    if outputs % family.outputs_per_action:
        raise ConfigError(f"its actor has {outputs} outputs, expected an even number")
    action = outputs // family.outputs_per_action
    wanted |= dict.fromkeys(("action.low", "action.high"), (action,))
    if family.clipped and ("action.centre" in shapes or "action.half" in shapes):
        wanted |= dict.fromkeys(("action.centre", "action.half"), (action,))
    wanted["log_std"] = (action if family.has_scale else 0,)
    if any(name.startswith("critic.") for name in shapes):
        last = max(int(name.split(".")[1]) for name in wanted if name.startswith("actor."))
        width = wanted[f"actor.{last}.weight"][0] if shared else observation
        critic, outputs = _network_shapes("critic", shapes, width)
        wanted |= critic
        if outputs != 1:
            raise ConfigError(f"its critic has {outputs} outputs, expected 1")
    if any(name.startswith("observation.") for name in shapes):
        wanted |= dict.fromkeys(("observation.mean", "observation.variance"), (observation,))
        more = {"observation.count": (), "observation.origin": (observation,)}
        wanted |= {name: shape for name, shape in more.items() if name in shapes}
    for name, shape in wanted.items():
        if shapes.get(name) != shape:
            raise ConfigError(f"{name} has shape {shapes.get(name)}, expected {shape}")
    if unknown := sorted(shapes.keys() - wanted.keys()):
        raise ConfigError(f"it holds a tensor {one_line(repr(unknown[0]), 60)}, which none has")


def _network_shapes(
    name: str, shapes: dict[str, tuple[int, ...]], width: int
) -> tuple[dict[str, tuple[int, ...]], int]:
    """Follow a network's layers; return the shapes of its tensors and the width it ends with."""
    wanted: dict[str, tuple[int, ...]] = {}
    layer = 0
    while not layer or f"{name}.{layer}.weight" in shapes:
        weight = shapes.get(f"{name}.{layer}.weight")
        if weight is None or len(weight) != 2 or weight[0] != width or 0 in weight:
            raise ConfigError(f"{name}.{layer}.weight has shape {weight}")
        width = weight[1]
        wanted |= {f"{name}.{layer}.weight": weight, f"{name}.{layer}.bias": (width,)}
        layer += 1
    return wanted, width


def _require_values(tensors: dict[str, Array], family: _Family) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32:
            raise ConfigError(f"{name} is {tensor.dtype}, expected float32")
        if not np.isfinite(tensor).all() and name not in ("action.low", "action.high"):
            wrong = tensor[~np.isfinite(tensor)].flat[0]
            raise ConfigError(f"{name} holds {wrong}, expected finite numbers")
    low, high = tensors["action.low"], tensors["action.high"]
    # Comparisons with NaN are false, so this refuses it as well.
    if not (low <= high).all():
        raise ConfigError("action.low is not at most action.high everywhere")
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(high - low).all()
    if not family.clipped and not finite:
        raise ConfigError("its bounds are not finite, and its distribution is stretched onto them")
    if not (tensors.get("action.half", np.ones(1)) > 0).all():
        raise ConfigError("action.half is not above 0 everywhere")
    if (largest := tensors["log_std"].max(initial=0)) > MAX_LOG_SCALE:
        raise ConfigError(f"log_std holds {largest:g}, expected at most {MAX_LOG_SCALE:g}")
    if not (tensors.get("observation.variance", np.zeros(1)) >= 0).all():
        raise ConfigError("observation.variance is not at least 0 everywhere")
    if not 0 <= float(tensors.get("observation.count", 0)) < 2**31:
        raise ConfigError("observation.count is not a number from 0 to 2³¹")
