"""Random policies of every kind, and observations for them."""

import itertools
from typing import Any

import numpy as np

from robustpo.policy.families import FAMILIES
from robustpo.policy.layout import size_of
from robustpo.policy.policy import Policy

DISTRIBUTIONS = ("gaussian", "laplace", "gumbel", "tanh-gaussian", "beta")
ACTIVATIONS = ("tanh", "relu", "elu", "swish")
GOAL = [["x", ["box", []]], ["k", ["discrete", 3, 0]]]
LAYOUTS = (
    None,
    ["box", [2, 3]],
    ["discrete", 3, 1],
    ["multi-discrete", [3, 2], [0, -1]],
    [
        "dict",
        [
            ["angle", ["box", [2]]],
            ["goal", ["dict", [["x", ["box", []]], ["k", ["discrete", 3, 0]]]]],
        ],
    ],
    ["tuple", [["box", [3]], ["multi-discrete", [2, 2], [0, 0]]]],
)


def random_policy(
    seed,
    *,
    distribution="gaussian",
    activation="tanh",
    normalised=True,
    layer_norm=False,
    origin=False,
    scaled=False,
    bounded=True,
    layout=None,
    hidden=(7, 5),
):
    """Return a policy of random numbers; `layout` says what it observes, five numbers otherwise."""
    rng = np.random.default_rng(seed)
    family = FAMILIES[distribution]
    observed, actions = (5 if layout is None else size_of(layout)), 3

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    sizes = (observed, *hidden, actions * family.outputs_per_action)
    tensors = {"log_std": draw(actions if family.has_scale else 0)}
    for i, (n, m) in enumerate(itertools.pairwise(sizes)):
        tensors[f"actor.{i}.weight"] = draw(n, m) / np.float32(n**0.5)
        tensors[f"actor.{i}.bias"] = draw(m)
        if layer_norm and i < len(hidden):
            tensors |= {f"actor.{i}.scale": draw(m), f"actor.{i}.shift": draw(m)}
    low, width = draw(actions), np.abs(draw(actions)) + np.float32(0.1)
    tensors |= {"action.low": low, "action.high": low + width}
    if not bounded and family.clipped:
        tensors["action.low"][0], tensors["action.high"][1] = -np.inf, np.inf
    if scaled and family.clipped:
        tensors |= {"action.centre": draw(actions), "action.half": np.abs(draw(actions)) + 1}
    if normalised:
        tensors["observation.mean"] = draw(observed)
        tensors["observation.variance"] = np.abs(draw(observed))
        if origin:
            tensors["observation.origin"] = np.float32(1e7) * draw(observed)
    metadata = {"activation": activation, "distribution": distribution, "task": "T", "seed": 3}
    if layout is not None:
        metadata["observation"] = layout
    return Policy(tensors, metadata)


def observe(layout, count, rng, *, origin=None) -> Any:
    """Return a batch as an environment of a layout returns it."""
    if layout is None:
        obs = rng.normal(size=(count, 5)) * 3
        return obs + origin if origin is not None else obs.astype(np.float32)
    kind, content = layout[0], layout[1]
    if kind == "dict":
        return {name: observe(part, count, rng) for name, part in content}
    if kind == "tuple":
        return tuple(observe(part, count, rng) for part in content)
    if kind == "box":
        return rng.normal(size=(count, *content)).astype(np.float32)
    if kind == "discrete":
        return rng.integers(layout[2], layout[2] + content, count)
    columns = [rng.integers(s, s + n, count) for n, s in zip(content, layout[2], strict=True)]
    return np.stack(columns, axis=1)
