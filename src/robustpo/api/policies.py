"""What is done with trained policies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from robustpo.api.values import NO_ARGUMENTS, Task, count_of, with_env_kwargs
from robustpo.base.files import user_path
from robustpo.base.registry import allow as allow_names
from robustpo.errors import ConfigError
from robustpo.policy.policy import BEST_POLICY_FILE, POLICY_FILE, Policy, load_policy

if TYPE_CHECKING:
    from robustpo.evaluation.episodes import Evaluation
    from robustpo.evaluation.video import Video


def evaluate(
    run: str | os.PathLike[str] | Policy,
    *,
    episodes: SupportsIndex = 100,
    max_steps: SupportsIndex | None = None,
    envs: SupportsIndex | None = None,
    stochastic: bool = False,
    best: bool = False,
    seed: SupportsIndex = 0,
    task: Task | None = None,
    env_kwargs: Mapping[str, Any] = NO_ARGUMENTS,
    allow: Iterable[str] = (),
) -> Evaluation:
    """Evaluate a trained policy with frozen statistics in fresh environments.

    Args:
        run: directory of a run, a policy file or a policy; or a directory of runs, such as that of
            a variant with all its seeds, each of which is evaluated in the same episodes.
        episodes: whole episodes to run.
        max_steps: steps after which an episode is cut that goes on; by default 10,000, or the
            task's own time limit if that is longer. The result says how many were (`cut`).
        envs: environments side by side; by default one per episode, but no more than 20. A
            simulator that exists once takes 1.
        stochastic: samples instead of the deterministic mode.
        best: the best policy of the evaluations made during training, instead of the last.
        seed: seed of simulators and samples; never a training run's.
        task: another task than the one it was trained on, or the constructor it was trained with.
            What would import a module (`module:callable`, `package:Id`) is never taken from the
            policy's file, whoever wrote that; give it here.
        env_kwargs: arguments of what makes the environment, in place of those in the task's name.
        allow: the action distribution that the policy was trained with, `module:name`, if it is an
            extension, for the same reason.

    Returns:
        The evaluation; of a directory of runs that of all of them, whose `runs` has each, and whose
        interval is over runs.

    Raises:
        ConfigError: if there is no such policy, it does not fit the task, or its task has to be
            given.
        SimulatorError: if an environment raises, or what it returns is not finite.
    """
    from robustpo.evaluation.episodes import Evaluations
    from robustpo.evaluation.evaluate import evaluate_policy, recorded_task

    allow_names(allow)

    def evaluated(policy: Policy) -> Evaluation:
        return evaluate_policy(
            policy,
            with_env_kwargs(task or recorded_task(policy), env_kwargs, replace=True),
            episodes=count_of("episodes", episodes),
            deterministic=not stochastic,
            seed=count_of("seed", seed),
            max_steps=None if max_steps is None else count_of("max_steps", max_steps),
            envs=None if envs is None else count_of("envs", envs),
        )

    if isinstance(run, Policy):
        return evaluated(run)
    runs = _runs_in(user_path(run))
    if not runs:
        return evaluated(_load(run, best))
    name = BEST_POLICY_FILE if best else POLICY_FILE
    whole = [place for place in runs if (place / name).is_file()]
    if not whole:
        raise ConfigError(f"none of the {len(runs)} runs in {run} holds a {name} yet")
    without = tuple(place.name for place in runs if place not in whole)
    return Evaluations.of({p.name: evaluated(_load(p, best)) for p in whole}, without)


def _runs_in(place: Path) -> list[Path]:
    """Return the runs of a variant's directory, in the order of their seeds; none of a run's."""
    found = [path for path in place.glob("seed-*") if path.name[5:].isdigit() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def export(
    policy: str | os.PathLike[str] | Policy,
    to: str = "onnx",
    *,
    out: str | os.PathLike[str] | None = None,
    best: bool = False,
) -> Path:
    """Write a trained policy's deterministic actions in a format that runs without robustpo.

    Args:
        policy: directory of a run, a policy file or a policy.
        to: `"onnx"` (extra `onnx`), `"c"` (a C99 header without allocation) or `"stablehlo"`.
        out: the file, or a directory to write it in; by default beside the policy.
        best: the best policy of the evaluations made during training, instead of the last.

    Returns:
        The file.

    Raises:
        ConfigError: if there is no such policy, the format cannot hold it (an extension's code), or
            an extra is not installed.
        StorageError: if the file could not be written.
    """
    from robustpo.exporting.write import write_policy

    if isinstance(policy, Policy):
        if out is None:
            raise ConfigError("out=None is not valid for a policy that is no file; name a file")
        return write_policy(policy, to, out)
    place = user_path(policy)
    beside = place if os.path.isdir(place) else place.parent
    return write_policy(_load(policy, best), to, beside if out is None else out)


def record(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    episodes: SupportsIndex = 1,
    max_steps: SupportsIndex | None = None,
    stochastic: bool = False,
    best: bool = False,
    seed: SupportsIndex = 0,
    task: Task | None = None,
    env_kwargs: Mapping[str, Any] = NO_ARGUMENTS,
    allow: Iterable[str] = (),
) -> Video:
    """Film a trained policy, without a screen (extra `video`).

    Args:
        run: directory of a run, or a policy file.
        out: the film, `.mp4` or `.mkv`; it runs as fast as the simulated world.
        episodes: whole episodes, one after the other.
        max_steps: as in `evaluate`.
        stochastic: samples instead of the deterministic mode.
        best: as in `evaluate`.
        seed: seed of the simulator and of the samples.
        task: as in `evaluate`.
        env_kwargs: as in `evaluate`.
        allow: as in `evaluate`.

    Raises:
        ConfigError: as `evaluate`, or if the task cannot be drawn here; the message says what to
            install.
        StorageError: if the film could not be written.
    """
    from robustpo.evaluation.evaluate import recorded_task
    from robustpo.evaluation.video import record_video

    allow_names(allow)
    policy = _load(run, best)
    return record_video(
        policy,
        with_env_kwargs(task or recorded_task(policy), env_kwargs, replace=True),
        user_path(out),
        episodes=count_of("episodes", episodes),
        deterministic=not stochastic,
        seed=count_of("seed", seed),
        max_steps=None if max_steps is None else count_of("max_steps", max_steps),
    )


def _load(run: str | os.PathLike[str], best: bool) -> Policy:
    path = user_path(run)
    if path.is_dir():
        path = path / (BEST_POLICY_FILE if best else POLICY_FILE)
    return load_policy(path)
