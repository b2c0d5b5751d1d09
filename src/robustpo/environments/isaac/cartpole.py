"""IsaacGym's Cartpole rebuilt in plain JAX; "Isaac-like", because PhysX is not integrated here.

Observation, action scaling, reward, resets, termination, control rate and episode length are those
of IsaacGymEnvs' `tasks/cartpole.py`, `cfg/task/Cartpole.yaml` and `assets/urdf/cartpole.urdf` (the
names in comments are theirs). The bodies are the same; their exact equations of motion are
integrated by semi-implicit Euler, two substeps per control step. What differs:

* PhysX solves joints iteratively, with numerical damping of its own; here there is none.
* The stop of the slide at ±4 m is left out: an episode ends at ±3 m.
* The original resets in the step after the end and pays that step for the fresh state; here the
  ending step resets and no step is wasted, so that returns lie lower by that one reward (about 1).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32

from robustpo.environments.jax_task import JaxStep, JaxTask

CONTROL_STEP = 0.0166  # sim.dt, in s
SUBSTEPS = 2  # sim.substeps
GRAVITY = 9.81  # sim.gravity, in m/s²
MAX_FORCE = 400.0  # env.maxEffort, in N
CART_MASS = 1.0  # link "cart", in kg
POLE_MASS = 1.0  # link "pole", in kg
POLE_CENTRE = 0.47  # origin of its inertia, in m from the hinge
POLE_SIZES = (0.06, 1.0)  # of its box across and along, in m, in the plane of the motion
MAX_CART_SPEED = 100.0  # velocity limit of "slider_to_cart", in m/s
MAX_POLE_SPEED = 8.0  # velocity limit of "cart_to_pole", in rad/s
MAX_CART_DISTANCE = 3.0  # env.resetDist, in m
MAX_POLE_ANGLE = math.pi / 2  # in rad
RESET_POSITION = 0.1  # half-width of both positions at reset
RESET_VELOCITY = 0.25  # half-width of both velocities at reset
FALL_REWARD = -2.0
OBSERVATION_CLIP = 5.0  # env.clipObservations
EPISODE_LIMIT = 499  # an episode ends once progress_buf reaches max_episode_length − 1

# About the hinge: m (w² + h²)/12 about the centre, m l² for its distance.
POLE_INERTIA = POLE_MASS * (sum(side**2 for side in POLE_SIZES) / 12 + POLE_CENTRE**2)
POLE_MOMENT = POLE_MASS * POLE_CENTRE


class Cartpole(JaxTask):
    """The cart is pushed along a slide so that the pole on it stays up.

    State: position and velocity of the cart (m, m/s), angle and angular velocity of the pole from
    the upright (rad, rad/s), `[4]`. A positive angle leans towards negative positions.
    """

    observation_size = 4
    action_low, action_high = (-1.0,), (1.0,)
    episode_limit = EPISODE_LIMIT

    def reset(self, *, key: Array) -> tuple[Float32[Array, "4"], Float32[Array, "4"]]:
        """Draw positions from U(−0.1, 0.1) and velocities from U(−0.25, 0.25)."""
        width = jnp.array([RESET_POSITION, RESET_VELOCITY] * 2)
        state = width * jax.random.uniform(key, (4,), minval=-1.0)
        return state, state

    def step(
        self, state: Float32[Array, "4"], action: Float32[Array, "1"], *, key: Array
    ) -> JaxStep:
        """Push the cart with `400 a` newtons for 16.6 ms."""
        force = MAX_FORCE * action[0]
        for _ in range(SUBSTEPS):
            state = integrate(state, force, CONTROL_STEP / SUBSTEPS)
        fallen = has_fallen(state)
        obs = jnp.clip(state, -OBSERVATION_CLIP, OBSERVATION_CLIP)
        return JaxStep(state, obs, jnp.where(fallen, FALL_REWARD, upright_reward(state)), fallen)


def upright_reward(state: Float32[Array, "4"]) -> Float32[Array, ""]:
    """Return `1 − θ² − 0.01 |ẋ| − 0.005 |θ̇|` (`compute_cartpole_reward`)."""
    _, cart_velocity, angle, angular_velocity = state
    return 1 - angle**2 - 0.01 * jnp.abs(cart_velocity) - 0.005 * jnp.abs(angular_velocity)


def has_fallen(state: Float32[Array, "4"]) -> Bool[Array, ""]:
    """Return whether the cart is beyond 3 m or the pole beyond the horizontal."""
    return (jnp.abs(state[0]) > MAX_CART_DISTANCE) | (jnp.abs(state[2]) > MAX_POLE_ANGLE)


def integrate(state: Float32[Array, "4"], force: Array, dt: float) -> Float32[Array, "4"]:
    """Advance by `dt` seconds: new velocities from the accelerations, positions from these."""
    position, velocity, angle, spin = state
    acceleration, spin_rate = accelerations(angle, spin, force)
    velocity = jnp.clip(velocity + dt * acceleration, -MAX_CART_SPEED, MAX_CART_SPEED)
    spin = jnp.clip(spin + dt * spin_rate, -MAX_POLE_SPEED, MAX_POLE_SPEED)
    return jnp.stack([position + dt * velocity, velocity, angle + dt * spin, spin])


def accelerations(angle: Array, spin: Array, force: Array) -> tuple[Array, Array]:
    """Solve the equations of motion of cart and pole for `ẍ` and `θ̈`.

    With the pole's moment `p = m l`, its inertia about the hinge `J` and all mass `M`:
    `M ẍ − p cos θ θ̈ = F − p sin θ θ̇²` and `J θ̈ − p cos θ ẍ = p g sin θ`.
    """
    mass = CART_MASS + POLE_MASS
    sine, coupling = jnp.sin(angle), POLE_MOMENT * jnp.cos(angle)
    push = force - POLE_MOMENT * sine * spin**2
    fall = POLE_MOMENT * GRAVITY * sine
    determinant = mass * POLE_INERTIA - coupling**2
    return (
        (POLE_INERTIA * push + coupling * fall) / determinant,
        (coupling * push + mass * fall) / determinant,
    )
