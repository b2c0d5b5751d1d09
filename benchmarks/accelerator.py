"""What an accelerator makes of a population: `JAX_PLATFORMS=cuda python benchmarks/accelerator.py`.

Needs robustpo, JAX from 0.10 on and a Python from 3.11 on; no network. Each part ends in one line
of the table; what a machine lacks (Playground, Brax) or what fails is named in its place. The
result is written after every part, so that a run that is cut short has given what it has.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

# What others on the machine hold stays theirs, and what is in use can be read off.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np

from robustpo.algorithm.experience import Rollout
from robustpo.config.run import make_config
from robustpo.studies.grid import make_grid
from robustpo.training.compilation import compiler_options, own_settings
from robustpo.training.population import learn_population
from robustpo.training.trainer import Trainer

TASK = "isaac/Cartpole-v0"
LARGE = "playground/CheetahRun"
LARGE_OPTIONS = {"num_envs": 2048, "num_steps": 30, "num_minibatches": 32, "update_epochs": 4}


class Bench:
    """Runs the parts, keeps what they give and writes it.

    Args:
        out: the file of JSON; the table stands beside it.
        until: when no further part begins, in seconds of `time.monotonic`.
        only: how the names begin of the parts that are done.
    """

    def __init__(self, out: Path, until: float, only: Sequence[str]) -> None:
        self._out, self._until, self._only = out, until, tuple(only)
        self.kept: dict[str, Any] = {"machine": machine(), "parts": {}}

    def do(self, name: str, part: Callable[..., dict[str, Any]], *given: Any) -> None:
        """Do a part, or say why not."""
        if not name.startswith(self._only):
            return
        start = time.monotonic()
        if start > self._until:
            found: dict[str, Any] = {"left out": "no time was left"}
        else:
            try:
                found = part(*given)
            except Exception as error:
                traceback.print_exc()
                found = {"left out": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
        found |= {"seconds in all": round(time.monotonic() - start, 1)}
        self.kept["parts"][name] = found
        print(name, json.dumps(found), flush=True)
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._out.write_text(json.dumps(self.kept, indent=1) + "\n")
        self._out.with_suffix(".md").write_text(table(self.kept))


def machine() -> dict[str, Any]:
    """Return what was measured on."""
    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device.device_kind,
        "devices": jax.device_count(),
        "memory GiB": round(stats.get("bytes_limit", 0) / 2**30, 1),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def peak_gib() -> float:
    """Return the device's memory in use at its peak so far in this process."""
    stats = jax.devices()[0].memory_stats() or {}
    return round(stats.get("peak_bytes_in_use", 0) / 2**30, 3)


def table(kept: dict[str, Any]) -> str:
    """Return the parts in Markdown."""
    about = ", ".join(f"{name} {value}" for name, value in kept["machine"].items())
    lines = [about, "", "| part | found |", "| --- | --- |"]
    for name, found in kept["parts"].items():
        lines.append(f"| {name} | {'; '.join(f'{k} {v}' for k, v in found.items())} |")
    return "\n".join(lines) + "\n"


