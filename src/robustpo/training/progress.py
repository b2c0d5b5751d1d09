"""What a person sees while training runs: a live table in a terminal, a few lines elsewhere.

Everything is written to standard error, so that standard output holds only what a command was
asked for (`--json` stays clean). Whether standard error is a terminal decides which of the two
displays is used.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

Clock = Callable[[], float]
Event = Mapping[str, Any]

REFRESH_PER_SECOND = 4
# Lines outside a terminal: never closer than the first, at the latest after the second, and in
# between whenever the third share of all the steps has been made since the last.
LINE_GAP_SECONDS = 10.0
LINE_SILENCE_SECONDS = 120.0
LINE_SHARE = 0.05
# Speed is measured over this long, since agents report in bursts.
SPEED_WINDOW_SECONDS = 30.0


def format_duration(seconds: float) -> str:
    """Write a duration as people say it: `45 s`, `2 min 10 s`, `1 h 5 min`, `2 d 3 h`."""
    if not math.isfinite(seconds):
        return "unknown"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(whole / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


def format_count(count: float) -> str:
    """Write a count with three significant digits: `950`, `10.6k`, `1.5M`, `2B`."""
    if not math.isfinite(count):
        return "unknown"
    size, rounded = abs(count), float(f"{count:.3g}")
    if size < 999.5:
        return f"{rounded:g}"
    for unit, letter in ((1e3, "k"), (1e6, "M"), (1e9, "B")):
        if abs(rounded) < 1000 * unit or unit == 1e9:
            return f"{rounded / unit:g}{letter}"
    raise AssertionError("unreachable: the last unit takes every size")


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
        total_steps: steps of one run, for those that have not reported yet.
        clock: seconds from any origin.
    """

    def __init__(self, seeds: Mapping[str, int], total_steps: int, clock: Clock) -> None:
        self.clock = clock
        self.started = clock()
        self._total_steps = total_steps
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
        self._total_steps = max(self._total_steps, total)
        agent.step, agent.total_steps, agent.state = step, total, "running"
        agent.return_mean = _finite(event.get("return_mean"), agent.return_mean)
        agent.entropy = _finite(event.get("entropy"), agent.entropy)
        self._sample()

    def ended(self, event: Event, state: str) -> None:
        """Take in that a seed has `finished` or `failed`."""
        agents = self._agents.setdefault(event["variant"], {})
        step = int(event.get("step") or 0)
        agent = agents.setdefault(event["seed"], _Agent(step, step, self._total_steps))
        agent.state = state
        if state == "finished":
            # The steps up to the end are not new: a run found complete on disk took no time now.
            agent.first_step += agent.total_steps - agent.step
            agent.step = agent.total_steps
            agent.return_mean = _finite(event.get("final_return"), agent.return_mean)

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
        """Say how many seeds of a variant are running (or all done), out of how many."""
        states = [agent.state for agent in self._agents[variant].values()]
        total = max(self._expected.get(variant, 0), len(states))
        failed, done = states.count("failed"), states.count("finished")
        text = f"{states.count('running')}/{total} running"
        if done and done + failed == total:
            text = f"{done}/{total} done"
        return text if not failed else f"{text}, {failed} failed"

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
            total += waiting * self._total_steps
            total += sum(a.step if a.state == "failed" else a.total_steps for a in agents)
        return min(1.0, made / total) if total else 0.0

    def remaining_steps(self) -> int:
        """Return the steps that all seeds together have yet to make."""
        agents = self._all_agents()
        known = {name: len(agents) for name, agents in self._agents.items()}
        waiting = sum(max(0, n - known[name]) for name, n in self._expected.items())
        left = sum(max(0, a.total_steps - a.step) for a in agents if a.state == "running")
        return waiting * self._total_steps + left

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
        parts.append(f"{format_count(speed)} steps/s" if speed else "measuring speed")
        parts.append(f"elapsed {format_duration(self.clock() - self.started)}")
        if speed and left:
            parts.append(f"time left {format_duration(left / speed)}")
        return " | ".join(parts)


