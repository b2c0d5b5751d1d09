"""A vector of eight environments: robustpo against its bare stepping, and against a peer.

    python benchmarks/vectors.py [--repeats 3] [--core 0]

Every measurement runs in a process of its own, pinned to one core, all of them in turn, so that
what the machine does meanwhile falls on all. Stable-Baselines3 steps the same environments in its
own DummyVecEnv, which is what it takes; its Python is that of `.venv-stacks`, which has to find
MuJoCo (PYTHONPATH). Settings of both are those of the published protocol, with 256 steps per
environment: 2,048 rows a rollout. Written to `benchmarks/results/vectors.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PEER = HERE.parent / ".venv-stacks" / "bin" / "python"
OUT = HERE / "results" / "vectors.md"
TASKS = {"Pendulum-v1": 61_440, "HalfCheetah-v5": 40_960, "Humanoid-v5": 24_576}
KINDS = ("bare", "robustpo", "wrapped", "sb3")
NUM_ENVS, NUM_STEPS = 8, 256


def main() -> None:
    """Measure everything in turn and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "TASK"))
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measure(*chosen.measure)))
        return
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(chosen.repeats):
        for task in TASKS:
            for kind in KINDS:
                rate = in_process(kind, task, chosen.core)
                found.setdefault((task, kind), []).append(rate)
                print(f"{task} {kind} {rate:,.0f} steps/s", flush=True)
    OUT.write_text(table(found, chosen.repeats))
    print(OUT.read_text())


def in_process(kind: str, task: str, core: int) -> float:
    """Measure in a process of its own on one core."""
    python = str(PEER) if kind == "sb3" else sys.executable
    done = subprocess.run(
        ["taskset", "-c", str(core), python, __file__, "--measure", kind, task],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def table(found: dict[tuple[str, str], list[float]], repeats: int) -> str:
    """Return medians of steps/s and of the ratios within a repetition."""
    lines = [
        "# A vector of eight environments on one core",
        "",
        f"`python benchmarks/vectors.py --repeats {repeats}`: environment steps a second, medians; "
        "ratios are medians over repetitions of numbers measured one after the other on one core "
        "of a shared machine. `SyncVectorEnv` of Gymnasium; stepped singly it is brought back "
        "exactly after a stop, through the vector's own interface it is not.",
        "",
        "| task | bare, random actions | robustpo | robustpo, the vector's interface "
        "| Stable-Baselines3 | robustpo / bare | robustpo / Stable-Baselines3 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for task in TASKS:
        rates = {kind: found[task, kind] for kind in KINDS}
        cells = [f"{statistics.median(rates[kind]):,.0f}" for kind in KINDS]
        ratios = [
            statistics.median(a / b for a, b in zip(rates["robustpo"], rates[base], strict=True))
            for base in ("bare", "sb3")
        ]
        lines.append(f"| {task} | {' | '.join(cells)} | {ratios[0]:.2f} | {ratios[1]:.1f} |")
    return "\n".join(lines) + "\n"


def measure(kind: str, task: str) -> float:
    """Return steps a second, without what comes before the first rollout has ended."""
    return {"bare": bare, "sb3": peer}.get(kind, own)(task, kind)


def bare(task: str, kind: str) -> float:
    """Step the vector with random actions."""
    del kind
    import gymnasium
    import numpy as np

    steps = TASKS[task] // NUM_ENVS
    vector: Any = gymnasium.make_vec(task, num_envs=NUM_ENVS, vectorization_mode="sync")
    vector.reset(seed=0)
    actions = np.random.default_rng(0).uniform(
        vector.action_space.low, vector.action_space.high, (64, *vector.action_space.shape)
    )
    start = time.perf_counter()
    for step in range(steps):
        vector.step(actions[step % 64].astype(np.float32))
    return steps * NUM_ENVS / (time.perf_counter() - start)


def own(task: str, kind: str) -> float:
    """Train one agent on it."""
    import gymnasium

    from robustpo.config.run import make_config
    from robustpo.environments.make import make_environment
    from robustpo.training.trainer import Trainer

    def make():
        vector = gymnasium.make_vec(task, num_envs=NUM_ENVS, vectorization_mode="sync")
        return gymnasium.vector.VectorWrapper(vector) if kind == "wrapped" else vector

    config = make_config(task, num_envs=NUM_ENVS, num_steps=NUM_STEPS, steps=TASKS[task])
    environment = make_environment(make, [1] * NUM_ENVS, per_agent=NUM_ENVS)
    events: list[tuple[float, int]] = []
    trainer = Trainer(
        [config],
        constructor=make,
        environment=environment,
        emit=lambda event: note(event, events),
    )
    trainer.run()
    return rate(events)


def note(event: dict, events: list[tuple[float, int]]) -> None:
    """Note when an iteration ended."""
    if event["kind"] == "iteration":
        events.append((time.perf_counter(), event["step"]))


def peer(task: str, kind: str) -> float:
    """Train Stable-Baselines3's PPO on the same environments."""
    del kind
    import gymnasium
    import torch  # pyright: ignore[reportMissingImports]
    from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.callbacks import (  # pyright: ignore[reportMissingImports]
        BaseCallback,
    )
    from stable_baselines3.common.vec_env import (  # pyright: ignore[reportMissingImports]
        DummyVecEnv,
        VecNormalize,
    )

    torch.set_num_threads(1)
    events: list[tuple[float, int]] = []

    class Clock(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            events.append((time.perf_counter(), self.num_timesteps))

    venv = VecNormalize(DummyVecEnv([lambda: gymnasium.make(task)] * NUM_ENVS))
    model = PPO(
        "MlpPolicy",
        venv,
        n_steps=NUM_STEPS,
        batch_size=64,
        n_epochs=10,
        clip_range_vf=0.2,
        policy_kwargs={"net_arch": {"pi": [64, 64], "vf": [64, 64]}},
        seed=0,
        device="cpu",
    )
    model.learn(TASKS[task], callback=Clock())
    return rate(events[1:])


def rate(events: list[tuple[float, int]]) -> float:
    """Return steps a second from the end of the first rollout on."""
    (first, begun), (last, ended) = events[0], events[-1]
    return (ended - begun) / (last - first)


if __name__ == "__main__":
    main()
