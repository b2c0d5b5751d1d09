"""How many environments an agent has on tasks that are vectors: as many as the vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from robustpo.environments import catalog
from robustpo.environments.base import TaskSpec
from robustpo.environments.make import require_num_envs, resolve
from robustpo.environments.task_arguments import VECTOR_PREFIX
from robustpo.studies.grid import parse_method
from robustpo.studies.study import Part, Study


def settle_vectors(study: Study, constructor: Callable[[], Any] | None = None) -> Study:
    """Give runs on vectors as many environments as these have.

    Args:
        study: what is asked for.
        constructor: makes the environment of its one task, where that is not a name.

    Raises:
        ConfigError: if `num_envs` is asked for and contradicts a vector, or a task cannot be made.
    """
    specs = {
        task: resolve(constructor or task)
        for task in study.tasks
        if constructor is not None or _may_be_vector(task)
    }
    parts: list[Part] = []
    for part in study.parts:
        sizes = {task: _num_envs(part, specs.get(task)) for task in part.tasks}
        for size in dict.fromkeys(sizes.values()):
            tasks = tuple(task for task in part.tasks if sizes[task] == size)
            options = part.options if size is None else part.options | {"num_envs": size}
            parts.append(replace(part, tasks=tasks, options=options))
    return replace(study, parts=tuple(parts))


def _may_be_vector(task: str) -> bool:
    """Whether only making a task tells what it is: code of the user's, or an id as a vector."""
    return catalog.find(task) is None and (":" in task or task.startswith(VECTOR_PREFIX))


def _num_envs(part: Part, spec: TaskSpec | None) -> int | None:
    """Return the environments of an agent on a vector, None for any other task."""
    if spec is None or spec.num_envs is None:
        return None
    require_num_envs(spec, part.options.get("num_envs"))
    for text in part.methods:
        require_num_envs(spec, parse_method(text)[1].get("num_envs"))
    return spec.num_envs
