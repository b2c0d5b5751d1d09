"""PyBullet's Ant and Minitaur with the real engine, as Gymnasium environments.

The Ant comes from `pybullet_envs_gymnasium`. The Minitaur exists only inside PyBullet's own
`pybullet_envs`, written for a Gym that is gone: the packages around it no longer import, so its one
module is loaded by itself, with Gymnasium in the place of `gym`, and its answers are translated.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import os
import random
import sys
import types
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import seeding

EPISODE_LIMIT = 1000
FRAME_HEIGHT, FRAME_WIDTH = 480, 640


def make_ant(render_mode: str | None = None) -> gymnasium.Env:
    """Build AntBulletEnv-v0."""
    with _silent():
        import pybullet_envs_gymnasium  # noqa: F401  (registers its tasks)

        env = gymnasium.make("AntBulletEnv-v0", render_mode=render_mode, disable_env_checker=True)
        env.reset()  # the first one starts the engine, which announces itself
    return _Drawn(env) if render_mode else env


def make_minitaur(render_mode: str | None = None) -> gymnasium.Env:
    """Build MinitaurBulletEnv-v0."""
    env = MinitaurEnv(render_mode)
    return gymnasium.wrappers.TimeLimit(env, EPISODE_LIMIT)


class _Drawn(gymnasium.Wrapper):
    """The Ant with a picture that needs no window, as its own does."""

    def render(self) -> np.ndarray:
        """Return a picture `[H, W, 3]` of uint8."""
        env: Any = self.unwrapped
        return _draw(env._p, env.robot.body_xyz, 3.0)


class MinitaurEnv(gymnasium.Env):
    """The Minitaur behind Gymnasium's interface.

    It draws from the global generators of `random` and NumPy. Here each environment has states of
    its own for them, in place only while it runs, so that it depends on its seed alone.

    Args:
        render_mode: `rgb_array` or None.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  (Gymnasium's own declaration)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._generators = _seeded_generators(None)
        with _silent(), self._own_generators():
            self._env: Any = _minitaur_class()()
        step = self._env._time_step * self._env._action_repeat
        self.metadata = {**self.metadata, "render_fps": round(1 / step)}
        self.spec = EnvSpec("MinitaurBulletEnv-v0", max_episode_steps=EPISODE_LIMIT)
        self.observation_space = self._env.observation_space
        self.action_space = self._env.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode, with the stream of random numbers of a new seed if one is given."""
        super().reset(seed=seed)
        if seed is not None:
            self._generators = _seeded_generators(seed)
        with self._own_generators():
            return np.asarray(self._env.reset()), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Step with an action within ±1."""
        with self._own_generators():
            obs, reward, done, info = self._env.step(action)
        return obs, float(reward), bool(done), False, info

    def render(self) -> np.ndarray:
        """Return a picture `[H, W, 3]` of uint8."""
        return _draw(self._env._pybullet_client, self._env.minitaur.GetBasePosition(), 1.0)

    def close(self) -> None:
        """Release the simulator."""
        with contextlib.suppress(Exception):
            self._env._pybullet_client.disconnect()

    @contextlib.contextmanager
    def _own_generators(self) -> Iterator[None]:
        outer = random.getstate(), np.random.get_state()
        random.setstate(self._generators[0])
        np.random.set_state(self._generators[1])
        try:
            yield
        finally:
            self._generators = random.getstate(), np.random.get_state()
            random.setstate(outer[0])
            np.random.set_state(outer[1])


def _draw(client: Any, target: Any, distance: float) -> np.ndarray:
    """Let PyBullet draw on the processor what lies `distance` metres in front of a camera."""
    view = client.computeViewMatrixFromYawPitchRoll(target, distance, 0, -30, 0, 2)
    lens = client.computeProjectionMatrixFOV(60, FRAME_WIDTH / FRAME_HEIGHT, 0.1, 100.0)
    _, _, pixels, _, _ = client.getCameraImage(
        FRAME_WIDTH, FRAME_HEIGHT, view, lens, renderer=client.ER_TINY_RENDERER
    )
    return np.reshape(pixels, (FRAME_HEIGHT, FRAME_WIDTH, 4))[..., :3].astype(np.uint8)


def _seeded_generators(seed: int | None) -> tuple[Any, Any]:
    """Return the states of Python's and NumPy's global generators after seeding."""
    return random.Random(seed).getstate(), np.random.RandomState(seed).get_state()


def _minitaur_class() -> type:
    """Import the Minitaur's module without the packages around it.

    What stands in for `gym` and `pkg_resources` is taken away again afterwards.
    """
    name = "pybullet_envs.bullet.minitaur_gym_env"
    if name not in sys.modules:
        stand_ins = {
            "gym": gymnasium,
            "gym.spaces": gymnasium.spaces,
            "gym.utils": gymnasium.utils,
            "gym.utils.seeding": seeding,
            "pkg_resources": _pkg_resources(),
        }
        before = {key: sys.modules.get(key) for key in stand_ins}
        sys.modules.update(_bare_packages() | stand_ins)
        try:
            importlib.import_module(name)
        finally:
            for key, module in before.items():
                del sys.modules[key]
                if module is not None:
                    sys.modules[key] = module
    return sys.modules[name].MinitaurBulletEnv


def _bare_packages() -> dict[str, types.ModuleType]:
    """Return the packages around the module: they find their modules but run nothing."""
    root = find_spec("pybullet_envs")
    assert root is not None and root.submodule_search_locations is not None
    folder = root.submodule_search_locations[0]
    packages = {"pybullet_envs": folder, "pybullet_envs.bullet": f"{folder}/bullet"}
    bare = {name: types.ModuleType(name) for name in packages}
    for name, package in bare.items():
        package.__path__ = [packages[name]]
    return bare


def _pkg_resources() -> types.ModuleType:
    """Return the one function that is asked of a package which setuptools no longer has."""
    from packaging.version import parse

    module: Any = types.ModuleType("pkg_resources")
    module.parse_version = parse
    return module


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what the old packages print, in C too, off standard output, and their warnings in."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        # What C has printed waits in a buffer of its own.
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
