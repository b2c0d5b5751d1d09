"""Whether a file's tensors and metadata are those of a policy that can act."""

from __future__ import annotations

from typing import Any

import numpy as np

from robustpo.base.files import one_line
from robustpo.errors import ConfigError
from robustpo.policy.families import (
    ACTIVATIONS,
    FAMILIES,
    MLP,
    NETWORKS,
    DistributionFamily,
)

FORMAT = 1
MAX_TEXT = 1000
# The exponential of a larger log scale is beyond float32.
MAX_LOG_SCALE = 80.0

Array = np.ndarray


def require_metadata(metadata: dict[str, Any]) -> None:
    """Raise `ConfigError` unless the metadata are those of a policy of this format."""
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
    network = metadata.get("network", MLP)
    if not isinstance(network, str) or network not in NETWORKS:
        raise ConfigError("its network is unknown")
    size = metadata.get("observation_size")
    if network != MLP and (type(size) is not int or not 1 <= size <= 10**6):
        raise ConfigError("it does not say how many numbers its network observes")
    if type(metadata.get("shared_network", False)) is not bool:
        raise ConfigError("its shared_network is neither true nor false")
    seed = metadata.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ConfigError("its seed is not a whole number from 0 to 2⁶³")


def require_shapes(
    tensors: dict[str, Array], family: DistributionFamily, metadata: dict[str, Any]
) -> None:
    """Raise `ConfigError` unless the tensors are those of a policy, no more and no fewer."""
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    own, shared = metadata.get("network", MLP) != MLP, metadata.get("shared_network", False)
    if own:
        # What its network needs, it says itself.
        observation, action = metadata["observation_size"], shapes.get("action.low", (0,))[0]
        networks = tuple(n for n in shapes if n.startswith(("actor.", "critic.")))
        wanted = {name: shapes[name] for name in networks}
    else:
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
    if not own and any(name.startswith("critic.") for name in shapes):
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
        if f"{name}.{layer}.scale" in shapes:
            wanted |= {f"{name}.{layer}.{part}": (width,) for part in ("scale", "shift")}
        layer += 1
    return wanted, width


def require_values(tensors: dict[str, Array], family: DistributionFamily) -> None:
    """Raise `ConfigError` if a number is not finite, or not what it can be."""
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
