"""A policy as ONNX, which runs in onnxruntime and in what else reads it; no JAX is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from robustpo.environments.availability import require_extra
from robustpo.exporting.plan import Layer, Plan

OPSET = 17
# The oldest form that holds the operators above.
IR_VERSION = 8
BATCH = "batch"


def write_onnx(plan: Plan, path: Path) -> bytes:
    """Return the content of an ONNX file that takes `obs` `[batch, O]` and gives `action`.

    Where the environment observes a dictionary or a tuple, its parts are inputs of their own, by
    their names: `obs.angle`, `obs.1`; choices are whole numbers `[batch]`. Inputs are float32, with
    an origin float64.

    Raises:
        ConfigError: if the extra `onnx` is not installed.
    """
    require_extra("onnx", f"exporting to {path.name}")
    import onnx

    graph = _Graph()
    x = graph.observation(plan)
    for layer in plan.layers:
        x = graph.layer(layer, x, plan.norm_epsilon)
    graph.action(plan, x)
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes, "policy", graph.inputs, [_float("action", plan.action_size)], graph.arrays
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="robustpo",
    )
    onnx.helper.set_model_props(
        model, {k: v if isinstance(v, str) else json.dumps(v) for k, v in plan.metadata.items()}
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


class _Graph:
    """Nodes, their constants and inputs, as they are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.inputs: list[Any] = []

    def add(self, operator: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Add a node; return the name of its one output."""
        from onnx import helper

        name = out or f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """Add a constant; return its name."""
        from onnx import numpy_helper

        name = f"c{len(self.arrays)}"
        self.arrays.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def observation(self, plan: Plan) -> str:
        """Add the inputs; return the normalised vector `[batch, O]`."""
        from onnx import TensorProto

        wide = TensorProto.DOUBLE if plan.origin is not None else TensorProto.FLOAT
        if plan.layout is None or plan.layout[0] == "box":
            shape = [plan.observation_size] if plan.layout is None else plan.layout[1]
            x = self._flat(self._input("obs", wide, shape), plan.observation_size, shape)
        else:
            parts: list[str] = []
            self._parts(plan.layout, "obs", wide, parts)
            x = parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=1)
        if plan.origin is not None:
            x = self.add("Sub", x, self.constant(plan.origin, np.float64))
            x = self.add("Cast", x, to=TensorProto.FLOAT)
        if plan.normalizer is None:
            return x
        mean, scale = map(self.constant, plan.normalizer)
        x = self.add("Div", self.add("Sub", x, mean), scale)
        return self._clip(x, -plan.clip, plan.clip)

    def _input(self, name: str, kind: int, shape: list[int]) -> str:
        from onnx import helper

        self.inputs.append(helper.make_tensor_value_info(name, kind, [BATCH, *shape]))
        return name

    def _flat(self, x: str, size: int, shape: list[int]) -> str:
        if len(shape) == 1:
            return x
        return self.add("Reshape", x, self.constant([-1, size], np.int64))

    def _parts(self, layout: Any, name: str, wide: int, parts: list[str]) -> None:
        from onnx import TensorProto

        kind, content = layout[0], layout[1]
        if kind == "dict":
            for key, part in content:
                self._parts(part, f"{name}.{key}", wide, parts)
        elif kind == "tuple":
            for index, part in enumerate(content):
                self._parts(part, f"{name}.{index}", wide, parts)
        elif kind == "box":
            size = int(np.prod(content))
            parts.append(self._flat(self._input(name, wide, content), size, content))
        elif kind == "discrete":
            index = self._input(name, TensorProto.INT64, [])
            parts.append(self._one_hot(index, content, layout[2], wide))
        else:
            index = self._input(name, TensorProto.INT64, [len(content)])
            for i, (count, start) in enumerate(zip(content, layout[2], strict=True)):
                own = self.add("Gather", index, self.constant(i, np.int64), axis=1)
                parts.append(self._one_hot(own, count, start, wide))

    def _one_hot(self, index: str, count: int, start: int, wide: int) -> str:
        from onnx import TensorProto

        if start:
            index = self.add("Sub", index, self.constant(start, np.int64))
        dtype = np.float64 if wide == TensorProto.DOUBLE else np.float32
        depth, values = self.constant(count, np.int64), self.constant([0, 1], dtype)
        return self.add("OneHot", index, depth, values)

    def layer(self, layer: Layer, x: str, epsilon: float) -> str:
        """Add a layer."""
        x = self.add(
            "Add", self.add("MatMul", x, self.constant(layer.weight)), self.constant(layer.bias)
        )
        if layer.norm is not None:
            scale, shift = map(self.constant, layer.norm)
            x = self.add("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)
        if layer.activation is None:
            return x
        if layer.activation == "swish":
            return self.add("Mul", x, self.add("Sigmoid", x))
        return self.add({"tanh": "Tanh", "relu": "Relu", "elu": "Elu"}[layer.activation], x)

    def action(self, plan: Plan, x: str) -> None:
        """Add what turns the actor's outputs into the action."""
        if plan.distribution == "tanh-gaussian":
            half = self.constant(0.5)
            x = self.add("Mul", self.add("Add", self.add("Tanh", x), self.constant(1.0)), half)
        elif plan.distribution == "beta":
            positive = self.add("Add", self.add("Softplus", x), self.constant(plan.beta_margin))
            sizes = self.constant([plan.action_size] * 2, np.int64)
            a, b = f"x{len(self.nodes)}a", f"x{len(self.nodes)}b"
            from onnx import helper

            self.nodes.append(helper.make_node("Split", [positive, sizes], [a, b], axis=1))
            x = self.add("Div", a, self.add("Add", a, b))
        if plan.stretched:
            span = self.constant(plan.high - plan.low)
            x = self.add("Add", self.constant(plan.low), self.add("Mul", span, x))
        elif plan.units is not None:
            centre, half = map(self.constant, plan.units)
            x = self.add("Add", centre, self.add("Mul", half, x))
        self._clip(x, plan.low, plan.high, out="action")

    def _clip(self, x: str, low: Any, high: Any, out: str | None = None) -> str:
        # Not Clip, whose bounds are single numbers.
        return self.add("Min", self.add("Max", x, self.constant(low)), self.constant(high), out=out)


def _float(name: str, size: int) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, size])
