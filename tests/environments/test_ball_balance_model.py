"""The bodies of BallBalance against hand-computed geometry, masses and mechanics."""

import math

import numpy as np
import pytest

from robustpo.environments.isaac.ball_balance_model import (
    CONTROL_STEP,
    initial_state,
    load_model,
    tray_inertia,
    tray_wrench,
)

mujoco = pytest.importorskip("mujoco")

LEG, RADIUS = 0.36, 0.02
TRAY_HEIGHT = LEG * math.sqrt(2) + 2 * RADIUS + 0.01


@pytest.fixture
def model():
    return load_model()


@pytest.fixture
def data(model):
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return data


def test_masses_are_densities_times_volumes(model):
    leg = 1000 * (math.pi * RADIUS**2 * LEG + 4 / 3 * math.pi * RADIUS**3)
    expected = [100 * math.pi * 0.5**2 * 0.02, *[leg] * 6, 200 * 4 / 3 * math.pi * 0.1**3]
    np.testing.assert_allclose(model.body_mass[1:], expected)


def test_tray_stands_on_legs_bent_by_a_right_angle(data):
    assert data.body("tray").xpos[2] == pytest.approx(TRAY_HEIGHT)
    assert data.body("tray").xpos[2] == pytest.approx(0.559117, abs=1e-6)
    inner = 0.4 - LEG / math.sqrt(2)
    for leg in range(3):
        outward = np.array([math.cos(leg * 2 * math.pi / 3), math.sin(leg * 2 * math.pi / 3)])
        hip, knee = data.body(f"upper_leg{leg}").xpos, data.body(f"lower_leg{leg}").xpos
        np.testing.assert_allclose(hip, [*0.4 * outward, TRAY_HEIGHT - 0.03], atol=1e-9)
        np.testing.assert_allclose(knee, [*inner * outward, RADIUS + LEG / math.sqrt(2)], atol=1e-9)
        for site in (f"foot{leg}", f"anchor{leg}"):
            np.testing.assert_allclose(data.site(site).xpos, [*0.4 * outward, 0.02], atol=1e-9)


@pytest.mark.parametrize(("joint", "low", "high"), [("hip", -45, 45), ("knee", -70, 90)])
def test_joint_ranges_and_axes(model, data, joint, low, high):
    for leg in range(3):
        found = model.joint(f"{joint}{leg}")
        np.testing.assert_allclose(np.rad2deg(found.range), [low, high])
        # Along the local y axis of a leg that points to `angle`.
        angle = leg * 2 * math.pi / 3
        tangent = [-math.sin(angle), math.cos(angle), 0.0]
        np.testing.assert_allclose(data.xaxis[found.id], tangent, atol=1e-9)


def test_only_knees_are_driven(model):
    driven = [model.joint(joint).name for joint, _ in model.actuator_trnid]
    assert driven == ["knee0", "knee1", "knee2"]
    assert not model.actuator_forcelimited.any()


@pytest.mark.parametrize("inertia", [0.02, 0.5])
def test_drives_act_at_the_end_of_a_step(model, inertia):
    stiffness, damping, h = 4000.0, 100.0, model.opt.timestep
    angle, speed, target = 0.3, -2.0, 0.5
    # J (v' − v) = h (K (u − q − h v') − D v'), solved for v'.
    implicit = (inertia * speed + h * stiffness * (target - angle)) / (
        inertia + h * damping + h**2 * stiffness
    )
    knee = model.joint("knee0")
    gain, bias = model.actuator_gainprm[0], model.actuator_biasprm[0]
    torque = gain[0] * target + bias[0] + bias[1] * angle + bias[2] * speed
    assert gain[0] == stiffness == -bias[1]
    explicit = speed + h * torque / (inertia + knee.armature[0])
    assert explicit == pytest.approx(implicit)


def test_only_the_ball_and_the_trays_rim_touch_things(model):
    names = ["ground", "tray", *["leg"] * 6, "ball"]
    touching = {
        tuple(sorted((names[i], names[j])))
        for i in range(model.ngeom)
        for j in range(i)
        if model.geom_contype[i] & model.geom_conaffinity[j]
        or model.geom_contype[j] & model.geom_conaffinity[i]
    }
    ball = {tuple(sorted(("ball", other))) for other in ("ground", "tray", "leg")}
    assert touching == {*ball, ("ground", "tray")}


def test_articulated_inertia_is_force_over_acceleration_with_joints_free(model):
    model.dof_armature[:] = 0.0
    model.opt.gravity[:] = 0.0
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_EQUALITY)
    data = mujoco.MjData(model)
    inertia, tray = tray_inertia(), model.body("tray").id
    for axis in range(6):
        data.xfrc_applied[tray] = np.eye(6)[axis]
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(inertia @ data.qacc[:6], np.eye(6)[axis], atol=1e-9)
    assert model.body_mass[tray] < inertia[2, 2] < model.body_mass[1:8].sum()


def test_wrench_is_inertia_times_acceleration_in_the_trays_frame(model):
    before = np.tile(initial_state(model), (2, 1))
    after = before.copy()
    # Turned by 90° about z, the tray's x axis is the world's y axis.
    before[:, 4:8] = [math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)]
    after[0, 21:27] = [-2.0, 1.0, 3.0, 0.1, 0.2, 0.3]
    inertia = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    wrench = tray_wrench(before, after, inertia)
    expected = np.array([1 * 1, 2 * 2, 3 * 3, 4 * 0.1, 5 * 0.2, 6 * 0.3]) / 0.01
    np.testing.assert_allclose(wrench, [expected, np.zeros(6)], atol=1e-9)


def test_dropped_ball_does_not_bounce_and_rests_on_the_tray(model):
    data, steps = mujoco.MjData(model), round(CONTROL_STEP / model.opt.timestep)
    data.qpos[15], data.qvel[14] = 1.5, -5.0
    heights, rises = [], []
    for _ in range(200 * steps):
        mujoco.mj_step(model, data)
        heights.append(data.qpos[15] - data.qpos[2])
        rises.append(data.qvel[14])
    # Centre above centre: half the tray and the ball's radius.
    assert heights[-1] == pytest.approx(0.11, abs=5e-4)
    assert min(heights) > 0.06
    assert max(rises) < 0.5
    assert data.qpos[2] == pytest.approx(TRAY_HEIGHT, abs=2e-3)
    np.testing.assert_allclose(data.qvel, 0.0, atol=1e-3)
