"""What a person and a program see of runs while they are trained."""

from __future__ import annotations

import functools
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from robustpo.base.amounts import format_duration
from robustpo.base.naming import short_task, variant_labels
from robustpo.config.run import RunConfig
from robustpo.execution.interruption import Stopped
from robustpo.execution.progress import Progress
from robustpo.execution.worker_process import Event
from robustpo.policy.policy import POLICY_FILE, load_policy

logger = logging.getLogger(__name__)


class Watch:
    """Shows, tracks and hands on what happens.

    Args:
        pending: the runs that are trained, and where each is recorded.
        steps: simulator steps that are left of them.
        busy: how many processes train at once.
        shown: whether progress is shown.
        tracker: takes events for a tracker of experiments, or None.
        callback: called with the event of every iteration, the run's `directory` and what loads its
            `policy` as of its last checkpoint; False of it stops.

    Attributes:
        lost: why a worker has left a run unended, by the run's directory.
    """

    def __init__(
        self,
        pending: Mapping[RunConfig, Path],
        *,
        steps: int,
        busy: int,
        shown: bool,
        tracker: Any,
        callback: Callable[[Event], object] | None,
    ) -> None:
        self.lost: dict[Path, str] = {}
        self._steps, self._busy = steps, max(1, busy)
        self._tracker, self._callback = tracker, callback
        self._estimated = self._stopped = False
        self._labels = {place: label for (_, place), label in _labelled(pending)}
        steps_of = {label: config.total_steps for (config, _), label in _labelled(pending)}
        seeds = Counter(self._labels.values())
        self._one_task = len({config.task for config in pending}) == 1
        self._shown = shown
        # Nothing to train: the notes still say why, but there is nothing to watch.
        self._progress = Progress(dict(seeds), steps_of) if self._shown and pending else None

    def __enter__(self) -> Watch:
        (self._progress or nullcontext()).__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        (self._progress or nullcontext()).__exit__(*details)
        if self._tracker:
            self._tracker.close()

    def note(self, text: str) -> None:
        """Show a line of text."""
        if self._progress:
            self._progress.update({"kind": "note", "text": text})
        elif self._shown:
            print(text, file=sys.stderr)

    def warn(self, text: str) -> None:
        """Show a line of text; log it where nothing is shown, since something is lost."""
        if self._shown:
            self.note(text)
        else:
            logger.warning("%s", text)

    def on_event(self, event: Event, directory: Path | None) -> None:
        """Take in an event and the directory of the run it is about.

        Raises:
            Stopped: once, if the callback says so.
        """
        kind = event["kind"]
        if kind == "estimate":
            self._estimate(event["seconds_per_step"])
        elif kind == "failed" and event.get("lost") and directory is not None:
            self.lost[directory] = event["reason"]
        if self._tracker and directory is not None:
            self._tracker.update(event, directory)
        if event.get("status") == "interrupted":
            return
        if kind == "note":
            self.warn(event["text"])
        elif self._progress and kind in ("compiling", "started"):
            self._progress.update(event)
        elif self._progress and kind in ("iteration", "failed", "finished"):
            shown = {"kind": "progress"} if kind == "iteration" else {}
            if directory is not None:
                shown["variant"] = self._labels[directory]
            self._progress.update(event | shown)

        if self._callback and kind == "iteration" and directory is not None:
            policy = functools.partial(load_policy, directory / POLICY_FILE)
            said = self._callback(event | {"directory": directory, "policy": policy})
            # NumPy has a False of its own.
            if isinstance(said, bool | np.bool_) and not said and not self._stopped:
                self._stopped = True
                raise Stopped

    def _estimate(self, seconds_per_step: float) -> None:
        if self._estimated or not self._one_task:
            return
        self._estimated = True
        seconds = format_duration(self._steps * seconds_per_step / self._busy)
        self.note(f"estimate: about {seconds} of training after some seconds of compilation")


def _labelled(
    pending: Mapping[RunConfig, Path],
) -> Iterator[tuple[tuple[RunConfig, Path], str]]:
    """Name what is trained as briefly as it stays clear: the task too if there are several."""
    variants = list(dict.fromkeys(config.variant for config in pending))
    short = variant_labels(variants)[0] if variants else {}
    several = len({config.task for config in pending}) > 1
    for config, place in pending.items():
        label = short[config.variant]
        yield (config, place), f"{short_task(config.task)} {label}" if several else label
