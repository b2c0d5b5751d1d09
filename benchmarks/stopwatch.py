"""Timing of a loop after its warm-up, begun when the parent process says so."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping

FEWEST_ITERATIONS = 2


class Stopwatch:
    """Counts iterations of a loop: `while not watch.tick(): iterate()`, or asked after each.

    Args:
        steps: simulator steps of one iteration.
        warm_up: ticks that are not timed; after the last, the process reports that it is ready and
            waits for a line on standard input, so that several processes are timed together.
        seconds: how long to time, at least; two whole iterations in any case.
    """

    def __init__(self, steps: int, *, warm_up: int, seconds: float) -> None:
        self._steps = steps
        self._warm_up = warm_up
        self._seconds = seconds
        self._ticks = 0
        self._start = 0.0
        self._cpu_start = 0.0
        self.cpu = 0.0
        self.elapsed = 0.0

    @property
    def timed(self) -> int:
        """Iterations timed so far."""
        return self._ticks - self._warm_up

    def tick(self) -> bool:
        """Note that an iteration has ended; return whether enough has been timed."""
        self._ticks += 1
        if self.timed < 0:
            return False
        if self.timed == 0:
            say({"ready": True})
            sys.stdin.readline()
            self._start, self._cpu_start = time.perf_counter(), time.process_time()
            return False
        self.elapsed = time.perf_counter() - self._start
        self.cpu = time.process_time() - self._cpu_start
        return self.elapsed >= self._seconds and self.timed >= FEWEST_ITERATIONS

    def result(self) -> dict[str, float]:
        """Return the speed, what it was measured over, and the share of its core that it got.

        Speed is per second of wall-clock time, and per second that the core worked for this
        process: what others took of it does not count.
        """
        return {
            "steps/s": self.timed * self._steps / self.elapsed,
            "steps/core-s": self.timed * self._steps / self.cpu,
            "iterations": self.timed,
            "seconds": self.elapsed,
            "core": self.cpu / self.elapsed,
        }


def say(message: Mapping[str, object]) -> None:
    """Tell the parent process something."""
    print(json.dumps(message), flush=True)
