"""`robustpo evaluate`: what a trained policy is worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, arg

import robustpo
from robustpo.base.json_text import to_json
from robustpo.cli.options import EnvKwargs
from robustpo.cli.streams import CUT_HINT, cut_line, prints_on_stderr
from robustpo.environments.task_arguments import parse_arguments


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a trained policy: frozen statistics, fresh seeds."""

    run: Positional[Path]
    """Directory of a run, or of a variant with all its seeds, or a policy file."""
    episodes: int = 100
    """Whole episodes to run."""
    max_steps: Annotated[int | None, arg(metavar="INT", help_behavior_hint=CUT_HINT)] = None
    """Steps after which an episode is cut that goes on."""
    envs: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: up to 20)")] = None
    """Environments side by side; 1 for a simulator that exists once."""
    stochastic: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Samples instead of the deterministic mode."""
    best: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The best policy of the evaluations during training instead of the last."""
    seed: int = 0
    """Seed of simulators and samples; never a training run's."""
    task: str | None = None
    """Another task than the one it was trained on; module:callable has to be given again."""
    env_kwargs: EnvKwargs = ()
    allow: tuple[str, ...] = ()
    """The policy's action distribution, module:name, if it is an extension."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object."""

    def __call__(self) -> int:
        """Evaluate and print."""
        with prints_on_stderr():
            result = robustpo.evaluate(
                self.run,
                episodes=self.episodes,
                max_steps=self.max_steps,
                envs=self.envs,
                stochastic=self.stochastic,
                best=self.best,
                seed=self.seed,
                task=self.task,
                env_kwargs=parse_arguments(self.env_kwargs),
                allow=self.allow,
            )
        kind = "sampled" if self.stochastic else "deterministic"
        if self.json:
            print(to_json(result.as_dict()))
        elif "runs" in result.as_dict():
            _print_runs(result.as_dict(), kind)
        else:
            _print_run(result.as_dict(), kind)
        return 0


def _print_run(result: dict[str, Any], kind: str) -> None:
    low, high = result["interval_low"], result["interval_high"]
    print(
        f"return {result['mean']:.2f} ± {result['std']:.2f} (mean ± standard deviation over "
        f"{result['episodes']} {kind} episodes)\n"
        f"95% interval of the mean {low:.2f} to {high:.2f}; "
        f"range {result['min']:.2f} to {result['max']:.2f}; "
        f"mean length {result['length_mean']:.0f}"
    )
    if result["cut"]:
        print(cut_line(result["cut"], result["episodes"]))


def _print_runs(result: dict[str, Any], kind: str) -> None:
    """Print a line for each run and one over all."""
    from rich.table import Table

    from robustpo.base.console import make_console

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("run")
    for title in ("return", "95% interval", "range", "length", "cut"):
        table.add_column(title, justify="right")
    for name, run in result["runs"].items():
        numbers = (f"{run[key]:.2f}" for key in ("mean", "std", "interval_low", "interval_high"))
        mean, std, low, high = numbers
        reach = f"{run['min']:.2f} to {run['max']:.2f}"
        length = f"{run['length_mean']:.0f}"
        table.add_row(name, f"{mean} ± {std}", f"{low} to {high}", reach, length, str(run["cut"]))
    make_console().print(table)
    episodes = next(iter(result["runs"].values()))["episodes"]
    print(f"\n± and interval over {episodes} {kind} episodes, the same ones for every run")
    count, low, high = len(result["runs"]), result["interval_low"], result["interval_high"]
    if count > 1:
        print(
            f"over {count} runs: {result['mean']:.2f} ± {result['std']:.2f}, 95% interval of the "
            f"mean {low:.2f} to {high:.2f}"
        )
    if result["without_policy"]:
        print(f"without a policy: {', '.join(result['without_policy'])}")
