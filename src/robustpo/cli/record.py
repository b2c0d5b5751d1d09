"""`robustpo record`: a trained policy on film."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from robustpo.cli.options import EnvKwargs
from robustpo.cli.streams import CUT_HINT, cut_line, prints_on_stderr
from robustpo.environments.task_arguments import parse_arguments


@dataclass(frozen=True)
class Record:
    """Film a trained policy, without a screen."""

    run: Positional[Path]
    """Directory of a run, or a policy file."""
    out: Path = Path("policy.mp4")
    """The film: .mp4 or .mkv."""
    episodes: int = 1
    """Whole episodes, one after the other."""
    max_steps: Annotated[int | None, arg(metavar="INT", help_behavior_hint=CUT_HINT)] = None
    """Steps after which an episode is cut that goes on."""
    stochastic: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Samples instead of the deterministic mode."""
    best: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The best policy of the evaluations during training instead of the last."""
    seed: int = 0
    """Seed of the simulator and of the samples."""
    task: str | None = None
    """Another task than the one it was trained on; module:callable has to be given again."""
    env_kwargs: EnvKwargs = ()
    allow: tuple[str, ...] = ()
    """The policy's action distribution, module:name, if it is an extension."""

    def __call__(self) -> int:
        """Film and say what was filmed."""
        import robustpo
        from robustpo.execution.interruption import interruptible

        # So that a film that is ended by SIGTERM leaves no half of it either.
        with interruptible(), prints_on_stderr():
            video = robustpo.record(
                self.run,
                self.out,
                episodes=self.episodes,
                max_steps=self.max_steps,
                stochastic=self.stochastic,
                best=self.best,
                seed=self.seed,
                task=self.task,
                env_kwargs=parse_arguments(self.env_kwargs),
                allow=self.allow,
            )
        returns = ", ".join(f"{value:.1f}" for value in video.returns)
        print(
            f"{video.path}: {video.frames} pictures, {video.frames / video.fps:.1f} s at "
            f"{video.fps:.0f} a second; return {returns}"
        )
        if video.cut:
            print(cut_line(video.cut, len(video.returns)))
        return 0
