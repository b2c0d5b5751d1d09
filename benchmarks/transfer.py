"""Train on EnvPool's tasks, then ask whether the policy does as well in the benchmark's own code.

`.venv/bin/python benchmarks/transfer.py` takes half an hour on one core and needs the extras
`dm-control`, `mujoco` and `box2d`; `--tasks Pendulum-v1 --episodes 50` looks closer at one task.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import robustpo
from robustpo.environments import catalog
from robustpo.environments.base import TaskSpec
from robustpo.evaluation.evaluate import evaluate_policy
from robustpo.runs.record import machine, versions
from robustpo.statistics.means import SIGNIFICANCE, Difference, holm, welch

RESULTS = Path(__file__).with_name("results")
SIMULATORS = ("mujoco", "dm-control", "Box2D")
# The rate is three times the default, because the trainings are short.
TRAINING: dict[str, Any] = {"method": "rpo", "seeds": 0, "learning_rate": 1e-3}

# Steps of training, episodes and tasks, by what a step costs. `{}` stands for v4 and v5,
# and dm_control's tasks go by their short names.
PLAN = (
    (61_440, 20, "Pendulum-v1 MountainCarContinuous-v0 BipedalWalker-v3"),
    (
        40_960,
        20,
        "cartpole-balance cartpole-two_poles cheetah-run acrobot-swingup ball_in_cup-catch "
        "finger-spin hopper-stand pendulum-swingup point_mass-easy reacher-easy HalfCheetah-{} "
        "Hopper-{} InvertedDoublePendulum-{} InvertedPendulum-{} Pusher-v5 Reacher-{} "
        "Swimmer-{} Walker2d-{}",
    ),
    (20_480, 20, "fish-upright swimmer-swimmer6 walker-walk manipulator-bring_ball"),
    (20_480, 20, "quadruped-walk Ant-{} Humanoid-{}"),
    (8_192, 8, "humanoid-stand stacker-stack_2 HumanoidStandup-{}"),
    (4_096, 6, "dog-stand humanoid_CMU-stand quadruped-escape"),
)

NAMES = (
    "task,steps,episodes,random,EnvPool,its own,learned,difference (95%),p,p (Holm),0 inside,note"
)
HEADER = tuple(NAMES.split(","))
HOW = """\
How: one RPO agent (defaults but a learning rate of 0.001, seed 0) is trained on EnvPool's task. Its
final policy then acts without noise in fresh episodes there and in the benchmark's own code
(`gymnasium/<id>`). Shown are means ± standard deviations of the return over episodes; `random` is
uniform random actions on EnvPool, `learned` whether the policy earns more (99% interval). The
difference is EnvPool minus its own with Welch's 95% interval; p is Welch's, then corrected over the
table by Holm's method. Samples are episodes of one policy: the table tells simulators apart, not
methods. A policy that has not learned does not go where a trained one would: its row says less."""


@dataclass(frozen=True)
class Transfer:
    """What one policy earned, a number per episode."""

    task: str
    steps: int
    random: list[float]
    envpool: list[float]
    own: list[float]
    note: str


class UniformActions:
    """Acts at random within the bounds, in place of a policy."""

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self.observation_size, self.action_size = spec.observation_size, spec.action_size

    def __call__(self, obs: np.ndarray, *, rng: np.random.Generator, **_: Any) -> np.ndarray:
        shape = (len(obs), self.action_size)
        return rng.uniform(self._spec.action_low, self._spec.action_high, shape).astype(np.float32)


def main() -> None:
    """Train, evaluate, print; write after each task, so that a run may be stopped."""
    options = _parse()
    console = Console(highlight=False, soft_wrap=True)
    # At every reset dm_control logs that its models use what MuJoCo will drop.
    logging.getLogger("absl").setLevel(logging.ERROR)
    start, found = datetime.now(UTC), []
    for task, steps, episodes in options.plan:
        found.append(_transfer(task, steps, episodes))
        console.print(" | ".join(_rows(found)[-1]))
        minutes = (datetime.now(UTC) - start).total_seconds() / 60
        measured = f"{len(found)} of {len(options.plan)} tasks in {minutes:.0f} minutes"
        _write(options.out, found, start.strftime("%Y-%m-%dT%H:%M:%SZ"), measured)
    console.print(f"written in {options.out}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", nargs="+", default=[], help="ids; all of the plan if left out")
    parser.add_argument("--steps", type=int, help="of every training, instead of the plan's")
    parser.add_argument("--episodes", type=int, help="at most 20 if left out")
    parser.add_argument("--out", type=Path, help="benchmarks/results, or its local/ for a part")
    options = parser.parse_args()
    if unknown := set(options.tasks) - set(catalog.CATALOG):
        parser.error(f"--tasks {' '.join(unknown)}: not in the catalog; see `robustpo envs`")
    plan, options.plan = _plan(), []
    for task in options.tasks or plan:
        steps, episodes = plan.get(task, PLAN[1][:2])
        options.plan.append((task, options.steps or steps, options.episodes or episodes))
    part = options.tasks or options.steps or options.episodes
    options.out = options.out or (RESULTS / "local" if part else RESULTS)
    return options


def _plan() -> dict[str, tuple[int, int]]:
    """Return steps and episodes of each task."""
    plan = {}
    for steps, episodes, names in PLAN:
        for name in names.split():
            task = name if name[0].isupper() else f"dm_control/{name}-v0"
            plan |= {task.format(version): (steps, episodes) for version in ("v4", "v5")}
    return plan


def _transfer(task: str, steps: int, episodes: int) -> Transfer:
    entry = catalog.CATALOG[task]
    with tempfile.TemporaryDirectory() as out, warnings.catch_warnings():
        # The v4 tasks are out of date, which is no news here.
        warnings.simplefilter("ignore", DeprecationWarning)
        uniform: Any = UniformActions(catalog.spec(entry))
        random = evaluate_policy(uniform, task, episodes=episodes, seed=3)
        run = robustpo.train(task, steps=steps, out=out, progress=False, **TRAINING)[0]
        envpool = robustpo.evaluate(run, episodes=episodes, seed=1)
        own = robustpo.evaluate(run, task=f"gymnasium/{task}", episodes=episodes, seed=2)
    returns = [list(result.returns) for result in (random, envpool, own)]
    return Transfer(task, steps, *returns, note=entry.note)


def _rows(found: Sequence[Transfer]) -> list[tuple[str, ...]]:
    """Return the cells of the table, p-values corrected over what was measured so far."""
    differences = [welch(one.envpool, one.own) for one in found]
    corrected = holm([difference.p_value for difference in differences])
    return [_cells(*row) for row in zip(found, differences, corrected, strict=True)]


def _cells(one: Transfer, difference: Difference, corrected: float) -> tuple[str, ...]:
    low, high = difference.low, difference.high
    span = "neither varies" if np.isnan(low) else f"{low:.3g} to {high:.3g}"
    inside = difference.p_value == 1 if np.isnan(low) else low <= 0 <= high
    learned = welch(one.envpool, one.random, confidence=0.99).low > 0
    return (
        one.task.removeprefix("dm_control/"),
        f"{one.steps:,}",
        str(len(one.own)),
        f"{np.mean(one.random):.4g}",
        *(f"{np.mean(r):.4g} ± {np.std(r, ddof=1):.3g}" for r in (one.envpool, one.own)),
        "yes" if learned else "no",
        f"{difference.mean:+.3g} ({span})",
        f"{difference.p_value:.2g}",
        f"{corrected:.2g}{' **differs**' if corrected < SIGNIFICANCE else ''}",
        "yes" if inside else "no",
        one.note,
    )


def _write(directory: Path, found: Sequence[Transfer], date: str, measured: str) -> None:
    """Write the table as Markdown, and every return as JSON beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    markdown = directory / f"transfer-{date.replace(':', '')}.md"
    computer = machine()
    used = versions() | {name: metadata.version(name) for name in SIMULATORS}
    lines = [
        f"# From EnvPool to the benchmark's own code, {date}\n",
        f"- machine: {computer['processor']} ({computer['architecture']}), {computer['system']}",
        f"- versions: {', '.join(f'{k} {v}' for k, v in used.items())}",
        f"- measured: {measured}\n",
    ]
    rows = [HEADER, ("---",) * len(HEADER), *_rows(found)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    markdown.write_text("\n".join([*lines, "", HOW, ""]), encoding="utf-8")
    about = {"date": date, "machine": computer, "versions": used, "measured": measured}
    content = about | {"rows": [asdict(one) for one in found]}
    markdown.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
