"""The Isaac-like Cartpole against MuJoCo's own dynamics of the same bodies and hand computation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustpo.environments.isaac.cartpole import Cartpole, accelerations, integrate
from robustpo.environments.jax_environment import JaxEnvironment

mujoco = pytest.importorskip("mujoco", reason="pip install 'robustpo[mujoco]'")

# The bodies as the URDF gives them: a free hinge of a uniform box, its centre 0.47 m up.
MODEL = """
<mujoco>
  <option gravity="0 0 -9.81" timestep="0.0083" integrator="Euler"/>
  <worldbody>
    <body>
      <joint name="slide" type="slide" axis="0 1 0"/>
      <geom type="box" size="0.1 0.125 0.1" mass="1" contype="0" conaffinity="0"/>
      <body pos="0.12 0 0">
        <joint name="hinge" type="hinge" axis="1 0 0"/>
        <geom type="box" size="0.02 0.03 0.5" pos="0 0 0.47" mass="1" contype="0" conaffinity="0"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="slide"/></actuator>
</mujoco>
"""


def test_accelerations_are_mujocos():
    model = mujoco.MjModel.from_xml_string(MODEL)
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    for _ in range(50):
        data.qpos[:], data.qvel[:] = rng.uniform(-1.6, 1.6, 2), rng.uniform(-8, 8, 2)
        data.ctrl[0] = rng.uniform(-400, 400)
        mujoco.mj_forward(model, data)
        ours = accelerations(data.qpos[1], data.qvel[1], data.ctrl[0])
        np.testing.assert_allclose(ours, data.qacc, rtol=1e-4, atol=1e-3)


def test_a_trajectory_is_mujocos():
    model = mujoco.MjModel.from_xml_string(MODEL)
    data = mujoco.MjData(model)
    state = jnp.array([0.05, -0.1, 0.08, 0.2])
    data.qpos[:], data.qvel[:] = [0.05, 0.08], [-0.1, 0.2]
    for force in np.random.default_rng(1).uniform(-20, 20, 60):
        state = integrate(state, jnp.float32(force), 0.0083)
        data.ctrl[0] = force
        mujoco.mj_step(model, data)
        expected = [data.qpos[0], data.qvel[0], data.qpos[1], data.qvel[1]]
        np.testing.assert_allclose(state, expected, rtol=1e-3, atol=1e-4)


def test_reward_of_a_state_at_rest():
    task, state = Cartpole(), jnp.array([0.5, 0.0, 0.0, 0.0])
    step = task.step(state, jnp.zeros(1), key=jax.random.key(0))
    assert float(step.reward) == 1.0 and not step.terminated
    np.testing.assert_array_equal(step.obs, state)


def test_reward_is_that_of_the_new_state():
    # A push of 40 N on the upright pair: p = 0.47, J = (0.06² + 1)/12 + 0.47², M = 2.
    inertia = (0.06**2 + 1) / 12 + 0.47**2
    determinant = 2 * inertia - 0.47**2
    dt = 0.0083
    velocity = dt * inertia * 40 / determinant
    step = Cartpole().step(jnp.zeros(4), jnp.array([0.1]), key=jax.random.key(0))
    x, v, theta, omega = map(float, step.state)
    # After one substep; the second adds nearly the same again.
    assert v == pytest.approx(2 * velocity, rel=0.01)
    assert omega == pytest.approx(2 * dt * 0.47 * 40 / determinant, rel=0.01)
    assert x == pytest.approx(3 * dt * velocity, rel=0.01)
    expected = 1 - theta**2 - 0.01 * abs(v) - 0.005 * abs(omega)
    assert float(step.reward) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("state", "fallen"),
    [
        ([3.001, 0.0, 0.0, 0.0], True),
        ([-3.001, 0.0, 0.0, 0.0], True),
        ([2.99, 0.0, 0.0, 0.0], False),
        ([0.0, 0.0, 1.58, 0.0], True),
        ([0.0, 0.0, -1.5, 0.0], False),
    ],
)
def test_falls_end_the_episode_and_cost_two(state, fallen):
    step = Cartpole().step(jnp.array(state), jnp.zeros(1), key=jax.random.key(0))
    assert bool(step.terminated) == fallen
    assert (float(step.reward) == -2.0) == fallen


def test_observations_are_clipped_and_the_state_is_not():
    step = Cartpole().step(jnp.array([0.0, 9.0, 0.0, 7.9]), jnp.zeros(1), key=jax.random.key(0))
    assert float(step.obs[1]) == 5.0 and float(step.obs[3]) == 5.0
    assert float(step.state[1]) > 8.0


def test_the_hinge_turns_at_eight_radians_a_second_at_most():
    state = integrate(jnp.array([0.0, 0.0, 1.5, 7.999]), jnp.float32(0), 0.0083)
    assert float(state[3]) == 8.0


def test_resets_are_uniform_in_their_boxes():
    _, obs = JaxEnvironment(Cartpole(), range(4000)).init()
    widths = np.array([0.1, 0.25, 0.1, 0.25])
    scaled = np.asarray(obs) / widths
    assert np.abs(scaled).max() <= 1
    # Mean 0 and variance 1/3 of U(−1, 1); five standard errors of 4000 samples.
    assert np.abs(scaled.mean(0)).max() < 5 / np.sqrt(3 * 4000)
    assert np.abs(scaled.var(0) - 1 / 3).max() < 5 * np.sqrt((1 / 5 - 1 / 9) / 4000)
    assert np.abs(np.corrcoef(scaled.T) - np.eye(4)).max() < 5 / np.sqrt(4000)


def test_an_episode_lasts_499_steps():
    environment = JaxEnvironment(Cartpole(), [1])
    state, obs = environment.init()

    def balance(carry, _):
        state, obs = carry
        # Any stabilising feedback will do; the cart drifts less than 3 m.
        action = jnp.clip(0.02 * obs[:, :1] + 0.05 * obs[:, 1:2] - 0.6 * obs[:, 2:3], -1, 1)
        state, step = environment.step(state, action - 0.12 * obs[:, 3:4])
        return (state, step.obs), step

    _, steps = jax.lax.scan(balance, (state, obs), length=1100)
    np.testing.assert_array_equal(np.flatnonzero(steps.truncated[:, 0]), [498, 997])
    assert not steps.terminated.any()
