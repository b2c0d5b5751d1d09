"""Time of one action of one policy, in NumPy and in each exported format.

    python benchmarks/acting.py RUN_OR_POLICY [--repeats 5]

One observation at a time, as a robot's loop has it, in one process on one core. C is called in a
loop of its own, compiled with -O2; the others from Python. Written to
`benchmarks/results/acting.md`.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import robustpo

OUT = Path(__file__).parent / "results" / "acting.md"
SECONDS = 0.5
LOOP = """
#include "policy.h"
void many(const float *obs, float *action, int count) {
    for (int i = 0; i < count; i++) policy_act(obs, action);
}
"""


def main() -> None:
    """Time every format in turn and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("policy")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    policy = robustpo.load_policy(chosen.policy)
    obs = np.random.default_rng(0).normal(size=policy.observation_size).astype(np.float32)
    with tempfile.TemporaryDirectory() as place:
        for to in ("onnx", "c", "stablehlo"):
            robustpo.export(policy, to, out=place)
        ways = make_ways(policy, obs, Path(place))
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(chosen.repeats):
            for name, way in ways.items():
                found[name].append(way())
    hidden = [policy.tensors[f"actor.{i}.weight"].shape[1] for i in range(2)]
    lines = [
        "# Time of one action",
        "",
        f"`python benchmarks/acting.py RUN --repeats {chosen.repeats}`: a policy of "
        f"{policy.observation_size} observations, layers of {hidden[0]} and {hidden[1]}, "
        f"{policy.action_size} actions; medians of microseconds, one observation at a time, on one "
        "core of a shared machine, measured in turn in one process.",
        "",
        "| format | µs | against NumPy |",
        "| --- | ---: | ---: |",
    ]
    base = statistics.median(found["Policy (NumPy)"])
    for name, values in found.items():
        middle = statistics.median(values)
        lines.append(f"| {name} | {middle:.2f} | {middle / base:.3f} |")
    OUT.write_text("\n".join(lines) + "\n")
    print(OUT.read_text())


def make_ways(policy: Any, obs: np.ndarray, place: Path) -> dict[str, Callable[[], float]]:
    """Return what times each format, in microseconds an action."""
    import jax
    import onnxruntime
    from jax import export

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(place / "policy.onnx", options)
    loaded = export.deserialize(bytearray((place / "policy.stablehlo").read_bytes()))
    compiled = jax.jit(loaded.call)
    batch = obs[None]
    if [one.name for one in session.get_inputs()] != ["obs"]:
        raise SystemExit("choose a policy that observes one vector")
    (place / "loop.c").write_text(LOOP)
    flags = ["-std=c99", "-O2", "-shared", "-fPIC", "loop.c", "-o", "loop.so", "-lm"]
    subprocess.run(["cc", *flags], cwd=place, check=True)
    library = ctypes.CDLL(str(place / "loop.so"))
    action = np.zeros(policy.action_size, np.float32)
    pointers = [x.ctypes.data_as(ctypes.c_void_p) for x in (obs, action)]
    return {
        "Policy (NumPy)": lambda: timed(lambda: policy(obs)),
        "onnxruntime, from Python": lambda: timed(lambda: session.run(None, {"obs": batch})),
        "StableHLO through JAX, from Python": lambda: timed(lambda: np.asarray(compiled(batch))),
        "C": lambda: timed(lambda: library.many(*pointers, 1000)) / 1000,
    }


def timed(function: Callable[[], Any], seconds: float = SECONDS) -> float:
    """Return the microseconds of a call."""
    function()
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        function()
        count += 1
    return elapsed / count * 1e6


if __name__ == "__main__":
    main()
