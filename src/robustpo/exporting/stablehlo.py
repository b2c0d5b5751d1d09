"""A policy as StableHLO, which JAX, PJRT and IREE read, for processors, GPUs and TPUs."""

from __future__ import annotations

from typing import Any

from robustpo.exporting.plan import Layer, Plan

PLATFORMS = ("cpu", "cuda", "tpu")


def write_stablehlo(plan: Plan) -> bytes:
    """Return what `jax.export.deserialize` reads: observations `[b, O]` float32 to actions.

    Its text is `jax.export.deserialize(content).mlir_module()`. With an origin, observations are
    taken relative to it, which is what float32 can hold.
    """
    import jax
    import jax.numpy as jnp
    from jax import export

    def act(obs: Any) -> Any:
        x = obs
        if plan.normalizer is not None:
            x = jnp.clip((x - plan.normalizer[0]) / plan.normalizer[1], -plan.clip, plan.clip)
        for layer in plan.layers:
            x = _layer(layer, x, plan.norm_epsilon)
        return _action(plan, x)

    size = export.symbolic_shape(f"b, {plan.observation_size}")
    shape = jax.ShapeDtypeStruct(size, jnp.float32)
    return bytes(export.export(jax.jit(act), platforms=PLATFORMS)(shape).serialize())


def _layer(layer: Layer, x: Any, epsilon: float) -> Any:
    import jax
    import jax.numpy as jnp

    # Nothing of an accelerator may round the factors.
    x = jnp.matmul(x, layer.weight, precision=jax.lax.Precision.HIGHEST) + layer.bias
    if layer.norm is not None:
        x = x - x.mean(-1, keepdims=True)
        x = x / jnp.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
        x = x * layer.norm[0] + layer.norm[1]
    activations = {
        "tanh": jnp.tanh,
        "relu": lambda x: jnp.maximum(x, 0.0),
        "elu": lambda x: jnp.where(x < 0, jnp.expm1(jnp.minimum(x, 0.0)), x),
        "swish": jax.nn.swish,
    }
    return x if layer.activation is None else activations[layer.activation](x)


def _action(plan: Plan, x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    if plan.distribution == "tanh-gaussian":
        x = 0.5 * (1.0 + jnp.tanh(x))
    elif plan.distribution == "beta":
        a, b = jnp.split(jax.nn.softplus(x) + plan.beta_margin, 2, axis=-1)
        x = a / (a + b)
    if plan.stretched:
        x = plan.low + (plan.high - plan.low) * x
    elif plan.units is not None:
        x = plan.units[0] + plan.units[1] * x
    return jnp.clip(x, plan.low, plan.high)
