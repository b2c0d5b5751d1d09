"""How long a study will take on this machine, measured just before it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from robustpo.config.run import RunConfig
from robustpo.errors import RobustpoError
from robustpo.execution.packing import pack


@dataclass(frozen=True)
class Forecast:
    """What a study will cost.

    Attributes:
        seconds: of training, with every worker busy; of the tasks that could be measured.
        unknown: tasks that could not be measured: what they need is not installed, or they are
            compiled as a whole.
    """

    seconds: float
    unknown: tuple[str, ...]


def forecast(
    configs: Sequence[RunConfig],
    workers: int,
    progress: Callable[[str], None] = lambda task: None,
) -> Forecast:
    """Measure every task for a moment and add up what its runs will take.

    Args:
        configs: the runs that are left.
        workers: processes that train at once.
        progress: told the task that is measured.
    """
    from robustpo.execution.estimate import seconds_per_step

    total, unknown = 0.0, dict[str, None]()
    known: dict[tuple[str, object], float | None] = {}
    for shard in pack(configs, workers):
        first = shard[0]
        key = (first.task, first.shape)
        if key not in known:
            if all(task != first.task for task, _ in known):
                progress(first.task)
            try:
                known[key] = seconds_per_step(first, len(shard), first.task)
            except RobustpoError:
                known[key] = None
        rate = known[key]
        if rate is None:
            unknown[first.task] = None
        else:
            total += rate * sum(config.total_steps for config in shard)
    return Forecast(total / max(1, workers), tuple(unknown))
