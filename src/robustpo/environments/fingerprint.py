"""What a run was trained on, as plain data that can be held against another environment.

Four parts: a `description` (spaces, bounds, layout, time limit, arguments, wrappers) and a
`behaviour` (`probe`) decide; a digest of the code that makes the environment and the versions of
packages only make a note, the digest decides where there is no behaviour.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import Env, spaces
from gymnasium.wrappers import FlattenObservation, OrderEnforcing, PassiveEnvChecker

from robustpo.environments.base import Environment, TaskSpec
from robustpo.environments.callables import describe, digest
from robustpo.environments.catalog import find
from robustpo.environments.constructors import BRAX_PREFIX, PLAYGROUND_PREFIX
from robustpo.environments.entry_fingerprint import (
    DIGITS,
    PACKAGES,
    bounds,
    brief,
    interval,
    of_entry,
    shortened,
    versions,
)
from robustpo.environments.probe import TOLERANCE_FLOAT32, Probed, Unusable, behaviour, walked
from robustpo.environments.wrappers import layers

# They change nothing that is returned, and Gymnasium applies them by itself.
UNSEEN = (OrderEnforcing, PassiveEnvChecker)
# A program of more operations takes seconds to compile; its code is digested instead.
MAX_OPERATIONS = 2000


def fingerprint(environment: Environment, task: Any) -> dict[str, Any]:
    """Return what an environment is, before it is trained on.

    A catalogued task is described by its entry alone. An environment of the user's is stepped for a
    moment; its first reset, and so all that is trained on, stays what it would have been.

    Args:
        environment: freshly made and not yet reset.
        task: its id, or what makes it.
    """
    entry = find(task) if isinstance(task, str) else None
    if entry is not None:
        return of_entry(entry)
    if isinstance(task, str) and task.startswith((BRAX_PREFIX, PLAYGROUND_PREFIX)):
        return {"packages": versions(PACKAGES["mjx"])}
    if isinstance(environment, Probed):
        found = environment.describe()
        return found | _attempt(lambda: behaviour(environment))
    return _of_jax(environment)


def of_gymnasium(env: Env, constructor: Any, time_limit: int | None) -> dict[str, Any]:
    """Return what one environment of Gymnasium is, but for its behaviour."""
    own = env.env if isinstance(env, FlattenObservation) else env
    chain = [layer for layer in layers(own) if not isinstance(layer, UNSEEN)]
    description = {
        "class": type(chain[-1]).__qualname__,
        "wrappers": [type(layer).__qualname__ for layer in chain[:-1]],
        "observation": _layout(own.observation_space, ""),
        "action": _space(own.action_space),
        "time limit": time_limit,
        "arguments": _arguments(own, constructor),
    }
    return _made(description, constructor, [type(layer) for layer in chain])


def of_vector(env: Any, constructor: Any, spec: TaskSpec) -> dict[str, Any]:
    """Return what one vector environment is, but for its behaviour."""
    from robustpo.environments.vector_inspection import describe_classes

    description = describe_classes(env) | {
        "observation": _layout(env.single_observation_space, ""),
        "action": _space(env.single_action_space),
        "time limit": spec.episode_limit,
    }
    return _made(description, constructor, [type(layer) for layer in layers(env)])


def _of_jax(environment: Any) -> dict[str, Any]:
    task, spec = environment.task, environment.spec
    description = {
        "class": type(task).__qualname__,
        "observation": spec.observation_size,
        "action": interval(spec.action_low, spec.action_high),
        "time limit": spec.episode_limit,
        "arguments": {name: brief(value) for name, value in sorted(vars(task).items())},
    }
    found = _made(description, type(task), [type(task)])
    return found | _attempt(lambda: _walk_in_jax(task))


def _walk_in_jax(task: Any) -> dict[str, Any]:
    """Walk in a task written in JAX, whose functions hold no state that this could change."""
    from robustpo.environments.jax_environment import HostJaxEnvironment, JaxEnvironment
    from robustpo.environments.jax_task import operations

    if operations(task) > MAX_OPERATIONS:
        raise Unusable("compiling it for that alone would take long")
    environment = HostJaxEnvironment(JaxEnvironment(task, [0]))

    def step(action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        result = environment.step(action[None])
        flags = bool(result.terminated[0]), bool(result.truncated[0])
        return np.append(result.final_obs[0], result.obs[0]), float(result.reward[0]), *flags

    low, high = environment.spec.action_low, environment.spec.action_high
    # The step that ends an episode resets too, so that no reset has to be asked for.
    rows = walked(lambda: environment.reset()[0], step, low, high, resets=False)
    return {"tolerance": TOLERANCE_FLOAT32, "steps": list(rows)}


def _attempt(walk: Any) -> dict[str, Any]:
    try:
        return {"behaviour": walk(), "skipped": None}
    except Unusable as error:
        return {"behaviour": None, "skipped": str(error)}


def _made(description: dict[str, Any], constructor: Any, classes: list[type]) -> dict[str, Any]:
    """Add what made an environment to what it says of itself."""
    parts = [describe(part, follow=_is_own) for part in (constructor, *filter(_is_own, classes))]
    version = f"python-{sys.version_info[0]}.{sys.version_info[1]}"
    packages = ["gymnasium", *(part.__module__.partition(".")[0] for part in classes)]
    return {
        "description": description,
        "constructor": f"{version} {digest(' '.join(parts))[:DIGITS]}",
        "packages": versions(packages),
    }


def _is_own(part: Any) -> bool:
    """Whether a function or class is the user's, and not part of what is installed."""
    module = sys.modules.get(part.__module__ or "")
    if part.__module__ in ("__main__", None):
        return True
    file = getattr(module, "__file__", None)
    places = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}
    return file is not None and not any(Path(file).is_relative_to(place) for place in places)


def _arguments(env: Env, constructor: Any) -> dict[str, str]:
    """Return what an environment was made with, by its registration and by its constructor."""
    found = {} if env.spec is None else {k: brief(v) for k, v in env.spec.kwargs.items()}
    found.pop("render_mode", None)
    # What Gymnasium was given stands in the environment's registration.
    while isinstance(constructor, functools.partial) and constructor.func is not gymnasium.make:
        given = {str(i + 1): value for i, value in enumerate(constructor.args)}
        given |= {k: v for k, v in constructor.keywords.items() if k != "render_mode"}
        found = {name: brief(value) for name, value in given.items()} | found
        constructor = constructor.func
    return found


def _layout(space: spaces.Space, key: str) -> dict[str, str]:
    """Return the parts of an observation in the order in which they are flattened."""
    if isinstance(space, spaces.Dict):
        parts = [(f"{key}.{name}", part) for name, part in space.spaces.items()]
    elif isinstance(space, spaces.Tuple):
        parts = [(f"{key}.{number}", part) for number, part in enumerate(space.spaces)]
    else:
        return {key.removeprefix(".") or "all": _space(space)}
    return {name: text for inner, part in parts for name, text in _layout(part, inner).items()}


def _space(space: spaces.Space) -> str:
    if not isinstance(space, spaces.Box):
        return shortened(str(space))
    low, high = (bounds(bound) for bound in (space.low, space.high))
    return f"{list(space.shape)} {space.dtype} from {low} to {high}"
