"""The numbers behind a display of training, kept up to date by events."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from robustpo.base.amounts import format_count, format_duration

Clock = Callable[[], float]
Event = Mapping[str, Any]

# Speed is measured over this long, since agents report in bursts.
SPEED_WINDOW_SECONDS = 30.0


@dataclass
class _Agent:
    """What the events have said about one seed of one variant."""

    first_step: int
    step: int
    total_steps: int
    state: str = "running"
    return_mean: float | None = None
    entropy: float | None = None


class ProgressState:
    """The numbers behind a display, kept up to date by events.

    Args:
        seeds: seeds to be trained per variant; variants and seeds not named are added when they
            first report.
        total_steps: steps of one run per variant, for those that have not reported yet.
        clock: seconds from any origin.
    """

    def __init__(
        self, seeds: Mapping[str, int], total_steps: Mapping[str, int], clock: Clock
    ) -> None:
        self.clock = clock
        self.started = clock()
        # Processes that compile at the moment.
        self.compiling = 0
        self._total_steps = dict(total_steps)
        self._expected = dict(seeds)
        self._agents: dict[str, dict[int, _Agent]] = {name: {} for name in seeds}
        self._samples: deque[tuple[float, int]] = deque()

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants, as expected and then as they first reported."""
        return tuple(self._agents)

    def progress(self, event: Event) -> None:
        """Take in that a seed has trained on."""
        agents = self._agents.setdefault(event["variant"], {})
        step, total = int(event["step"]), int(event["total_steps"])
        agent = agents.setdefault(event["seed"], _Agent(step, step, total))
        self._total_steps[event["variant"]] = total
        agent.step, agent.total_steps, agent.state = step, total, "running"
        agent.return_mean = _finite(event.get("return_mean"), agent.return_mean)
        agent.entropy = _finite(event.get("entropy"), agent.entropy)
        self._sample()

    def ended(self, event: Event, state: str) -> None:
        """Take in that a seed has `finished` or `failed`."""
        agents = self._agents.setdefault(event["variant"], {})
        step = int(event.get("step") or 0)
        agent = agents.setdefault(
            event["seed"], _Agent(step, step, self._steps_of(event["variant"]))
        )
        agent.state = state
        if state == "finished":
            # The steps up to the end are not new: a run found complete on disk took no time now.
            agent.first_step += agent.total_steps - agent.step
            agent.step = agent.total_steps
            agent.return_mean = _finite(event.get("final_return"), agent.return_mean)

    def _steps_of(self, variant: str) -> int:
        return self._total_steps.get(variant, 0)

    def _sample(self) -> None:
        now = self.clock()
        made = sum(a.step - a.first_step for a in self._all_agents())
        if len(self._samples) > 1 and now - self._samples[-2][0] < 0.5:
            self._samples.pop()
        self._samples.append((now, made))
        while len(self._samples) > 2 and now - self._samples[1][0] > SPEED_WINDOW_SECONDS:
            self._samples.popleft()

    def _all_agents(self) -> list[_Agent]:
        return [agent for agents in self._agents.values() for agent in agents.values()]

    def seeds(self, variant: str) -> str:
        """Say how many seeds of a variant are done, running and failed, out of how many."""
        states = [agent.state for agent in self._agents[variant].values()]
        total = max(self._expected.get(variant, 0), len(states))
        counts = {
            "done": states.count("finished"),
            "running": states.count("running"),
            "failed": states.count("failed"),
        }
        said = [f"{count} {word}" for word, count in counts.items() if count]
        if len(said) == 1 and sum(counts.values()) == total:
            return f"{total}/{total} {said[0].split()[1]}"
        return f"{', '.join(said)} of {total}" if said else f"{total} waiting"

    def is_running(self, variant: str) -> bool:
        """Tell whether any seed of a variant is being trained."""
        return any(agent.state == "running" for agent in self._agents[variant].values())

    def value(self, variant: str, name: str) -> tuple[float, float] | None:
        """Return mean and standard deviation over the seeds that have not failed."""
        agents = [a for a in self._agents[variant].values() if a.state != "failed"]
        values = [getattr(a, name) for a in agents if getattr(a, name) is not None]
        if not values:
            return None
        return fmean(values), stdev(values) if len(values) > 1 else math.nan

    def share(self, variant: str | None = None) -> float:
        """Return the share of the steps that is made, of a variant or of all."""
        made, total = 0, 0
        for name in (variant,) if variant is not None else self.variants:
            agents = self._agents[name].values()
            waiting = max(0, self._expected.get(name, 0) - len(agents))
            # A failed run makes no more steps, so it must not hold the bar back for ever.
            made += sum(agent.step for agent in agents)
            total += waiting * self._steps_of(name)
            total += sum(a.step if a.state == "failed" else a.total_steps for a in agents)
        return min(1.0, made / total) if total else 0.0

    def remaining_steps(self) -> int:
        """Return the steps that all seeds together have yet to make."""
        agents = self._all_agents()
        known = {name: len(agents) for name, agents in self._agents.items()}
        waiting = sum(
            max(0, n - known[name]) * self._steps_of(name) for name, n in self._expected.items()
        )
        left = sum(max(0, a.total_steps - a.step) for a in agents if a.state == "running")
        return waiting + left

    def steps_per_second(self) -> float | None:
        """Return the recent speed of all seeds together, None until it can be measured."""
        if len(self._samples) < 2:
            return None
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end - start) if end > start and after > before else None

    def overall(self) -> str:
        """Return one line on all seeds together: share, speed, time passed and time left."""
        speed, left = self.steps_per_second(), self.remaining_steps()
        parts = [f"{self.share():.0%}"]
        waits = "compiling" if self.compiling else "measuring speed"
        parts.append(f"{format_count(speed)} steps/s" if speed else waits)
        parts.append(f"elapsed {format_duration(self.clock() - self.started)}")
        if speed and left:
            parts.append(f"time left {format_duration(left / speed)}")
        return " | ".join(parts)


def _finite(value: float | None, otherwise: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else otherwise