def _finite(value: float | None, otherwise: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else otherwise


class Progress:
    """Shows training to a person; a context manager fed with events.

    Events are plain mappings, told apart by `kind`:

    - `progress`: `variant`, `seed`, `step`, `total_steps`, `return_mean` and `entropy` (or None)
    - `note`: `text`, printed above the table
    - `failed`: `variant`, `seed`, `step`, `text`
    - `finished`: `variant`, `seed`, `final_return` (or None)

    Args:
        seeds: how many seeds each variant will train, so that waiting ones count as work left.
        total_steps: steps of one run, for the same reason.
        console: where to write; by default standard error. A terminal gets a live table,
            refreshed four times a second, anything else gets lines at least 10 seconds apart.
        clock: seconds from any origin.
    """

    def __init__(
        self,
        seeds: Mapping[str, int] | None = None,
        total_steps: int = 0,
        *,
        console: Console | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        console = console or Console(file=sys.stderr, highlight=False)
        self.state = ProgressState(seeds or {}, total_steps, clock)
        # The live table is drawn by a thread of its own.
        self._lock = threading.RLock()
        display = _LiveTable if console.is_terminal else _Lines
        self._display: _LiveTable | _Lines = display(self.state, console, self._lock)

    def __enter__(self) -> Self:
        self._display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._display.stop()

    def update(self, event: Event) -> None:
        """Take in one event.

        Raises:
            ValueError: if its kind is unknown.
        """
        kind, note = event["kind"], None
        with self._lock:
            if kind == "progress":
                self.state.progress(event)
            elif kind == "finished":
                self.state.ended(event, "finished")
            elif kind == "failed":
                self.state.ended(event, "failed")
                note = str(event["text"])
            elif kind == "note":
                note = str(event["text"])
            else:
                raise ValueError(
                    f"event kind={kind!r} is unknown; send progress, note, failed or finished"
                )
        if note is not None:
            self._display.note(note)
        self._display.updated()


class _LiveTable:
    """A table that is redrawn in place."""

    def __init__(self, state: ProgressState, console: Console, lock: threading.RLock) -> None:
        self._state, self._console, self._lock = state, console, lock
        self._live = Live(
            get_renderable=self._draw,
            console=console,
            refresh_per_second=REFRESH_PER_SECOND,
            # Output of the program itself is none of the display's business.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        self._console.print(Text(text))

    def updated(self) -> None:
        """Leave the drawing to the thread, which keeps the rate."""

    def _draw(self) -> RenderableType:
        with self._lock:
            # First what concerns all, since a low terminal cuts the table at its end.
            table = variant_table(self._state, self._console.width)
            return Group(Text(self._state.overall(), style="bold"), table)


def variant_table(state: ProgressState, width: int) -> Table:
    """Draw one row per variant; a narrow terminal loses the bar first, then the entropy."""
    with_entropy, with_bar = width >= 56, width >= 76
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    # Rich takes room from columns that may wrap first: names are cut before any number is. The
    # cells do not wrap, so every variant keeps to one line.
    table.add_column("variant")
    table.add_column("seeds", no_wrap=width >= 60)
    table.add_column("return", justify="right", no_wrap=True)
    if with_entropy:
        table.add_column("entropy", justify="right", no_wrap=True)
    if with_bar:
        table.add_column("", width=min(24, width - 70), no_wrap=True)
    table.add_column("done", justify="right", no_wrap=True)
    for variant in state.variants:
        share = state.share(variant)
        names = (variant, state.seeds(variant))
        cells: list[RenderableType] = [
            Text(name, no_wrap=True, overflow="ellipsis") for name in names
        ]
        cells.append(Text(_spread(state.value(variant, "return_mean"))))
        if with_entropy:
            cells.append(Text(_centre(state.value(variant, "entropy"))))
        if with_bar:
            cells.append(ProgressBar(total=1.0, completed=share))
        table.add_row(*cells, Text(f"{share:.0%}"))
    return table


def _spread(value: tuple[float, float] | None) -> str:
    if value is None:
        return "-"
    mean, deviation = value
    digits = 0 if abs(mean) >= 100 else 1
    return f"{mean:.{digits}f}" + ("" if math.isnan(deviation) else f" ± {deviation:.{digits}f}")


def _centre(value: tuple[float, float] | None) -> str:
    return "-" if value is None else f"{value[0]:.2f}"


class _Lines:
    """A line now and then, for files and pipes."""

    def __init__(self, state: ProgressState, console: Console, lock: threading.RLock) -> None:
        self._state, self._console, self._lock = state, console, lock
        self._last: tuple[float, float] | None = None

    def start(self) -> None:
        """Wait for the first event, so that nothing is said before there is something to say."""

    def stop(self) -> None:
        with self._lock:
            self._write()

    def note(self, text: str) -> None:
        self._print(text)

    def updated(self) -> None:
        with self._lock:
            if self._is_due():
                self._write()

    def _is_due(self) -> bool:
        if not self._state.variants:
            return False
        if self._last is None:
            return True
        seconds = self._state.clock() - self._last[0]
        # Shares are sums of rounded numbers.
        moved = self._state.share() - self._last[1] >= LINE_SHARE - 1e-9
        return seconds >= LINE_SILENCE_SECONDS or (seconds >= LINE_GAP_SECONDS and moved)

    def _write(self) -> None:
        self._last = (self._state.clock(), self._state.share())
        parts = [self._state.overall()]
        for variant in self._state.variants:
            shown = _spread(self._state.value(variant, "return_mean"))
            parts.append(f"{variant} {shown} ({self._state.seeds(variant)})")
        self._print(" | ".join(parts))

    def _print(self, text: str) -> None:
        # A line of a log is one line, however long.
        self._console.print(Text(text), soft_wrap=True)
