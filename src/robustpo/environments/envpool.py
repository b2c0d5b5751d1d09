"""EnvPool: simulators in C++, stepped inside a compiled program or from the host.

Both adapters step the same pool and return the same bits. What is peculiar to EnvPool stays here:

* DeepMind Control and MuJoCo pools speak float64. Making a pool's XLA functions, tracing them and
  resetting all happen inside `jax.enable_x64(True)`, and values are cast to float32 at the border:
  a float64 call traced with x64 off corrupts the heap.
* A pool resets itself on the step after an episode's end (`elapsed_step == 0`), ignoring the action
  and, on DeepMind Control, repeating the old reward. That row is not `valid`.
* The pool's address is part of the compiled program, so a new pool is compiled anew. The adapter
  keeps its pool alive; whoever holds the compiled step must hold the adapter.
* `env_id` is never passed to the XLA functions: it crashes them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from robustpo.base.places import cache_directory
from robustpo.environments import catalog
from robustpo.environments.base import HostEnvironment, Replayed, Step, TracedEnvironment
from robustpo.environments.entry import Entry
from robustpo.errors import ConfigError

MAX_ENV_SEED = 2**31 - 1
# Where EnvPool lets Matplotlib keep its caches unless MPLCONFIGDIR says so.
MATPLOTLIB = "ENVPOOL_JUMANJI_MPLCONFIGDIR"


class EnvPoolEnvironment(TracedEnvironment, Replayed):
    """A pool stepped inside `jit` and `lax.scan`.

    The state is the pool's handle: it orders the calls and holds no simulator state, so a program
    must thread it and may not step from an old one. There is no `vmap` rule.

    Args:
        task: a catalogued task or its id.
        env_seeds: one seed per environment; each environment's episodes depend on its own seed
            only, not on the other environments or on `num_threads`.
        num_threads: simulator threads. One process per core with one thread is fastest.

    Raises:
        ConfigError: if the task is not in the catalog, a seed is out of range, or the platform
            cannot run EnvPool inside XLA.
    """

    cacheable = False

    def __init__(self, task: Entry | str, env_seeds: Sequence[int], num_threads: int = 1) -> None:
        import jax

        if sys.platform in ("darwin", "win32"):
            raise ConfigError(
                f"EnvPool cannot run inside XLA on platform {sys.platform!r}, only on Linux; "
                "train there or in a Linux container, or put `gymnasium/` before the id of a "
                "Gymnasium task to step it from the host"
            )
        self._entry = _entry(task)
        self.spec = catalog.spec(self._entry)
        self.num_envs = len(env_seeds)
        self.random_step = self._entry.random_step
        with jax.enable_x64(True):
            self._pool = _make_pool(self._entry, env_seeds, num_threads)
            self._handle, _, _, self._step = self._pool.xla()
        self._action_dtype = self._pool.spec.action_array_spec["action"].dtype

    def init(self) -> tuple[Any, Any]:
        """Reset every environment; a second call begins the next episodes of the same streams."""
        import jax
        import jax.numpy as jnp

        with jax.enable_x64(True):
            raw, _ = self._pool.reset()
            obs = _select(np, self._entry, raw)
        return jnp.asarray(self._handle), jnp.asarray(obs)

    def step(self, state: Any, action: Any) -> tuple[Any, Step]:
        """Step all environments with actions `[N, A]` inside the bounds; traceable."""
        import jax
        import jax.numpy as jnp

        with jax.enable_x64(True):
            state, result = self._step(state, action.astype(self._action_dtype))
            return state, _to_step(jnp, self._entry, result)

    def _reset_some(self, which: np.ndarray) -> np.ndarray:
        return _in_order(self._entry, which, *self._pool.reset(which.astype(np.int32)))

    def _step_some(self, which: np.ndarray, action: np.ndarray) -> np.ndarray:
        result = self._pool.step(action.astype(self._action_dtype), which.astype(np.int32))
        return _in_order(self._entry, which, result[0], result[-1])


class HostEnvPool(HostEnvironment):
    """The same pool stepped from Python, for policies that act in NumPy; imports no XLA program.

    Args:
        task: a catalogued task or its id.
        env_seeds: one seed per environment.
        num_threads: simulator threads.

    Raises:
        ConfigError: if the task is not in the catalog or a seed is out of range.
    """

    def __init__(self, task: Entry | str, env_seeds: Sequence[int], num_threads: int = 1) -> None:
        self._entry = _entry(task)
        self.spec = catalog.spec(self._entry)
        self.num_envs = len(env_seeds)
        self._pool = _make_pool(self._entry, env_seeds, num_threads)
        self._action_dtype = self._pool.spec.action_array_spec["action"].dtype

    def reset(self) -> np.ndarray:
        """Reset all environments; return observations `[N, O]` float32."""
        raw, _ = self._pool.reset()
        return _select(np, self._entry, raw)

    def step(self, action: np.ndarray) -> Step:
        """Step all environments with actions `[N, A]` float32 inside the bounds."""
        result = self._pool.step(np.asarray(action).astype(self._action_dtype))
        return _to_step(np, self._entry, result)

    def render(self, index: int = 0) -> np.ndarray:
        """Return the picture `[H, W, 3]` of uint8 of one environment of a pool that draws."""
        return self._pool.render(index)[0]

    def close(self) -> None:
        """Release the simulators."""
        self._pool.close()


def _entry(task: Entry | str) -> Entry:
    entry = catalog.find(task) if isinstance(task, str) else task
    if entry is None:
        near = " or ".join(catalog.nearest(str(task))) or "one that `robustpo envs` lists"
        raise ConfigError(f"task={task!r} is not in the catalog; choose {near}")
    return entry


def _make_pool(entry: Entry, env_seeds: Sequence[int], num_threads: int) -> Any:
    seeds = [int(seed) for seed in env_seeds]
    if not seeds or min(seeds) < 0 or max(seeds) > MAX_ENV_SEED:
        raise ConfigError(
            f"env_seeds={seeds} is not valid; give one seed or more from 0 to {MAX_ENV_SEED}"
        )
    pool = _import().make(
        entry.source,
        env_type="gymnasium",
        num_envs=len(seeds),
        env_seed=seeds,
        num_threads=num_threads,
        **entry.options,
    )
    with warnings.catch_warnings():
        # EnvPool describes float32 pools by float64 bounds and Gymnasium warns of it. The space is
        # made once, here instead of at the first reset, so that nobody sees a warning about it.
        warnings.filterwarnings("ignore", message=".*precision lowered by casting")
        _ = pool.observation_space
    return pool


def _import() -> Any:
    """Import EnvPool, which makes a directory for Matplotlib: beside compiled programs, if it can.

    By itself it takes one in /tmp, which may not be there or be somebody else's.
    """
    place = cache_directory()
    with contextlib.suppress(OSError):
        if place is not None:
            (place / "matplotlib").mkdir(parents=True, exist_ok=True)
            os.environ.setdefault(MATPLOTLIB, str(place / "matplotlib"))
    import envpool

    return envpool


def _select(xp: Any, entry: Entry, raw: Any) -> Any:
    """Flatten the task's own parts of a raw observation, in their order, to `[N, O]` float32."""
    if not isinstance(raw, dict):
        raw = {"obs": raw}
    parts = [raw[key].reshape(raw[key].shape[0], -1) for key, _ in entry.observation]
    return xp.concatenate(parts, axis=1).astype(xp.float32)


def _in_order(entry: Entry, which: np.ndarray, raw: Any, info: Any) -> np.ndarray:
    """Return the observations of some environments in the order in which they were asked for."""
    returned = list(info["env_id"])
    return _select(np, entry, raw)[[returned.index(i) for i in which]]


def _to_step(xp: Any, entry: Entry, result: tuple[Any, ...]) -> Step:
    raw, reward, terminated, truncated, info = result
    obs = _select(xp, entry, raw)
    return Step(
        obs=obs,
        reward=reward.astype(xp.float32),
        terminated=terminated.astype(bool),
        truncated=truncated.astype(bool),
        final_obs=obs,
        valid=info["elapsed_step"] != 0,
    )
