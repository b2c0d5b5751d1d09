"""The Python interface: the same words as on the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustpo.config import RunConfig
from robustpo.environments.make import resolve
from robustpo.errors import ConfigError
from robustpo.policy import BEST_POLICY_FILE, POLICY_FILE, Policy, load_policy
from robustpo.studies.execution import Execution, execute
from robustpo.studies.grid import make_grid, parse_seeds, short_task, sweep_methods
from robustpo.studies.preset_choice import settle_preset
from robustpo.studies.study import Part, Study

if TYPE_CHECKING:
    from robustpo.evaluation.evaluate import Evaluation
    from robustpo.evaluation.video import Video
    from robustpo.reports.comparison import ComparisonReport

Task = str | Callable[[], Any]
Seeds = str | int | Iterable[int]
Callback = Callable[[dict[str, Any]], None]


def train(
    task: Task,
    *,
    method: str = "rpo",
    seeds: Seeds = 0,
    steps: int = 8_000_000,
    out: str | os.PathLike[str] = "runs",
    workers: int | None = None,
    pin: bool = True,
    fresh: bool = False,
    track: str | None = None,
    callback: Callback | None = None,
    progress: bool = True,
    checkpoint_every: int = 0,
    step_timeout: float = 60.0,
    env_processes: int = 0,
    ray: str | None = None,
    gpus: float = 0.0,
    **options: Any,
) -> list[Path]:
    """Train one method on a task, all seeds at once, and record every run.

    Args:
        task: id of the task, `module:callable`, or a function that returns a Gymnasium
            environment; a function is trained in this process.
        method: name of the method (`robustpo.METHODS`).
        seeds: a seed, several, or text such as `"0:10"`.
        steps: simulator steps of each run, floored to whole iterations.
        out: directory that holds all runs.
        workers: processes; by default one per core.
        pin: whether each process claims a core for itself.
        fresh: whether to train again what is recorded already, moving the old record aside.
        track: `"tensorboard"` writes scalars beside each run.
        callback: called with an event (a dictionary with `variant`, `seed`, `step` and the
            metrics) after every iteration of every agent. An exception raised in it ends training.
        progress: whether to show progress on standard error.
        checkpoint_every: steps between checkpoints, from which a run that was stopped goes on
            when it is asked for again; 0 for one every two minutes.
        step_timeout: seconds that a step of a simulator outside the compiled program may take in
            a worker process; 0 for no limit.
        env_processes: processes of each worker that step simulators outside the compiled program,
            for slow ones; 0 steps them in the worker. Results do not depend on it.
        ray: address of a Ray cluster that trains, or `"auto"` (extra `ray`).
        gpus: GPUs, or the fraction of one, that each worker asks Ray for.
        **options: any field of `Settings` and `Shape`, `eval_every`, `eval_episodes` and
            `init_policy`.

    Returns:
        The directory of each run, in the order of the seeds.

    Raises:
        ConfigError: if the request cannot be carried out as written; nothing has been done then.

    Example:
        >>> import robustpo
        >>> runs = robustpo.train(  # doctest: +SKIP
        ...     "dm_control/cartpole-balance-v0", seeds="0:3", steps=100_000
        ... )
        >>> policy = robustpo.load_policy(runs[0])  # doctest: +SKIP
    """
    name = _name(task)
    preset, notes = _preset(name, Path(out), options.pop("preset", None))
    return _train(
        make_grid(name, [method], _seeds(seeds), steps=steps, preset=preset, **options),
        task,
        Execution(
            Path(out),
            workers,
            pin,
            fresh,
            track,
            progress,
            checkpoint_every,
            step_timeout,
            env_processes,
            ray,
            gpus,
        ),
        callback,
        notes,
    )


def compare(
    task: Task,
    *,
    methods: Sequence[str] = ("ppo", "rpo"),
    seeds: Seeds = "0:10",
    steps: int = 8_000_000,
    alphas: Sequence[float] = (),
    learning_rates: Sequence[float] = (),
    entropy_coefs: Sequence[float] = (),
    out: str | os.PathLike[str] = "runs",
    workers: int | None = None,
    pin: bool = True,
    fresh: bool = False,
    track: str | None = None,
    callback: Callback | None = None,
    progress: bool = True,
    checkpoint_every: int = 0,
    step_timeout: float = 60.0,
    env_processes: int = 0,
    ray: str | None = None,
    gpus: float = 0.0,
    **options: Any,
) -> ComparisonReport:
    """Train several methods or values on a task and say which is better, with what certainty.

    Args:
        task: as in `train`.
        methods: names of methods; the first, or `ppo` where it is among them, is the reference.
        seeds: as in `train`, for every variant; at least 5 for a verdict.
        steps: simulator steps of each run.
        alphas: values of alpha to sweep, for the methods that perturb.
        learning_rates: initial learning rates to sweep.
        entropy_coefs: entropy coefficients to sweep.
        out: as in `train`, like all that follow.
        workers: processes.
        pin: whether each process claims a core.
        fresh: whether to train again what is recorded.
        track: `"tensorboard"` or None.
        callback: called after every iteration of every agent.
        progress: whether to show progress.
        checkpoint_every: steps between checkpoints.
        step_timeout: seconds a step of a host simulator may take.
        env_processes: processes that step host simulators.
        ray: address of a Ray cluster that trains, or `"auto"`.
        gpus: GPUs, or the fraction of one, that each worker asks Ray for.
        **options: as in `train`, shared by all variants.

    Returns:
        The report: `sentence`, `table` (Markdown), and the `files` written.

    Raises:
        ConfigError: if the request cannot be carried out as written; nothing has been done then.
    """
    from robustpo.reports.study_report import write_comparison_report

    name = _name(task)
    options["preset"], notes = _preset(name, Path(out), options.pop("preset", None))
    sweeps = {"alpha": alphas, "learning_rate": learning_rates, "entropy_coef": entropy_coefs}
    part = Part(
        (name,),
        sweep_methods(methods, sweeps),
        _seeds(seeds),
        steps,
        {name: value for name, value in options.items() if value is not None},
    )
    study = Study("comparison", f"{' and '.join(methods)} on {short_task(part.tasks[0])}", (part,))
    configs = study.configs()
    execution = Execution(
        Path(out),
        workers,
        pin,
        fresh,
        track,
        progress,
        checkpoint_every,
        step_timeout,
        env_processes,
        ray,
        gpus,
    )
    _train(configs, task, execution, callback, notes)
    return write_comparison_report(study, Path(out))


def evaluate(
    run: str | os.PathLike[str],
    *,
    episodes: int = 100,
    stochastic: bool = False,
    best: bool = False,
    seed: int = 0,
    task: Task | None = None,
) -> Evaluation:
    """Evaluate a trained policy with frozen statistics in fresh environments.

    Args:
        run: directory of a run, or a policy file.
        episodes: whole episodes to run.
        stochastic: samples instead of the deterministic mode.
        best: the best policy of the evaluations made during training, instead of the last.
        seed: seed of simulators and samples; never a training run's.
        task: another task than the one it was trained on, or the constructor it was trained with.
            What would import a module (`module:callable`, `package:Id`) is never taken from the
            policy's file, whoever wrote that; give it here.

    Raises:
        ConfigError: if there is no such policy, it does not fit the task, or its task has to be
            given.
    """
    from robustpo.evaluation.evaluate import evaluate_policy, recorded_task

    policy = _load(run, best)
    return evaluate_policy(
        policy,
        task or recorded_task(policy),
        episodes=episodes,
        deterministic=not stochastic,
        seed=seed,
    )


def record(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    episodes: int = 1,
    max_steps: int | None = None,
    stochastic: bool = False,
    best: bool = False,
    seed: int = 0,
    task: Task | None = None,
) -> Video:
    """Film a trained policy, without a screen (extra `video`).

    Args:
        run: directory of a run, or a policy file.
        out: the film, `.mp4` or `.mkv`; it runs as fast as the simulated world.
        episodes: whole episodes, one after the other.
        max_steps: steps after which an episode is cut, or None.
        stochastic: samples instead of the deterministic mode.
        best: as in `evaluate`.
        seed: seed of the simulator and of the samples.
        task: as in `evaluate`.

    Raises:
        ConfigError: as `evaluate`, or if the task cannot be drawn here; the message says what to
            install.
        StorageError: if the film could not be written.
    """
    from robustpo.evaluation.evaluate import recorded_task
    from robustpo.evaluation.video import record_video

    policy = _load(run, best)
    return record_video(
        policy,
        task or recorded_task(policy),
        out,
        episodes=episodes,
        deterministic=not stochastic,
        seed=seed,
        max_steps=max_steps,
    )


def _load(run: str | os.PathLike[str], best: bool) -> Policy:
    path = Path(run)
    if path.is_dir():
        path = path / (BEST_POLICY_FILE if best else POLICY_FILE)
    return load_policy(path)


def _train(
    configs: Sequence[RunConfig],
    task: Task,
    execution: Execution,
    callback: Callback | None,
    notes: Sequence[str],
) -> list[Path]:
    constructor = None if isinstance(task, str) else task
    return execute(configs, execution, constructor=constructor, callback=callback, notes=notes)


def _name(task: Task) -> str:
    if not isinstance(task, str) and not callable(task):
        raise ConfigError(f"task={task!r} is not valid; give an id or a function that makes one")
    return task if isinstance(task, str) else resolve(task).id


def _preset(task: str, out: Path, asked: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the preset to name, None for the task's own, and what is to be said of it."""
    if asked is not None:
        return asked, ()
    preset, note = settle_preset(task, out)
    return (preset, (note,)) if note else (None, ())


def _seeds(seeds: Seeds) -> tuple[int, ...]:
    return parse_seeds(seeds if isinstance(seeds, str | int) else list(seeds))
