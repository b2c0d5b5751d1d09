"""What a person sees while training runs: a live table in a terminal, a few lines elsewhere.

Everything is written to standard error, so that standard output holds only what a command was
asked for (`--json` stays clean). Whether standard error is a terminal decides which of the two
displays is used.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from robustpo.base.console import make_console
from robustpo.execution.progress_state import Clock, Event, ProgressState

REFRESH_PER_SECOND = 4
# Lines outside a terminal: never closer than the first, at the latest after the second, and in
# between whenever the third share of all the steps has been made since the last.
LINE_GAP_SECONDS = 10.0
LINE_SILENCE_SECONDS = 120.0
LINE_SHARE = 0.05
# Rows of a terminal that the table has to leave free, and variants that fit one line of a log.
ROWS_BESIDE = 5
VARIANTS_IN_LINE = 12


class Progress:
    """Shows training to a person; a context manager fed with events.

    Events are plain mappings, told apart by `kind`:

    - `compiling` and `started`: a process compiles its program, or has done so
    - `progress`: `variant`, `seed`, `step`, `total_steps`, `return_mean` and `entropy` (or None)
    - `note`: `text`, printed above the table
    - `failed`: `variant`, `seed`, `step`, `text`
    - `finished`: `variant`, `seed`, `final_return` (or None)

    Args:
        seeds: how many seeds each variant will train, so that waiting ones count as work left.
        total_steps: steps of one run of each variant, for the same reason.
        console: where to write; by default standard error. A terminal gets a live table,
            refreshed four times a second, anything else gets lines at least 10 seconds apart.
        clock: seconds from any origin.
    """

    def __init__(
        self,
        seeds: Mapping[str, int] | None = None,
        total_steps: Mapping[str, int] | None = None,
        *,
        console: Console | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        console = console or make_console(stderr=True)
        self.state = ProgressState(seeds or {}, total_steps or {}, clock)
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
                note = event["text"]
            elif kind in ("compiling", "started"):
                self.state.compiling += 1 if kind == "compiling" else -1
            elif kind == "note":
                note = str(event["text"])
            else:
                raise ValueError(
                    f"event kind={kind!r} is unknown; send compiling, started, progress, note, "
                    "failed or finished"
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
            room = max(1, self._console.height - ROWS_BESIDE)
            variants, left_out = shown_variants(self._state, room)
            table = variant_table(self._state, self._console.width, variants)
            parts: list[RenderableType] = [Text(self._state.overall(), style="bold"), table]
            if left_out:
                parts.append(Text(left_out, style="dim"))
            return Group(*parts)


def shown_variants(state: ProgressState, room: int) -> tuple[tuple[str, ...], str]:
    """Return the variants that there is room for, running ones first, and words for the others."""
    if len(state.variants) <= room:
        return state.variants, ""
    running = [name for name in state.variants if state.is_running(name)]
    done = [name for name in state.variants if state.share(name) >= 1.0]
    kept = set([*running, *(n for n in state.variants if n not in running)][:room])
    waiting = len(state.variants) - len(running) - len([n for n in done if n not in running])
    words = f"{len(running)} running, {len(done)} done, {waiting} waiting"
    return tuple(name for name in state.variants if name in kept), words


def variant_table(state: ProgressState, width: int, variants: Sequence[str] | None = None) -> Table:
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
    for variant in state.variants if variants is None else variants:
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
        variants, left_out = shown_variants(self._state, VARIANTS_IN_LINE)
        parts += [left_out] if left_out else []
        for variant in variants:
            shown = _spread(self._state.value(variant, "return_mean"))
            parts.append(f"{variant} {shown} ({self._state.seeds(variant)})")
        self._print(" | ".join(parts))

    def _print(self, text: str) -> None:
        # A line of a log is one line, however long.
        self._console.print(Text(text), soft_wrap=True)
