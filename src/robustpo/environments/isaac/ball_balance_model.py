"""The bodies of BallBalance: MuJoCo's model, where its state keeps what, forces on the tray."""

from __future__ import annotations

import importlib
from importlib import resources
from typing import Any

import numpy as np

from robustpo.environments.availability import require_extra
from robustpo.environments.offscreen import choose_renderer

CONTROL_STEP = 0.01  # sim.dt, in s

# Columns of MuJoCo's state: time, then positions, then velocities.
TIME = 0
TRAY_ROTATION = slice(4, 8)
KNEES = slice(9, 14, 2)
BALL = slice(14, 17)
TRAY_VELOCITY = slice(21, 24)
TRAY_SPIN = slice(24, 27)  # in the tray's own frame
KNEE_VELOCITIES = slice(28, 33, 2)
BALL_VELOCITY = slice(33, 36)


def import_mujoco() -> Any:
    """Return the module `mujoco`.

    Raises:
        ConfigError: if it is not installed.
    """
    require_extra("mujoco", "task 'isaac/BallBalance-v0'")
    choose_renderer()
    return importlib.import_module("mujoco")


def load_model() -> Any:
    """Compile `ball_balance.xml`; return MuJoCo's `MjModel`."""
    file = resources.files("robustpo.environments.isaac").joinpath("ball_balance.xml")
    return import_mujoco().MjModel.from_xml_string(file.read_text(encoding="utf-8"))


def initial_state(model: Any) -> np.ndarray:
    """Return the state at rest with all joints at zero, `[S]`."""
    return np.concatenate([[0.0], model.qpos0, np.zeros(model.nv)])


def tray_inertia() -> np.ndarray:
    """Return the tray's articulated inertia in the initial pose, `[6, 6]`: linear, then angular.

    With joints free, a force `f` on the tray accelerates it by `A⁻¹ f`; `A⁻¹` is the tray's block
    of the inverse mass matrix (Featherstone, Rigid Body Dynamics Algorithms, 2008, section 7.1).
    """
    mujoco, model = import_mujoco(), load_model()
    model.dof_armature[:] = 0.0  # belongs to the drives' integration, not to the bodies
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    inverse = np.zeros((model.nv, model.nv))
    mujoco.mj_solveM(model, data, inverse, np.eye(model.nv))
    return np.linalg.inv(inverse[:6, :6])


def tray_wrench(before: np.ndarray, after: np.ndarray, inertia: np.ndarray) -> np.ndarray:
    """Return mean force and torque on the tray over a control step, in its frame, `[N, 6]`.

    Args:
        before: states at the step's beginning, `[N, S]`.
        after: states at its end.
        inertia: the tray's, `[6, 6]`.
    """
    moved = after[:, TRAY_VELOCITY] - before[:, TRAY_VELOCITY]
    moved = _into_frame(before[:, TRAY_ROTATION], moved)
    spun = after[:, TRAY_SPIN] - before[:, TRAY_SPIN]
    change = np.concatenate([moved, spun], axis=1)
    # Not `change @ inertia`: how BLAS rounds depends on the number of rows.
    return (change[:, :, None] * inertia).sum(axis=1) / CONTROL_STEP


def _into_frame(rotation: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return vectors `[N, 3]` of the world in frames given by unit quaternions `[N, 4]`."""
    scalar, axis = rotation[:, :1], -rotation[:, 1:]
    twice = 2 * np.cross(axis, vector)
    return vector + scalar * twice + np.cross(axis, twice)