def training(task: str, agents: int, iterations: int, **options: Any) -> dict[str, Any]:
    """Train without records; the speed of the second half of the iterations."""
    ends: list[float] = []

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "iteration" and event["seed"] == 0:
            ends.append(time.perf_counter())

    seeds = range(agents)
    steps = iterations * make_config(task, "rpo", **options).shape.batch_size
    configs = make_grid(task, ["rpo"], seeds, steps=steps, **options)
    trainer = Trainer(configs, emit=emit)
    start = time.perf_counter()
    trainer.run()
    half = ends[len(ends) // 2 :]
    seconds = (half[-1] - half[0]) / (len(half) - 1)
    return {
        "steps/s": round(agents * configs[0].shape.batch_size / seconds),
        "ms per iteration": round(1e3 * seconds, 2),
        "compiled in s": round(ends[0] - start, 1),
        "peak GiB": peak_gib(),
    }


def parts_of_an_iteration(agents: int, repeats: int) -> dict[str, Any]:
    """Time collection and update apart, the device waited for after each."""
    trainer = Trainer(make_grid(TASK, ["rpo"], range(agents), steps=10_000_000))
    trainer.compile()
    collecting, learning = [], []
    population = trainer.population
    state, learners = population.collector, population.learners
    numbers = trainer._coefficients()
    for iteration in range(repeats):
        start = time.perf_counter()
        given = (learners.params, state, population.keys, numbers, [iteration] * agents)
        state, rollout = jax.block_until_ready(trainer._collector.collect(*given))
        middle = time.perf_counter()
        index = jnp.full(agents, iteration, jnp.int32)
        rest = (rollout, numbers, population.keys, index, jnp.int32(agents))
        learners, _ = jax.block_until_ready(trainer._learn(learners, *rest))
        collecting.append(middle - start)
        learning.append(time.perf_counter() - middle)
    half = repeats // 2
    times = {"collect": median(collecting[half:]), "learn": median(learning[half:])}
    return {f"ms to {name}": round(1e3 * value, 2) for name, value in times.items()}


def one_rollout(agents: int) -> tuple[Trainer, Rollout, Any]:
    """Return a compiled population, what it collects first, and its numbers."""
    trainer = Trainer(make_grid(TASK, ["rpo"], range(agents), steps=10_000_000))
    trainer.compile()
    population, numbers = trainer.population, trainer._coefficients()
    _, rollout = trainer._collector.collect(
        population.learners.params, population.collector, population.keys, numbers, [0] * agents
    )
    return trainer, rollout, numbers


def updates(agents: int, repeats: int, ways: Sequence[bool] = (False, True)) -> dict[str, Any]:
    """Time the same update one agent after the other and all at once; compare what they learn."""
    trainer, rollout, numbers = one_rollout(agents)
    population = trainer.population
    rest = (rollout, numbers, population.keys, jnp.zeros(agents, jnp.int32), jnp.int32(agents))
    found: dict[str, Any] = {}
    learned = {}
    for at_once in ways:
        name = "at once" if at_once else "one by one"
        lowered = learn_population.lower(
            trainer.shape, population.learners, *rest, vectorized=at_once
        )
        learn: Any = lowered.compile(compiler_options())
        times, after = [], None
        for _ in range(repeats):
            # What is given is used up.
            learners = jax.tree.map(jnp.copy, population.learners)
            jax.block_until_ready(learners)
            start = time.perf_counter()
            after, _ = jax.block_until_ready(learn(learners, *rest))
            times.append(time.perf_counter() - start)
        leaves = jax.tree.leaves(after and after.params)
        learned[name] = np.concatenate([np.ravel(x) for x in leaves])
        found[f"ms {name}"] = round(1e3 * median(times[1:]), 2)
    if len(ways) == 1:
        return found
    apart = np.abs(learned["at once"] - learned["one by one"]).max()
    found["parameters apart by"] = float(f"{apart:.2e}")
    found["at once is faster by"] = round(found["ms one by one"] / found["ms at once"], 1)
    return found


def repeated(iterations: int) -> dict[str, Any]:
    """Train twice, and once more beside other agents; say whether agent 0 has the same bits."""

    def digest(seeds: range) -> Any:
        steps = iterations * make_config(TASK, "rpo").shape.batch_size
        trainer = Trainer(make_grid(TASK, ["rpo"], seeds, steps=steps))
        trainer.run()
        params = trainer.population.learners.params
        return [np.asarray(leaf)[0] for leaf in jax.tree.leaves(params)]

    def same(one: Any, two: Any) -> bool:
        return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))

    first = digest(range(8))
    return {
        "same bits again": same(first, digest(range(8))),
        "same bits beside twice as many": same(first, digest(range(16))),
    }


