"""Physics that differ from those of training.

That is mass, friction, damping, gravity, strength and timestep of a model in MuJoCo, and gravity
and friction of a world in PyBullet. A factor multiplies what is there, when it is made and, where a
reset assigns it anew or loads the world again, after that.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from robustpo.errors import ConfigError

# What each changes in a model of MuJoCo.
_MUJOCO: dict[str, tuple[Callable[[Any], np.ndarray], ...]] = {
    "mass": (lambda m: m.body_mass, lambda m: m.body_inertia),
    # The first of the numbers is that of sliding.
    "friction": (lambda m: m.geom_friction[:, :1], lambda m: m.pair_friction[:, :2]),
    "damping": (lambda m: m.dof_damping,),
    "gravity": (lambda m: m.opt.gravity,),
    # Force is gain · control + bias; an actuator that holds a position has its spring in the bias.
    "strength": (
        lambda m: m.actuator_gainprm[:, :1],
        lambda m: m.actuator_biasprm[:, :3],
        lambda m: m.actuator_forcerange,
    ),
}
_PYBULLET = ("friction", "gravity")


def dynamics_of(env: gymnasium.Env) -> tuple[str, ...]:
    """Return which changes of its physics an environment has; none for one without a model."""
    model = _mujoco_model(env)
    if model is not None:
        return (*(name for name in _MUJOCO if _has(model, name)), "timestep")
    return _PYBULLET if _pybullet_client(env) is not None else ()


def with_dynamics(constructor: Callable[[], Any], name: str, factor: float) -> Callable[[], Any]:
    """Return what makes the same environment with a part of its physics multiplied by a factor.

    Args:
        constructor: makes one environment of Gymnasium.
        name: one of `dynamics_of`.
        factor: greater than 0.

    Raises:
        ConfigError: when called, if the environment has no such part.
    """
    return functools.partial(_make, constructor, name, factor)


def _make(constructor: Callable[[], Any], name: str, factor: float) -> gymnasium.Env:
    env = constructor()
    if name not in dynamics_of(env):
        raise ConfigError(f"its model has no {name} to change")
    model = _mujoco_model(env)
    if model is None:
        return _ChangedBullet(env, name, factor)
    return _ChangedModel(env, model, name, factor)


def _has(model: Any, name: str) -> bool:
    """Whether changing a part of a model changes anything."""
    mujoco: Any = importlib.import_module("mujoco")
    off = {
        "friction": mujoco.mjtDisableBit.mjDSBL_CONTACT,
        "gravity": mujoco.mjtDisableBit.mjDSBL_GRAVITY,
    }
    if name in off and model.opt.disableflags & off[name]:
        return False
    return any(bool(np.any(part(model))) for part in _MUJOCO[name])


def _settle(model: Any) -> None:
    """Let MuJoCo compute again what it derives from masses, such as how constraints are scaled."""
    mujoco: Any = importlib.import_module("mujoco")
    mujoco.mj_setConst(model, mujoco.MjData(model))


def _mujoco_model(env: gymnasium.Env) -> Any:
    """Return the `MjModel` that an environment steps, dm_control's included; None without one."""
    own: Any = env.unwrapped
    physics = getattr(getattr(own, "environment", None), "physics", None)
    model = getattr(physics, "model", None)
    if model is not None:
        return getattr(model, "ptr", model)
    model = getattr(own, "model", None)
    return model if hasattr(model, "body_mass") and hasattr(model, "opt") else None


def _pybullet_client(env: gymnasium.Env) -> Any:
    """Return the connection to PyBullet of an environment; None without one."""
    own: Any = env.unwrapped
    inner = getattr(own, "_env", own)
    for name in ("_p", "_pybullet_client"):
        client = getattr(inner, name, None)
        if hasattr(client, "getDynamicsInfo"):
            return client
    return None


class _ChangedModel(gymnasium.Wrapper):
    """A model of MuJoCo that is changed for good; what a reset assigns anew is changed again."""

    def __init__(self, env: gymnasium.Env, model: Any, name: str, factor: float) -> None:
        super().__init__(env)
        self._model, self._name, self._factor = model, name, factor
        # What we have made of each part.
        self._ours: list[np.ndarray] = []
        self._change()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode with the changed model."""
        answer = self.env.reset(seed=seed, options=options)
        self._change()
        return answer

    def _change(self) -> None:
        model = self._model
        if self._name == "timestep":
            now = [np.array(model.opt.timestep)]
            changed = self._changed(now)
            model.opt.timestep = float(changed[0])
        else:
            parts = [part(model) for part in _MUJOCO[self._name]]
            changed = self._changed(parts)
            for part, value in zip(parts, changed, strict=True):
                part[:] = value
        if not self._ours or any(
            not np.array_equal(a, b) for a, b in zip(self._ours, changed, strict=True)
        ):
            _settle(model)
        self._ours = changed

    def _changed(self, now: list[np.ndarray]) -> list[np.ndarray]:
        """Multiply all that is not as we have left it."""
        if not self._ours:
            return [part * self._factor for part in now]
        return [
            np.where(part == ours, part, part * self._factor)
            for part, ours in zip(now, self._ours, strict=True)
        ]


class _ChangedBullet(gymnasium.Wrapper):
    """PyBullet's world with other gravity or friction, set after every reset.

    A reset may load the world anew or leave it as it is, so what was there at first is remembered
    for every part of a body.
    """

    def __init__(self, env: gymnasium.Env, name: str, factor: float) -> None:
        super().__init__(env)
        self._name, self._factor = name, factor
        self._first: dict[Any, Any] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode in the changed world."""
        answer = self.env.reset(seed=seed, options=options)
        client = _pybullet_client(self.env)
        if self._name == "gravity":
            now = client.getPhysicsEngineParameters()
            first = self._first.setdefault(
                "gravity", [now[f"gravityAcceleration{x}"] for x in "XYZ"]
            )
            client.setGravity(*(one * self._factor for one in first))
            return answer
        for body in range(client.getNumBodies()):
            for link in range(-1, client.getNumJoints(body)):
                # (mass, lateral friction, …)
                now = client.getDynamicsInfo(body, link)[1]
                first = self._first.setdefault((body, link), now)
                client.changeDynamics(body, link, lateralFriction=first * self._factor)
        return answer
