"""Training from Python: the same words as on the command line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

from robustpo.api.values import NO_ARGUMENTS, Task, with_env_kwargs
from robustpo.base.files import user_path
from robustpo.base.naming import short_task
from robustpo.base.validation import plain, require
from robustpo.config.run import RunConfig
from robustpo.environments.constructors import task_name
from robustpo.errors import ConfigError, UnfinishedError
from robustpo.execution.execution import execute
from robustpo.execution.manner import Execution
from robustpo.runs.extension import extension_note, require_extensible
from robustpo.studies.extending import what_extends
from robustpo.studies.grid import parse_seeds, sweep_methods
from robustpo.studies.preset_choice import settle_study
from robustpo.studies.request import left_by_sweeps, request_notes, require_request, with_left_alone
from robustpo.studies.study import Part, Study, name_methods, named_study
from robustpo.studies.vector_choice import settle_vectors

if TYPE_CHECKING:
    from robustpo.reports.report import ComparisonReport

# Numbers may be NumPy's, of any width.
Seeds = str | SupportsIndex | Iterable[SupportsIndex]
Numbers = SupportsFloat | Iterable[SupportsFloat]
Callback = Callable[[dict[str, Any]], object]


def train(
    task: Task,
    *,
    env_kwargs: Mapping[str, Any] = NO_ARGUMENTS,
    method: str | None = None,
    seeds: Seeds | None = None,
    steps: SupportsIndex = 8_000_000,
    out: str | os.PathLike[str] = "runs",
    workers: SupportsIndex | None = None,
    pin: bool = True,
    fresh: bool = False,
    extend: str | os.PathLike[str] | None = None,
    track: str | None = None,
    callback: Callback | None = None,
    progress: bool = True,
    checkpoint_every: SupportsIndex = 0,
    step_timeout: SupportsFloat = 60.0,
    env_processes: SupportsIndex = 0,
    ray: str | None = None,
    gpus: SupportsFloat = 0.0,
    allow: Iterable[str] = (),
    **options: Any,
) -> list[Path]:
    """Train one method on a task, all seeds at once, and record every run.

    Args:
        task: id of the task, `module:callable`, or a function that returns a Gymnasium
            environment; a function is trained in this process.
        env_kwargs: arguments of what makes the environment, part of the task's name:
            `module:callable:length=2`.
        method: name of the method (`robustpo.METHODS`); by default `"rpo"`.
        seeds: a seed, several, or text such as `"0:10"`; by default 0.
        steps: simulator steps of each run, floored to whole iterations.
        out: directory that holds all runs.
        workers: processes; by default one per core, as far as memory goes.
        pin: whether each process claims a core for itself.
        fresh: whether to train again what is recorded already, moving the old record aside.
        extend: directory of a finished run, or of a variant with all its seeds, that a new run goes
            on with, from its last step to `steps`: with its optimiser, normalisers, simulators and
            draws, so that it ends as a run does that was planned that long, bit for bit, where no
            schedule depends on the length. Method, seeds and settings are that run's, but for
            the options given here; its shape stays.
        track: `"tensorboard"` writes scalars beside each run.
        callback: called with an event after every iteration of every agent: a dictionary with
            `variant`, `seed`, `step`, the metrics, the run's `directory`, and `policy()`, which
            loads the policy as of the last checkpoint (`checkpoint_every`). If it returns False,
            all runs stop with a checkpoint and their policies, and the same call goes on with
            them; an exception raised in it ends training and comes out of the call.
        progress: whether to show progress on standard error.
        checkpoint_every: steps between checkpoints, from which a run that was stopped goes on
            when it is asked for again; 0 for one every two minutes.
        step_timeout: seconds that a step of a simulator outside the compiled program may take in
            a worker process; 0 for no limit.
        env_processes: processes of each worker that step simulators outside the compiled program,
            for slow ones; 0 steps them in the worker. Results do not depend on it.
        ray: address of a Ray cluster that trains, or `"auto"` (extra `ray`).
        gpus: GPUs, or the fraction of one, that each worker asks Ray for.
        allow: extensions that only a file names, `module:name`, such as those of the policy
            `init_policy`; what is named by an argument here may be imported anyway.
        **options: any field of `Settings` and `Shape`, `preset`, `eval_every`, `eval_episodes` and
            `init_policy`.

    Returns:
        The directory of each run, in the order of the seeds; all of them are done, unless
        `callback` stopped them. They are absolute if `task` is a function.

    Raises:
        ConfigError: if the request cannot be carried out as written; nothing has been done then.
        UnfinishedError: if a run has failed (its agent diverged, now or when it was recorded) or is
            missing (its worker died); all that could be trained is recorded, and the error has the
            directories of the runs that are done.
        TrainingError: if a simulator fails in this process.

    Example:
        >>> import robustpo
        >>> runs = robustpo.train(  # doctest: +SKIP
        ...     "dm_control/cartpole-balance-v0", seeds="0:3", steps=100_000
        ... )
        >>> policy = robustpo.load_policy(runs[0])  # doctest: +SKIP
    """
    task = with_env_kwargs(task, env_kwargs)
    own, said = _run_options(options), []
    chosen = None if seeds is None else parse_seeds(seeds)
    if extend is not None:
        method, chosen, own = what_extends(user_path(extend), method, chosen, own)
    named = RunConfig.method if method is None else method
    part = Part((_name(task),), (named,), chosen or (0,), plain(steps), own)
    execution = _execution(task, locals())
    study = named_study(Study("training", named, (part,)))
    study = settle_vectors(study, None if isinstance(task, str) else task)
    study, kept = settle_study(study, execution.out)
    if extend is not None:
        said = [extension_note(c, require_extensible(c)) for c in study.configs()]
    return _train(study, task, execution, callback, [*kept, *said])


def compare(
    task: Task,
    *,
    env_kwargs: Mapping[str, Any] = NO_ARGUMENTS,
    methods: str | Iterable[str] = ("ppo", "rpo"),
    seeds: Seeds = "0:10",
    steps: SupportsIndex = 8_000_000,
    alphas: Numbers = (),
    learning_rates: Numbers = (),
    entropy_coefs: Numbers = (),
    out: str | os.PathLike[str] = "runs",
    workers: SupportsIndex | None = None,
    pin: bool = True,
    fresh: bool = False,
    track: str | None = None,
    callback: Callback | None = None,
    progress: bool = True,
    checkpoint_every: SupportsIndex = 0,
    step_timeout: SupportsFloat = 60.0,
    env_processes: SupportsIndex = 0,
    ray: str | None = None,
    gpus: SupportsFloat = 0.0,
    allow: Iterable[str] = (),
    judge_by: str = "",
    **options: Any,
) -> ComparisonReport:
    """Train several methods or values on a task and say which is better, with what certainty.

    Args:
        task: as in `train`.
        env_kwargs: as in `train`.
        methods: names of methods, none twice; the first, or `ppo` where it is among them, is the
            reference.
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
        allow: extensions that only a file names.
        judge_by: what to judge by instead of the return: the name of a number that the environment
            puts into `info` at the end of an episode, such as `"is_success"`; `"distance:min"`
            where less is better. What is 0 or 1 for every episode is a proportion, and tested as
            one.
        **options: as in `train`, shared by all methods that remain what they are with them; which
            do not is said.

    Returns:
        The report: `sentence`, `table` (Markdown), and the `files` written.

    Raises:
        ConfigError: if the request cannot be carried out as written; nothing has been done then.
        UnfinishedError: as `train`; it has the report on the runs that are done.
        TrainingError: as `train`.
    """
    from robustpo.reports.quantity import parse_quantity
    from robustpo.reports.report import write_comparison_report

    task = with_env_kwargs(task, env_kwargs)
    sweeps = {"alpha": alphas, "learning_rate": learning_rates, "entropy_coef": entropy_coefs}
    parse_quantity(judge_by)
    study = _comparison(task, methods, sweeps, seeds, steps, options)
    study = replace(study, judged_by=judge_by)
    execution = _execution(task, locals())
    study = settle_vectors(study, None if isinstance(task, str) else task)
    study, kept = settle_study(study, execution.out)
    try:
        _train(study, task, execution, callback, kept)
    except UnfinishedError as error:
        # There is none where no run of a variant has left anything.
        with contextlib.suppress(ConfigError):
            error.report = write_comparison_report(study, execution.out)
        raise
    return write_comparison_report(study, execution.out)


def _comparison(
    task: Task,
    methods: str | Iterable[str],
    swept: Mapping[str, Numbers],
    seeds: Seeds,
    steps: SupportsIndex,
    options: dict[str, Any],
) -> Study:
    names = (methods,) if isinstance(methods, str) else tuple(methods)
    name_methods(names)
    sweeps = {name: _numbers(f"{name}s", values) for name, values in swept.items()}
    part = Part(
        (_name(task),),
        sweep_methods(names, sweeps),
        parse_seeds(seeds),
        plain(steps),
        {name: value for name, value in _run_options(options).items() if value is not None},
    )
    title = f"{' and '.join(names)} on {short_task(part.tasks[0])}"
    study = Study("comparison", title, (part,), notes=tuple(left_by_sweeps(names, sweeps)))
    return with_left_alone(named_study(study))


def _train(
    study: Study,
    task: Task,
    execution: Execution,
    callback: Callback | None,
    notes: Iterable[str],
) -> list[Path]:
    require_request(study)
    return execute(
        study.configs(),
        execution,
        constructor=None if isinstance(task, str) else task,
        callback=callback,
        notes=list(dict.fromkeys([*notes, *study.notes, *request_notes(study)])),
    )


def _execution(task: Task, given: Mapping[str, Any]) -> Execution:
    """Take from what was given how to train."""
    execution = Execution.of(given)
    # An environment in this process may change to another directory.
    return replace(execution, out=execution.out.absolute()) if callable(task) else execution


def _run_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as they are stored: numbers as Python's own, the path as the system has it."""
    require("seed" not in options, "seed", options.get("seed"), "seeds=..., for one as for several")
    found = {name: plain(value) for name, value in options.items()}
    if found.get("init_policy") is not None:
        found["init_policy"] = str(user_path(found["init_policy"]))
    return found


def _numbers(name: str, values: Numbers) -> tuple[float, ...]:
    """Return swept values, of which one may be given alone."""
    found = plain(values)
    if not isinstance(found, tuple):
        found = plain(list(found)) if isinstance(found, Iterable) else (found,)
    require(all(type(x) in (int, float) for x in found), name, values, "numbers")
    return found


def _name(task: Task) -> str:
    return task if isinstance(task, str) else task_name(task)
