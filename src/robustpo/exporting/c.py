"""A policy as one C99 header: no allocation, no library but <math.h>."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np

from robustpo.base.files import one_line
from robustpo.exporting.plan import Layer, Plan
from robustpo.policy.layout import size_of, text_of

ABOUT = ("task", "method", "variant", "seed")


def write_c(plan: Plan, name: str = "policy") -> str:
    """Return the text of a header with one function, `void policy_act(obs, action)`.

    Args:
        plan: of the policy.
        name: what its names begin with.
    """
    name = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "policy"
    name = f"p{name}" if name[0].isdigit() else name
    kind = "double" if plan.origin is not None else "float"
    guard = f"{name.upper()}_H"
    parts = [
        _comment(plan, name),
        f"#ifndef {guard}\n#define {guard}\n\n#include <math.h>\n",
        f"#define {name.upper()}_OBSERVATIONS {plan.observation_size}",
        f"#define {name.upper()}_ACTIONS {plan.action_size}\n",
        *_offsets(plan, name),
        *_constants(plan, name),
        f"static inline void {name}_act(const {kind} obs[{plan.observation_size}], "
        f"float action[{plan.action_size}]) {{",
        *(f"    {line}" if line else "" for line in _body(plan, name)),
        "}\n",
        "#endif",
    ]
    return "\n".join(parts) + "\n"


def _comment(plan: Plan, name: str) -> str:
    about = ", ".join(
        f"{key} {one_line(plan.metadata[key], 80)}" for key in ABOUT if key in plan.metadata
    )
    text = (
        f"A policy trained by robustpo{f' ({about})' if about else ''}. {name}_act takes one "
        f"observation as the environment gives it and writes the action, in the environment's "
        f"units and within its bounds. It allocates nothing and keeps nothing. A NaN observed "
        f"comes out as NaN."
    )
    if plan.layout is not None:
        text += f" Observed is {text_of(plan.layout)}, part after part; choices as 0 and a 1."
    # Nothing that a name holds ends the comment, or continues a line.
    clean = text.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/")
    clean = clean.encode("ascii", "replace").decode().replace("??", "? ?")
    lines = textwrap.wrap(clean, 90)
    return "/* " + "\n   ".join(lines) + " */"


def _offsets(plan: Plan, name: str) -> list[str]:
    """Say where each part of an observation begins."""
    if plan.layout is None or plan.layout[0] not in ("dict", "tuple"):
        return []
    lines: list[str] = []
    _walk(plan.layout, f"{name}_AT", 0, lines)
    return [*lines, ""]


def _walk(layout: Any, name: str, at: int, lines: list[str]) -> int:
    kind, content = layout[0], layout[1]
    if kind not in ("dict", "tuple"):
        word = re.sub(r"\W", "_", name, flags=re.ASCII).upper()
        line = f"#define {word} {at}"
        if any(other.split(" ")[1] == word for other in lines):
            line = f"#define {word}_{len(lines)} {at}"
        lines.append(line)
        return at + size_of(layout)
    named = content if kind == "dict" else [(index, part) for index, part in enumerate(content)]
    for key, part in named:
        at = _walk(part, f"{name}_{key}", at, lines)
    return at


def _constants(plan: Plan, name: str) -> list[str]:
    lines = []
    if plan.origin is not None:
        lines.append(_array(f"{name}_origin", plan.origin, "double"))
    if plan.normalizer is not None:
        lines += [
            _array(f"{name}_{w}", x)
            for w, x in zip(("mean", "scale"), plan.normalizer, strict=True)
        ]
    for i, layer in enumerate(plan.layers):
        # Row by row of what a unit takes in, which is how it is read.
        lines.append(_array(f"{name}_weight{i}", layer.weight.T))
        lines.append(_array(f"{name}_bias{i}", layer.bias))
        if layer.norm is not None:
            lines += [
                _array(f"{name}_{w}{i}", x)
                for w, x in zip(("gain", "shift"), layer.norm, strict=True)
            ]
    lines += [_array(f"{name}_low", plan.low), _array(f"{name}_high", plan.high)]
    if plan.units is not None:
        lines += [
            _array(f"{name}_{w}", x) for w, x in zip(("centre", "half"), plan.units, strict=True)
        ]
    return lines


def _array(name: str, values: Any, kind: str = "float") -> str:
    flat = np.asarray(values).ravel()
    text = textwrap.fill(", ".join(_number(x, kind) for x in flat.tolist()), 96)
    return f"static const {kind} {name}[{flat.size}] = {{\n{text}}};\n"


def _number(value: float, kind: str) -> str:
    if np.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    if kind == "double":
        return f"{value:.17g}" + ("" if "." in f"{value:.17g}" or "e" in f"{value:.17g}" else ".0")
    text = f"{np.float32(value):.9g}"
    return f"{text}{'' if '.' in text or 'e' in text else '.0'}f"


def _body(plan: Plan, name: str) -> Iterable[str]:
    sizes = [plan.observation_size, *(len(layer.bias) for layer in plan.layers)]
    widest = max(sizes)
    yield f"float a[{widest}], b[{widest}];"
    yield "int i, j;"
    yield f"for (i = 0; i < {plan.observation_size}; i++) {{"
    given = f"(float)(obs[i] - {name}_origin[i])" if plan.origin is not None else "obs[i]"
    if plan.normalizer is None:
        yield f"    a[i] = {given};"
    else:
        yield f"    float x = ({given} - {name}_mean[i]) / {name}_scale[i];"
        yield f"    a[i] = {_clipped(f'-{plan.clip}f', f'{plan.clip}f')};"
    yield "}"
    source, target = "a", "b"
    for i, layer in enumerate(plan.layers):
        yield from _layer(layer, i, name, sizes[i], source, target, plan.norm_epsilon)
        source, target = target, source
    yield f"for (i = 0; i < {plan.action_size}; i++) {{"
    yield f"    float x = {source}[i];"
    yield from (f"    {line}" for line in _mode(plan, name, source))
    yield f"    action[i] = {_clipped(f'{name}_low[i]', f'{name}_high[i]')};"
    yield "}"


def _clipped(low: str, high: str) -> str:
    """Clip `x`; a NaN is neither below nor above."""
    return f"x < {low} ? {low} : (x > {high} ? {high} : x)"


def _layer(
    layer: Layer, i: int, name: str, width: int, source: str, target: str, epsilon: float
) -> Iterable[str]:
    count = len(layer.bias)
    yield f"for (i = 0; i < {count}; i++) {{"
    yield "    float x = 0.0f;"
    yield f"    for (j = 0; j < {width}; j++) x += {name}_weight{i}[i * {width} + j] * {source}[j];"
    yield f"    x += {name}_bias{i}[i];"
    if layer.norm is None:
        yield f"    {target}[i] = {_activated(layer.activation)};"
        yield "}"
        return
    yield f"    {target}[i] = x;"
    yield "}"
    yield "{"
    yield "    float mean = 0.0f, variance = 0.0f;"
    yield f"    for (i = 0; i < {count}; i++) mean += {target}[i] / {count}.0f;"
    yield f"    for (i = 0; i < {count}; i++) {{"
    yield f"        {target}[i] -= mean;"
    yield f"        variance += {target}[i] * {target}[i] / {count}.0f;"
    yield "    }"
    yield f"    for (i = 0; i < {count}; i++) {{"
    root = f"sqrtf(variance + {_number(epsilon, 'float')})"
    yield f"        float x = {target}[i] / {root} * {name}_gain{i}[i] + {name}_shift{i}[i];"
    yield f"        {target}[i] = {_activated(layer.activation)};"
    yield "    }"
    yield "}"


def _activated(activation: str | None) -> str:
    return {
        None: "x",
        "tanh": "tanhf(x)",
        # A NaN is neither below nor above zero, and passes.
        "relu": "(x < 0.0f ? 0.0f : x)",
        "elu": "(x < 0.0f ? expm1f(x) : x)",
        "swish": "x * (0.5f * (1.0f + tanhf(0.5f * x)))",
    }[activation]


def _mode(plan: Plan, name: str, source: str) -> Iterable[str]:
    if plan.distribution == "tanh-gaussian":
        yield "x = 0.5f * (1.0f + tanhf(x));"
    elif plan.distribution == "beta":
        margin = _number(plan.beta_margin, "float")
        yield f"float y = {source}[i + {plan.action_size}];"
        for word in ("x", "y"):
            # log(1 + exp(x)) without overflow.
            yield f"{word} = fmaxf({word}, 0.0f) + log1pf(expf(-fabsf({word}))) + {margin};"
        yield "x = x / (x + y);"
    if plan.stretched:
        yield f"x = {name}_low[i] + ({name}_high[i] - {name}_low[i]) * x;"
    elif plan.units is not None:
        yield f"x = {name}_centre[i] + {name}_half[i] * x;"
