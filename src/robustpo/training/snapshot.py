"""Between an agent of a population and a policy file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robustpo.algorithm.learner import init_learner
from robustpo.algorithm.networks import AgentParams, Dense, Parameters
from robustpo.algorithm.normalization import RunningMoments
from robustpo.config.run import RunConfig
from robustpo.environments.base import TaskSpec
from robustpo.errors import ConfigError
from robustpo.policy.policy import Policy, load_policy
from robustpo.training.action_units import action_units
from robustpo.training.population import Population, init_collector, stack


def make_policy(
    config: RunConfig,
    spec: TaskSpec,
    params: AgentParams,
    moments: RunningMoments,
    origin: np.ndarray | None = None,
) -> Policy:
    """Freeze one agent: its networks, its moments and origin, the bounds of its actions."""
    tensors = {
        f"{name}.{place}": np.asarray(array)
        for name, network in (("actor", params.actor), ("critic", params.critic))
        for place, array in _arrays(network).items()
    }
    tensors["log_std"] = np.asarray(params.log_std)
    tensors["action.low"] = np.asarray(spec.action_low, np.float32)
    tensors["action.high"] = np.asarray(spec.action_high, np.float32)
    if (units := action_units(spec, config.shape)) is not None:
        tensors["action.centre"], tensors["action.half"] = units
    if config.shape.normalize_observations:
        tensors["observation.mean"] = np.asarray(moments.mean)
        tensors["observation.variance"] = np.asarray(moments.variance)
        tensors["observation.count"] = np.asarray(moments.count, np.float32)
        if origin is not None and origin.any():
            tensors["observation.origin"] = origin.copy()
    metadata = {
        "task": config.task,
        "method": config.method,
        "variant": config.variant,
        "seed": config.settings.seed,
        "activation": config.shape.activation,
        "distribution": config.shape.distribution,
        "shared_network": config.shape.shared_network,
    }
    if isinstance(params.actor, dict):
        metadata |= {"network": config.shape.network, "observation_size": spec.observation_size}
    if spec.layout is not None:
        # As a file gives it back.
        metadata["observation"] = json.loads(json.dumps(spec.layout))
    return Policy(tensors, metadata)


def _arrays(network: Parameters) -> dict[str, Any]:
    """Return the arrays of a network by their names in a policy's file."""
    if isinstance(network, dict):
        return network
    parts = ("weight", "bias", "scale", "shift")
    return {
        f"{i}.{part}": getattr(layer, part)
        for i, layer in enumerate(network)
        for part in parts
        if getattr(layer, part) is not None
    }


def warm_start(population: Population, configs: Sequence[RunConfig]) -> Population:
    """Replace the networks and moments of agents that start from a policy file.

    Raises:
        ConfigError: if a policy's layers do not have the sizes of the agent's.
    """
    if all(config.init_policy is None for config in configs):
        return population
    learners, moments = [], []
    for index, config in enumerate(configs):
        own = jax.tree.map(lambda x, i=index: x[i], population.learners)
        count = jax.tree.map(lambda x, i=index: x[i], population.collector.obs_moments)
        if config.init_policy is not None:
            policy = load_policy(config.init_policy)
            own = init_learner(_params_from(policy, own.params, config), config.shape)
            count = _moments_from(policy, count)
        learners.append(own)
        moments.append(count)
    collector = init_collector(stack(moments), len(configs), configs[0].shape.num_envs)
    return replace(population, learners=stack(learners), collector=collector)


def _params_from(policy: Policy, like: AgentParams, config: RunConfig) -> AgentParams:
    def take(name: str, shape: tuple[int, ...]) -> Any:
        tensor = policy.tensors.get(name)
        if tensor is None or tensor.shape != shape:
            found = None if tensor is None else tensor.shape
            raise ConfigError(
                f"init_policy={config.init_policy!r} has {name} of shape {found}, this task and "
                f"network need {shape}; choose a policy of the same task and --hidden-sizes"
            )
        return jnp.asarray(tensor)

    def layers(name: str, own: Parameters) -> Parameters:
        found = {place: take(f"{name}.{place}", x.shape) for place, x in _arrays(own).items()}
        if isinstance(own, dict):
            return found
        parts = ("weight", "bias", "scale", "shift")
        rows = [{part: found.get(f"{i}.{part}") for part in parts} for i in range(len(own))]
        return tuple(Dense(**row) for row in rows)  # type: ignore[arg-type]

    return AgentParams(
        actor=layers("actor", like.actor),
        log_std=take("log_std", like.log_std.shape),
        critic=layers("critic", like.critic),
    )


def given_origin(config: RunConfig, observation_size: int) -> np.ndarray | None:
    """Return the origin `[O]` of a policy that an agent starts from; None if it starts afresh."""
    if config.init_policy is None:
        return None
    origin = load_policy(config.init_policy).origin
    return np.zeros(observation_size, np.float32) if origin is None else origin


def _moments_from(policy: Policy, own: RunningMoments) -> RunningMoments:
    if "observation.mean" not in policy.tensors:
        return own
    return replace(
        own,
        mean=jnp.asarray(policy.tensors["observation.mean"]),
        variance=jnp.asarray(policy.tensors["observation.variance"]),
        count=jnp.asarray(policy.tensors.get("observation.count", 1), jnp.int32).reshape(()),
    )