def long_training(agents: int, steps: int) -> dict[str, Any]:
    """Train PPO and RPO to the end and return what they came to."""
    returns: dict[str, list[float]] = {"ppo": [], "rpo": []}
    configs = make_grid(TASK, list(returns), range(agents // 2), steps=steps)

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "finished":
            returns[event["variant"].split("_")[0]].append(event["final_return"])

    start = time.perf_counter()
    Trainer(configs, emit=emit).run()
    seconds = time.perf_counter() - start
    return {
        "steps/s with compilation": round(len(configs) * configs[0].steps / seconds),
        "s": round(seconds, 1),
        **{name: [round(value, 1) for value in values] for name, values in returns.items()},
    }


def brax_training(steps: int) -> dict[str, Any]:
    """Train one agent with Brax's own PPO on the same task with the same sizes."""
    from brax.envs import base
    from brax.training.agents.ppo import networks, train

    from robustpo.environments.isaac.cartpole import EPISODE_LIMIT, Cartpole
    from robustpo.integrations import brax

    ours = Cartpole()
    # Its properties are attributes here, and its state is ours.
    kind: Any = base.Env
    state_of: Any = base.State

    class Task(kind):
        observation_size, action_size, backend = 4, 1, "none"

        def reset(self, rng: jax.Array) -> Any:
            state, obs = ours.reset(key=rng)
            return state_of(state, obs, jnp.zeros(()), jnp.zeros(()), {}, {})

        def step(self, state: Any, action: jax.Array) -> Any:
            key = jax.random.key(0)  # it draws nothing
            step = ours.step(state.pipeline_state, jnp.clip(action, -1.0, 1.0), key=key)
            done = step.terminated.astype(jnp.float32)
            return state.replace(
                pipeline_state=step.state, obs=step.obs, reward=step.reward, done=done
            )

    def network(*sizes: Any, **options: Any) -> Any:
        hidden = {"policy_hidden_layer_sizes": (32, 32), "value_hidden_layer_sizes": (32, 32)}
        return networks.make_ppo_networks(*sizes, activation=jax.nn.elu, **hidden, **options)

    found: list[Any] = []
    with brax._replicating():
        train.train(
            environment=Task(),
            num_timesteps=steps,
            episode_length=EPISODE_LIMIT,
            num_envs=512,
            unroll_length=16,
            batch_size=512,
            num_minibatches=1,
            num_updates_per_batch=8,
            learning_rate=3e-4,
            entropy_cost=0.0,
            normalize_observations=True,
            network_factory=network,
            num_evals=3,
            num_eval_envs=64,
            progress_fn=lambda step, metrics: found.append(metrics),
        )
    last = found[-1]
    return {
        "steps/s": round(float(last["training/sps"])),
        "return": round(float(last["eval/episode_reward"]), 1),
    }


def main() -> None:
    """Measure part after part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("accelerator.json"))
    parser.add_argument("--quick", action="store_true", help="a reduced form, for a CPU")
    parser.add_argument("--minutes", type=float, default=8.0, help="no part begins after these")
    parser.add_argument("--long-steps", type=int, default=100_000_000)
    parser.add_argument("--only", nargs="*", default=[""], help="how the names of parts begin")
    asked = parser.parse_args()
    quick = asked.quick
    bench = Bench(asked.out, time.monotonic() + 60 * asked.minutes, asked.only)
    many, iterations = ([1, 2], 6) if quick else ([1, 8, 64], 200)
    with own_settings():
        for agents in many:
            bench.do(f"{TASK}, {agents} agents", training, TASK, agents, iterations)
            bench.do(f"its parts, {agents} agents", parts_of_an_iteration, agents, iterations // 2)
        for agents in many if quick else [1, 8, 64, 256]:
            bench.do(f"one update, {agents} agents", updates, agents, 3 if quick else 6)
        with jax.default_matmul_precision("tensorfloat32"):
            bench.do(
                f"one update in TensorFloat-32, {many[-1]} agents", updates, many[-1], 6, [True]
            )
        bench.do("bits", repeated, 2 if quick else 50)
        bench.do("to the end", long_training, 8, 100_000 if quick else asked.long_steps)
        bench.do(f"Brax's PPO, {TASK}", brax_training, 50_000 if quick else 20_000_000)
        for agents in [1] if quick else [1, 8]:
            options = {"num_envs": 8, "num_steps": 8, "num_minibatches": 2} if quick else {}
            large = (LARGE, agents, 4 if quick else 12)
            name = f"{LARGE}, {agents} agents"
            bench.do(name, lambda o=options, g=large: training(*g, **(LARGE_OPTIONS | o)))


if __name__ == "__main__":
    main()
