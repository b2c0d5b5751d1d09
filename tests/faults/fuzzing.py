"""What fuzzers share: seeds, inputs that differ, and the one error that may come of them.

`ROBUSTPO_FUZZ_EXAMPLES` sets the number of inputs; with it they are new ones every time. Only
inputs that differ are counted.
"""

import contextlib
import os
import random
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from robustpo.errors import ConfigError, StorageError

INPUTS = int(os.environ.get("ROBUSTPO_FUZZ_EXAMPLES", "30000"))
# Inputs of one Hypothesis example, which costs more than most inputs.
BATCH = 20
# What one input may take at the very most: a hang, on however slow a machine.
SECONDS = 20
SHARES = {
    "tensors": 0.36,
    "policy": 0.2,
    "identity": 0.1,
    "state": 0.1,
    "runs": 0.16,
    "checkpoint": 0.04,
    "study": 0.04,
    "file of a study": 0.04,
    "links": 0.003,
    "screen": 0.0014,
}

seen: set[int] = set()
counts: Counter[str] = Counter()
refused: Counter[str] = Counter()


def fuzz(share: str) -> Callable[[Callable], Callable]:
    """Give a test one seed after another, `BATCH` inputs each."""

    def decorate(test: Callable) -> Callable:
        count = max(1, round(INPUTS * SHARES[share] / BATCH))
        return settings(
            max_examples=count,
            deadline=None,
            database=None,
            derandomize="ROBUSTPO_FUZZ_EXAMPLES" not in os.environ,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow],
        )(given(seed=st.integers(0, 2**64 - 1))(test))

    return decorate


def inputs(target: str, seed: int, make: Callable[[random.Random], Any]) -> Iterator[Any]:
    """Yield a batch of inputs that were not seen before."""
    rng = random.Random(seed)
    for _ in range(BATCH):
        made = make(rng)
        key = hash((target, made))
        if key not in seen:
            seen.add(key)
            counts[target] += 1
            yield made


@contextlib.contextmanager
def one_clear_error(target: str) -> Iterator[SimpleNamespace]:
    """Let nothing but one short line of `ConfigError` out, and nothing take long."""

    def hang(*_: Any) -> None:
        raise AssertionError(f"it took more than {SECONDS} seconds")

    outcome = SimpleNamespace(refused=False)
    previous = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield outcome
    except (ConfigError, StorageError) as error:
        outcome.refused = True
        refused[target] += 1
        text = str(error)
        assert len(text) < 2000 and "\n" not in text and "\x1b" not in text, text[:3000]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def say_how_many(pytestconfig: pytest.Config) -> Iterator[None]:
    """Say how many inputs a module made and how many of them were refused; a fixture's body."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    each = ", ".join(f"{name} {counts[name]:,} ({refused[name]:,} refused)" for name in counts)
    capture: Any = pytestconfig.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        total = sum(counts.values())
        print(f"\nfuzzed with {total:,} inputs: {each}; memory grew {grown:.0f} MiB")
    # JAX and the programs of the one training take some 300 of it.
    assert grown < 800
