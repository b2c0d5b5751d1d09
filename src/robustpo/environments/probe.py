"""A short walk in an environment, whose numbers say whether it is still the same one.

The seed and the actions are fixed. It is taken in an instance that is there anyway, before its
first reset, and repeated: where the same seed does not lead to the same numbers, they say nothing.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from robustpo.environments.base import Environment
from robustpo.environments.sameness import difference
from robustpo.environments.watchdog import about_to_call
from robustpo.errors import SimulatorError

STEPS = 32
SEED = 20_260
# What stepping may take in all; simulators that need longer are not judged by what they do.
SECONDS = 3.0
# Numbers kept of each observation; of longer ones every so many, and the mean of all sizes.
KEPT = 48
# Bounds beyond are none to speak of.
FAR = 1e6
# Shares by which recorded numbers may differ: two processors round the sums of a simulator in
# float64 differently, and those of one in float32 sooner.
TOLERANCE, TOLERANCE_FLOAT32 = 1e-5, 1e-3

_GOLDEN = 0.6180339887498949

Reset = Callable[[], np.ndarray]
Taken = tuple[np.ndarray, float, bool, bool]
Take = Callable[[np.ndarray], Taken]


class Probed(Environment):
    """Environments of the user's own, which are asked what they are before they are trained on."""

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what the environments say of themselves, as plain data."""

    @abc.abstractmethod
    def probe_reset(self, index: int, seed: int) -> np.ndarray:
        """Reset one environment with a seed; what training does afterwards is not changed by it.

        Returns:
            The observation, `[O]` float64.
        """

    @abc.abstractmethod
    def probe_step(self, index: int, action: np.ndarray) -> Taken:
        """Step one environment with an action `[A]`.

        Returns:
            The observation `[O]` float64, the reward, and whether it is terminated and truncated.
        """


class Unusable(Exception):
    """The walk says nothing of the environment; the text says why."""


def behaviour(environment: Probed) -> dict[str, Any]:
    """Walk the first environment twice and the last one once; return what they showed.

    Raises:
        Unusable: if they are not repeatable, too slow, or raise.
    """
    deadline = time.monotonic() + SECONDS
    low, high = environment.spec.action_low, environment.spec.action_high

    def walk(index: int) -> list[str]:
        steps = walked(
            lambda: environment.probe_reset(index, SEED),
            lambda action: environment.probe_step(index, action),
            low,
            high,
        )
        rows = []
        for row in steps:
            rows.append(row)
            if time.monotonic() > deadline:
                raise Unusable(f"its first {STEPS} steps take more than {SECONDS:.0f} s")
        return rows

    try:
        first = walk(0)
        if difference(first, walk(0), TOLERANCE):
            raise Unusable("the same seed and actions do not lead to the same numbers")
        last = environment.num_envs - 1
        if last and difference(first, walk(last), TOLERANCE):
            raise Unusable("its constructor does not make the same environment twice")
    except SimulatorError as error:
        raise Unusable(f"it cannot be stepped ({error})") from error
    return {"tolerance": TOLERANCE, "steps": first}


def walked(reset: Reset, step: Take, low: Any, high: Any, *, resets: bool = True) -> Iterator[str]:
    """Reset, step and reset again where an episode ends; yield a row of text for every step.

    A row holds the reward, the flags, and the observation that the action led to; the row of a
    reset has neither reward nor flags: `reset 0.1 0.2`, `-0.5 . 0.1 0.2`, `1 terminated 0.1 0.2`.

    Args:
        reset: resets; returns an observation `[O]`.
        step: steps with an action `[A]`.
        low: lower bounds of the action, `A` numbers.
        high: upper bounds of the action.
        resets: whether an episode's end has to be followed by a reset.
    """
    yield f"reset {_numbers(reset())}"
    for action in actions(low, high):
        about_to_call()
        obs, reward, terminated, truncated = step(action)
        flags = "+".join(["terminated"] * terminated + ["truncated"] * truncated) or "."
        yield f"{reward:.7g} {flags} {_numbers(obs)}"
        if resets and (terminated or truncated):
            yield f"reset {_numbers(reset())}"


def actions(low: Any, high: Any) -> np.ndarray:
    """Return fixed actions that fill the bounds evenly, within ±1 where there are none.

    They come from no generator, whose stream another version might change.
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    has_low, has_high = np.abs(low) < FAR, np.abs(high) < FAR
    below = np.where(has_low, low, np.minimum(-1.0, np.where(has_high, high, 1.0) - 2.0))
    above = np.where(has_high, high, np.maximum(1.0, np.where(has_low, low, -1.0) + 2.0))
    counts = np.arange(1, STEPS + 1)[:, None] * np.arange(1, len(low) + 1)
    return (below + (counts * _GOLDEN % 1.0) * (above - below)).astype(np.float32)


def _numbers(obs: np.ndarray) -> str:
    flat = np.asarray(obs, np.float64).ravel()
    stride = -(-len(flat) // KEPT) or 1
    kept = flat[::stride].tolist()
    if stride > 1:
        kept.append(float(np.mean(np.abs(flat))))
    return " ".join(f"{number:.7g}" for number in kept)
