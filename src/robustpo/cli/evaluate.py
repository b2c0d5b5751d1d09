"""`robustpo evaluate`: what a trained policy is worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

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
    """Directory of a run, or a policy file."""
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
            ).as_dict()
        if self.json:
            print(to_json(result))
            return 0
        low, high = result["interval_low"], result["interval_high"]
        kind = "sampled" if self.stochastic else "deterministic"
        print(
            f"return {result['mean']:.2f} ± {result['std']:.2f} (mean ± standard deviation over "
            f"{result['episodes']} {kind} episodes)\n"
            f"95% interval of the mean {low:.2f} to {high:.2f}; "
            f"range {result['min']:.2f} to {result['max']:.2f}; "
            f"mean length {result['length_mean']:.0f}"
        )
        if result["cut"]:
            print(cut_line(result["cut"], result["episodes"]))
        return 0
