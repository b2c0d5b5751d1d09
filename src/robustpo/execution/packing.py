"""How runs are packed into populations, one for each worker at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from robustpo.config.run import RunConfig

MAX_AGENTS = 5
# On an accelerator, where an update of many agents hardly takes longer than that of one.
MAX_AGENTS_AT_ONCE = 256
MANY_SHARDS_PER_WORKER = 4


def pack(
    configs: Sequence[RunConfig], workers: int, max_agents: int = MAX_AGENTS
) -> list[list[RunConfig]]:
    """Pack runs into populations of one task and shape, of near-equal size.

    As few populations as `max_agents` allows, because larger ones are faster, but as many as keep
    every worker busy. Results do not depend on the packing.
    """
    groups: dict[Any, list[RunConfig]] = defaultdict(list)
    for config in configs:
        groups[config.task, config.shape].append(config)
    fewest = sum(-(-len(group) // max_agents) for group in groups.values())
    # With this many, the last ones leave little of a worker idle.
    many = fewest >= MANY_SHARDS_PER_WORKER * workers
    shards: list[list[RunConfig]] = []
    for group in groups.values():
        waves = -(-len(group) // (max_agents * workers))
        count = -(-len(group) // max_agents) if many else min(len(group), waves * workers)
        shards += [group[i::count] for i in range(count)]
    return shards
