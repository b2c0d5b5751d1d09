"""Collection of a whole rollout: in one compiled scan, or around a host simulator's steps."""

from robustpo.config.shape import Shape
from robustpo.environments.base import Environment, HostEnvironment, TracedEnvironment
from robustpo.training.collectors.base import Collector
from robustpo.training.collectors.host import HostCollector
from robustpo.training.collectors.traced import TracedCollector


def make_collector(environment: Environment, shape: Shape, num_agents: int) -> Collector:
    """Return the collector that fits the simulator."""
    if isinstance(environment, TracedEnvironment):
        return TracedCollector(environment, shape, num_agents)
    assert isinstance(environment, HostEnvironment)
    return HostCollector(environment, shape, num_agents)


__all__ = ["Collector", "HostCollector", "TracedCollector", "make_collector"]
