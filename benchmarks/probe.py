"""One measuring process, pinned to one core: `python probe.py '{"kind": "train", …}'`.

It prints `{"ready": true}` when everything is compiled and warm, waits for a line on standard
input, measures, and prints its numbers as one more line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from stopwatch import Stopwatch, say

ROLLOUT = 2048


def main() -> None:
    """Measure what the first argument describes."""
    order = json.loads(sys.argv[1])
    # Before anything that starts threads is imported: they inherit the core.
    os.sched_setaffinity(0, {order["core"]})
    measure = {
        "train": measure_training,
        "bare": measure_simulator,
        "sb3": measure_peer,
        "update": measure_updates,
    }
    say(measure[order["kind"]](order["task"], order["agents"], order["seconds"]))


def measure_training(task: str, agents: int, seconds: float) -> dict[str, float]:
    """Run what a worker runs, records on disk included; also report its peak memory."""
    from robustpo.config.run import make_config
    from robustpo.execution.worker import train_shard
    from robustpo.runs.record import run_directory

    configs = [make_config(task, "rpo", seed=seed) for seed in range(agents)]
    watch = Stopwatch(ROLLOUT * agents, warm_up=2, seconds=seconds)
    with tempfile.TemporaryDirectory() as out:
        train_shard(
            configs,
            [run_directory(Path(out), config) for config in configs],
            emit=lambda event: None,
            should_stop=watch.tick,
        )
    return watch.result() | {"MiB": peak_mib()}


def measure_simulator(task: str, agents: int, seconds: float) -> dict[str, float]:
    """Step the same pool inside one `lax.scan` with uniform random actions drawn in the program."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from robustpo.environments.envpool import EnvPoolEnvironment
    from robustpo.training.compilation import compiler_options

    environment = EnvPoolEnvironment(task, list(range(1, agents + 1)))
    low = np.asarray(environment.spec.action_low, np.float32)
    high = np.asarray(environment.spec.action_high, np.float32)

    def scan(simulator: Any, key: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        key, actions_key = jax.random.split(key)
        shape = (ROLLOUT, agents, low.size)
        actions = jax.random.uniform(actions_key, shape, minval=low, maxval=high)

        def step(carry: Any, action: jax.Array) -> tuple[Any, jax.Array]:
            carry, result = environment.step(carry, action)
            return carry, jnp.sum(result.obs) + jnp.sum(result.reward)

        simulator, sums = jax.lax.scan(step, simulator, actions)
        return simulator, key, jnp.sum(sums)

    simulator, _ = environment.init()
    key = jax.random.key(0)
    program = jax.jit(scan, compiler_options=compiler_options())
    watch = Stopwatch(ROLLOUT * agents, warm_up=2, seconds=seconds)
    while not watch.tick():
        simulator, key, total = program(simulator, key)
        total.block_until_ready()
    return watch.result()


def measure_peer(task: str, agents: int, seconds: float) -> dict[str, float]:
    """Train Stable-Baselines3's PPO with the same settings on one environment of the same task."""
    from peer_sb3 import make_model

    assert agents == 1, f"agents={agents}; the peer trains one agent per process"
    model = make_model(task)
    # Its first tick is before its first iteration, which warms up.
    watch = Stopwatch(ROLLOUT, warm_up=2, seconds=seconds)
    while not watch.tick():
        model.learn(ROLLOUT, reset_num_timesteps=False)
    return watch.result()


def measure_updates(task: str, agents: int, seconds: float) -> dict[str, float]:
    """Time the update of every method of the plan."""
    from plan import UPDATE_METHODS
    from updates import measure

    assert agents == 1, f"agents={agents}; updates are timed of one agent"
    return measure(task, UPDATE_METHODS, seconds)


def peak_mib() -> float:
    """Return the largest resident memory that this process has had, VmHWM, in MiB."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM; peak memory is measured on Linux only")


if __name__ == "__main__":
    main()
    # Daemon threads of simulators may outlive the interpreter's teardown.
    sys.stdout.flush()
    os._exit(0)
