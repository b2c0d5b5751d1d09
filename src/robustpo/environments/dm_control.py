"""dm_control itself as a Gymnasium environment, stepped from the host.

It is what EnvPool's tasks are held against, what draws them, and what a user gets who asks for
`gymnasium/dm_control/...`. Shimmy offers the same, but its spaces sort the observation's keys, so
that dm_control's own order is lost.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from robustpo.environments import catalog
from robustpo.environments.entry import Entry
from robustpo.environments.offscreen import choose_renderer

FRAME_HEIGHT, FRAME_WIDTH = 480, 640


class DmControlEnv(gymnasium.Env):
    """One task of `dm_control.suite` with a flat observation in dm_control's order.

    A reset with a seed replaces the task's source of random numbers, as loading the task with that
    seed would; later resets go on with it.

    Args:
        environment: what `suite.load` returned.
        entry: the task's entry in the catalog.
        render_mode: `rgb_array` or None.
    """

    def __init__(self, environment: Any, entry: Entry, render_mode: str | None = None) -> None:
        self.environment = environment
        self.spec = EnvSpec(entry.id, max_episode_steps=entry.episode_limit)
        self.render_mode = render_mode
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": round(1 / environment.control_timestep()),
        }
        self._keys = [key for key, _ in entry.observation]
        size = (entry.observation_size,)
        self.observation_space = spaces.Box(-np.inf, np.inf, size, np.float64)
        bounds = environment.action_spec()
        self.action_space = spaces.Box(bounds.minimum, bounds.maximum, bounds.shape, np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        if seed is not None:
            self.environment.task._random = np.random.RandomState(seed)
        return self._flat(self.environment.reset().observation), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Step; an end with discount 0 is terminal, any other is the time limit."""
        result = self.environment.step(action)
        terminated = bool(result.last() and result.discount == 0)
        truncated = bool(result.last() and not terminated)
        return self._flat(result.observation), float(result.reward), terminated, truncated, {}

    def render(self) -> np.ndarray:
        """Return a picture `[H, W, 3]` of uint8 from the task's first camera."""
        return self.environment.physics.render(FRAME_HEIGHT, FRAME_WIDTH, camera_id=0)

    def close(self) -> None:
        """Release the simulator."""
        self.environment.close()

    def _flat(self, observation: dict[str, Any]) -> np.ndarray:
        return np.concatenate([np.ravel(observation[key]) for key in self._keys])


def make_dm_control(task_id: str, render_mode: str | None = None, **options: Any) -> DmControlEnv:
    """Build dm_control's own implementation of a catalogued task such as `dm_control/dog-run-v0`.

    Args:
        task_id: its id.
        render_mode: `rgb_array` or None.
        **options: what dm_control's task takes, such as `time_limit` in seconds.

    Raises:
        ConfigError: if the catalog has no such task.
    """
    entry = catalog.find(task_id)
    if entry is None or entry.suite != "DeepMind Control":
        raise catalog.unknown_task(task_id)
    choose_renderer()
    from dm_control import suite

    domain, _, task = task_id.removeprefix("dm_control/").removesuffix("-v0").partition("-")
    return DmControlEnv(suite.load(domain, task, options or None), entry, render_mode)
