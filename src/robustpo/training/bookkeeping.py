"""What is remembered of one agent while it trains: averages for its rows, recent returns."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from robustpo.algorithm.metrics import AVERAGED
from robustpo.base.files import one_line
from robustpo.config.run import RunConfig
from robustpo.errors import ConfigError
from robustpo.training.information_log import RECENT_EPISODES, InformationLog

MAX_ROWS = 500

# The columns that every run's metrics have: counts are whole numbers, all others are real. What its
# environments say of episodes comes beside them (`information_log`).
COUNTS = ("step", "transitions", "episodes")
COLUMNS = (
    "step",
    "transitions",
    "seconds",
    "episodes",
    "return_mean",
    "length_mean",
    *AVERAGED,
)


class AgentLog:
    """Averages iterations into at most `MAX_ROWS` rows and keeps the last 100 returns.

    Args:
        config: the run.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.step = 0
        self.transitions = 0
        self.episodes = 0
        self.recent_returns: deque[float] = deque(maxlen=RECENT_EPISODES)
        # The step at which the entropy first collapsed or exploded.
        self.alarms: dict[str, int] = {}
        # What the environments say of episodes.
        self.information = InformationLog()
        self._iterations_per_row = math.ceil(config.num_iterations / MAX_ROWS)
        self._start_row()

    def _start_row(self) -> None:
        self._iterations = 0
        self._sums = dict.fromkeys(AVERAGED, 0.0)
        self._counts = dict.fromkeys(AVERAGED, 0)
        self._returns: list[float] = []
        self._lengths: list[float] = []

    def add(
        self,
        transitions: int,
        returns: Sequence[float],
        lengths: Sequence[float],
        metrics: Mapping[str, float],
    ) -> None:
        """Take in one iteration."""
        self.step += self.config.shape.batch_size
        self.transitions += transitions
        self.episodes += len(returns)
        self.recent_returns.extend(returns)
        self._returns.extend(returns)
        self._lengths.extend(lengths)
        self._iterations += 1
        for name in AVERAGED:
            if math.isfinite(metrics.get(name, math.nan)):
                self._sums[name] += metrics[name]
                self._counts[name] += 1

    def take_row(self, seconds: float, *, final: bool = False) -> dict[str, Any] | None:
        """Return the finished row and start the next, or None while it is being filled.

        Args:
            seconds: training time so far.
            final: whether to close a row that is not full.
        """
        full = self._iterations >= self._iterations_per_row
        if not full and not (final and self._iterations):
            return None
        row = {
            "step": self.step,
            "transitions": self.transitions,
            "seconds": seconds,
            "episodes": self.episodes,
            "return_mean": _mean(self._returns),
            "length_mean": _mean(self._lengths),
        }
        for name in AVERAGED:
            row[name] = self._sums[name] / self._counts[name] if self._counts[name] else math.nan
        row |= self.information.take_row()
        self._start_row()
        return row

    def state(self) -> dict[str, Any]:
        """Return everything that is remembered, as JSON has it."""
        return {
            "step": self.step,
            "transitions": self.transitions,
            "episodes": self.episodes,
            "recent_returns": list(self.recent_returns),
            "alarms": self.alarms,
            "iterations": self._iterations,
            "sums": self._sums,
            "counts": self._counts,
            "returns": self._returns,
            "lengths": self._lengths,
            "information": self.information.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned.

        Raises:
            ConfigError: if it is not that.
        """
        try:
            step, transitions, episodes, iterations = (
                _count(state[name]) for name in ("step", "transitions", "episodes", "iterations")
            )
            recent, returns, lengths = (
                [float(x) for x in state[name]] for name in ("recent_returns", "returns", "lengths")
            )
            # What an earlier version did not average has not been seen yet.
            sums = {name: float(state["sums"].get(name, 0)) for name in AVERAGED}
            counts = {name: _count(state["counts"].get(name, 0)) for name in AVERAGED}
            alarms = {name: _count(at) for name, at in dict(state["alarms"]).items()}
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ConfigError(
                f"its log of the agent is not complete ({one_line(error)})"
            ) from error
        if step % self.config.shape.batch_size or step > self.config.total_steps:
            raise ConfigError("the step it stands at is no end of an iteration")
        if max(transitions, episodes, iterations, *counts.values(), *alarms.values()) > step:
            raise ConfigError("it counts more than its steps")
        if not alarms.keys() <= {"collapsed", "exploded"}:
            raise ConfigError("it holds an alarm of another kind")
        self.information.restore(state.get("information"))
        self.step, self.transitions, self.episodes = step, transitions, episodes
        self.recent_returns = deque(recent, maxlen=RECENT_EPISODES)
        self.alarms = alarms
        self._iterations, self._sums, self._counts = iterations, sums, counts
        self._returns, self._lengths = returns, lengths

    @property
    def final_return(self) -> float:
        """Mean over the last 100 training episodes; NaN if none has ended."""
        return _mean(self.recent_returns)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a count is not a whole number from 0 on")
    return value


def _mean(values: Sequence[float] | deque[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
