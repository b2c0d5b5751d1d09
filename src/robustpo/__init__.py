"""Robust Policy Optimization (arXiv 2212.07536): train, compare and hand over policies.

Names are loaded when first used, so acting with a policy imports no JAX.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from robustpo.algorithm.distributions import ActionDistribution
    from robustpo.algorithm.estimators import Estimator
    from robustpo.algorithm.losses import LossTerm
    from robustpo.algorithm.perturbation import NoiseFamily
    from robustpo.api.policies import evaluate, export, record
    from robustpo.api.robustness import robustness
    from robustpo.api.training import compare, train
    from robustpo.api.tuning import tune
    from robustpo.base.registry import allow
    from robustpo.config.methods import METHODS, Method
    from robustpo.config.run import make_config
    from robustpo.config.schedules import Schedule
    from robustpo.config.settings import Settings
    from robustpo.config.shape import Shape
    from robustpo.environments.check import check_environment
    from robustpo.environments.jax_task import JaxStep, JaxTask
    from robustpo.environments.make import list_tasks
    from robustpo.errors import ConfigError, RobustpoError, UnfinishedError
    from robustpo.policy.families import DistributionFamily, Network
    from robustpo.policy.policy import Policy, load_policy
    from robustpo.runs.frames import load_results, load_summary

_HOMES = {
    "METHODS": "config.methods",
    "ActionDistribution": "algorithm.distributions",
    "ConfigError": "errors",
    "DistributionFamily": "policy.families",
    "Estimator": "algorithm.estimators",
    "JaxStep": "environments.jax_task",
    "JaxTask": "environments.jax_task",
    "LossTerm": "algorithm.losses",
    "Method": "config.methods",
    "Network": "policy.families",
    "NoiseFamily": "algorithm.perturbation",
    "Policy": "policy.policy",
    "RobustpoError": "errors",
    "Schedule": "config.schedules",
    "Settings": "config.settings",
    "Shape": "config.shape",
    "UnfinishedError": "errors",
    "allow": "base.registry",
    "check_environment": "environments.check",
    "compare": "api.training",
    "evaluate": "api.policies",
    "export": "api.policies",
    "list_tasks": "environments.make",
    "load_policy": "policy.policy",
    "load_results": "runs.frames",
    "load_summary": "runs.frames",
    "make_config": "config.run",
    "record": "api.policies",
    "robustness": "api.robustness",
    "train": "api.training",
    "tune": "api.tuning",
}

__all__ = [
    "METHODS",
    "ActionDistribution",
    "ConfigError",
    "DistributionFamily",
    "Estimator",
    "JaxStep",
    "JaxTask",
    "LossTerm",
    "Method",
    "Network",
    "NoiseFamily",
    "Policy",
    "RobustpoError",
    "Schedule",
    "Settings",
    "Shape",
    "UnfinishedError",
    "allow",
    "check_environment",
    "compare",
    "evaluate",
    "export",
    "list_tasks",
    "load_policy",
    "load_results",
    "load_summary",
    "make_config",
    "record",
    "robustness",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("robustpo")
    if name not in _HOMES:
        raise AttributeError(f"module 'robustpo' has no attribute {name!r}")
    return getattr(import_module(f"robustpo.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
