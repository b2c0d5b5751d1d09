"""Environments that draw themselves, without a screen.

EnvPool's tasks are drawn by the benchmark's own implementation, which they agree with: dm_control,
or Gymnasium. EnvPool itself draws only what Gymnasium no longer has: its MuJoCo finds no graphics
library unless the system's was loaded before EnvPool, and then ends the process.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robustpo.environments import catalog
from robustpo.environments.availability import require_extra
from robustpo.environments.base import HostEnvironment
from robustpo.environments.constructors import (
    construct,
    find_constructor,
    load_source,
    task_name,
)
from robustpo.environments.entry import Entry
from robustpo.environments.fence import Fence
from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.inspection import Task
from robustpo.environments.offscreen import choose_renderer, load_egl, require_renderer
from robustpo.environments.task_arguments import split_arguments, with_arguments
from robustpo.environments.vector import VectorEnvironment, make_vector
from robustpo.environments.vector_inspection import is_vector
from robustpo.errors import ConfigError

DEFAULT_FPS = 30.0
# Steps per second of tasks that Gymnasium no longer has.
ENVPOOL_FPS = {"LunarLanderContinuous-v2": 50.0, "Pusher-v4": 20.0}
ENVPOOL_SIZE = 480


@dataclass(frozen=True)
class Rendering:
    """One environment that draws itself.

    Attributes:
        environment: the environment, stepped from the host.
        frame: returns the picture of where it stands, `[H, W, 3]` uint8.
        fps: steps per second of simulated time.
    """

    environment: HostEnvironment
    frame: Callable[[], np.ndarray]
    fps: float


def make_rendering(task: Task, seed: int) -> Rendering:
    """Make one environment of a task that draws itself.

    Raises:
        ConfigError: if the task is unknown, cannot be drawn, or something it needs is missing.
    """
    choose_renderer()
    entry = catalog.published(task) if isinstance(task, str) else None
    if entry is not None and entry.simulator == "mujoco":
        from robustpo.environments.isaac.ball_balance_model import CONTROL_STEP

        batch: Any = load_source(entry)
        environment = batch([seed])
        return Rendering(environment, environment.render, 1 / CONTROL_STEP)
    if entry is not None and entry.id in ENVPOOL_FPS:
        return _envpool_rendering(entry, seed)
    constructor = _drawing(task, entry, split_arguments(task)[1] if isinstance(task, str) else {})
    environment = _make_drawing(constructor, seed, task_name(task))
    return Rendering(environment, environment.render, environment.fps or DEFAULT_FPS)


def _make_drawing(
    constructor: Callable[[], Any], seed: int, name: str
) -> GymnasiumEnvironment | VectorEnvironment:
    fence = Fence(name, seed, 0)
    made = construct(name, constructor, fence)
    if is_vector(made):
        return make_vector(constructor, name, (fence, made), [seed])
    return GymnasiumEnvironment(constructor, [seed], name=name, first=(fence, made))


def _envpool_rendering(entry: Entry, seed: int) -> Rendering:
    require_extra("envpool", f"a picture of {entry.id!r}")
    if entry.suite.startswith("MuJoCo"):
        load_egl(f"task {entry.id!r}")
    from robustpo.environments.envpool import HostEnvPool

    pictures = {
        "render_mode": "rgb_array",
        "render_width": ENVPOOL_SIZE,
        "render_height": ENVPOOL_SIZE,
    }
    pool = HostEnvPool(dataclasses.replace(entry, options=entry.options | pictures), [seed])
    return Rendering(pool, pool.render, ENVPOOL_FPS[entry.id])


def _drawing(task: Task, entry: Entry | None, arguments: Mapping[str, Any]) -> Callable[[], Any]:
    """Return a constructor of the task with pictures on."""
    name = task_name(task)
    if entry is not None and entry.simulator == "jax":
        raise ConfigError(
            f"task {name!r} is simulated inside the compiled program and has no picture; record "
            "its policy on a task with the same observations, if there is one, with --task"
        )
    original = with_arguments(f"gymnasium/{entry.id}", arguments) if entry is not None else task
    if entry is not None and entry.suite == "DeepMind Control":
        require_renderer(f"task {name!r}")
        return _with_pictures(find_constructor(original))
    if entry is not None and entry.suite.startswith("MuJoCo"):
        require_extra("mujoco", f"a picture of {name!r}")
        require_renderer(f"task {name!r}")
        constructor = find_constructor(original)
        return functools.partial(_follow, _with_pictures(constructor))
    constructor = find_constructor(original)
    return _with_pictures(constructor) if _takes_render_mode(constructor) else constructor


def _takes_render_mode(constructor: Callable[[], Any]) -> bool:
    try:
        parameters = inspect.signature(constructor).parameters.values()
    except (TypeError, ValueError):
        # Some that are written in C do not say what they take.
        return False
    return any(p.name == "render_mode" or p.kind == p.VAR_KEYWORD for p in parameters)


def _follow(constructor: Callable[[], Any]) -> Any:
    """Build a MuJoCo environment whose camera goes with the robot.

    Gymnasium's free camera stays where the robot begins, and a cheetah is out of its picture within
    two seconds; nearly all models have a camera that tracks.
    """
    env = constructor()
    renderer = env.unwrapped.mujoco_renderer
    if env.unwrapped.model.ncam:
        renderer.camera_id = 0
    return env


def _with_pictures(constructor: Callable[..., Any]) -> Callable[[], Any]:
    return functools.partial(constructor, render_mode="rgb_array")
