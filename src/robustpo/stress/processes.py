"""Worker processes that measure, one per core; the parent hands out requests and takes answers."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from robustpo.base.json_text import to_json
from robustpo.errors import ConfigError, TrainingError

# One process per core: linear algebra with threads of its own would only get in the others' way.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
SECONDS_TO_END = 5.0

Request = dict[str, Any]
Answer = dict[str, Any]


def answered(requests: Sequence[Request], workers: int) -> Iterator[tuple[int, Answer]]:
    """Yield the number of each request with its answer, as they come.

    An answer has `scores`, or `died`: how the process ended that was to give it.

    Raises:
        ConfigError: if a request is refused.
        TrainingError: if no process can be started.
    """
    waiting: queue.SimpleQueue[tuple[int, Request]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Answer] | BaseException] = queue.SimpleQueue()
    for numbered in enumerate(requests):
        waiting.put(numbered)
    places = [_Place(waiting, done) for _ in range(min(workers, len(requests)))]
    for place in places:
        place.start()
    try:
        for _ in requests:
            found = done.get()
            if isinstance(found, BaseException):
                raise found
            if "refused" in found[1]:
                raise ConfigError(found[1]["refused"])
            yield found
    finally:
        for place in places:
            place.stop()
        for place in places:
            place.join()


class _Place(threading.Thread):
    """Keeps one worker process busy, and replaces it if it dies."""

    def __init__(self, waiting: queue.SimpleQueue, done: queue.SimpleQueue) -> None:
        super().__init__(daemon=True)
        self._waiting, self._done = waiting, done
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def run(self) -> None:
        try:
            while not self._stopped:
                number, request = self._waiting.get_nowait()
                self._done.put((number, self._ask(request)))
        except queue.Empty:
            pass
        except OSError as error:
            self._done.put(TrainingError(f"no process could be started to measure in: {error}"))
        finally:
            self._end()

    def stop(self) -> None:
        """End the process, whatever it is at; its thread then tidies up."""
        self._stopped = True
        process = self._process
        if process is not None:
            process.kill()

    def _end(self) -> int:
        """End the process and close its pipes; return its exit code, 0 if there is none."""
        process, self._process = self._process, None
        if process is None:
            return 0
        # One that has ended by itself is not there to be killed.
        process.kill()
        with contextlib.suppress(BrokenPipeError), process:
            pass
        return process.returncode

    def _ask(self, request: Request) -> Answer:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "robustpo.stress.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env=os.environ | ONE_THREAD,
            )
            if self._stopped:
                self._process.kill()
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(to_json(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        with contextlib.suppress(ValueError):
            # Half an answer is none.
            return json.loads(line)
        with contextlib.suppress(subprocess.TimeoutExpired):
            # It has closed its pipe, and is about to end.
            process.wait(SECONDS_TO_END)
        code = self._end()
        return {"died": f"signal {-code}" if code < 0 else f"exit code {code}"}
