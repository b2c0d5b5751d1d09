"""Changed physics do what physics says."""

import importlib.util

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from robustpo.environments.constructors import find_constructor
from robustpo.environments.dynamics import dynamics_of, with_dynamics
from robustpo.errors import ConfigError

mujoco = pytest.importorskip("mujoco")

PENDULUM = "gymnasium/dm_control/pendulum-swingup-v0"
# A block on the ground, pushed along it, with a damped slider beside it.
MODEL = """
<mujoco>
  <option timestep="0.002" gravity="0 0 -9.81"/>
  <worldbody>
    <geom type="plane" size="100 100 1" friction="0.5 0 0"/>
    <body name="block" pos="0 0 0.1">
      <freejoint/>
      <geom type="box" size="0.2 0.2 0.1" mass="2" friction="0.5 0 0" condim="3"/>
    </body>
    <body pos="0 5 3">
      <joint name="slide" type="slide" axis="1 0 0" damping="4"/>
      <geom size="0.1" mass="1" contype="0" conaffinity="0"/>
    </body>
  </worldbody>
  <actuator><motor joint="slide" gear="3"/></actuator>
</mujoco>
"""


class Block(gymnasium.Env):
    """Gymnasium's way: the model and its data are attributes."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,))
    action_space = spaces.Box(-1, 1, (1,))

    def __init__(self):
        self.model = mujoco.MjModel.from_xml_string(MODEL)
        self.data = mujoco.MjData(self.model)

    def run(self, seconds, *, push=0.0, control=0.0):
        mujoco.mj_resetData(self.model, self.data)
        self.data.xfrc_applied[1, 0] = push
        self.data.ctrl[0] = control
        for _ in range(round(seconds / self.model.opt.timestep)):
            mujoco.mj_step(self.model, self.data)
        return self.data


def changed(name, factor):
    """Return the block itself, in its changed world."""
    block = with_dynamics(Block, name, factor)().unwrapped
    assert isinstance(block, Block)
    return block


def test_a_block_slides_where_friction_no_longer_holds_it():
    # It is held up to μ m g = 0.5 · 2 · 9.81 = 9.81 N.
    push = 7.0
    assert abs(Block().run(1.0, push=push).qpos[0]) < 0.01
    half = changed("friction", 0.5).run(1.0, push=push)
    # (F - μ m g) / m = (7 - 4.905) / 2, and half of that after a second.
    assert half.qpos[0] == pytest.approx((7 - 4.905) / 4, rel=0.05)


def test_less_gravity_holds_it_less():
    half = changed("gravity", 0.5)
    assert half.model.opt.gravity[2] == pytest.approx(-4.905)
    assert half.run(1.0, push=7.0).qpos[0] == pytest.approx((7 - 4.905) / 4, rel=0.05)


def test_twice_the_mass_is_accelerated_half_as_much():
    def acceleration(env):
        env.model.geom_friction[:] = 1e-6
        return env.run(0.5, push=4.0).qvel[0] / 0.5

    assert acceleration(Block()) == pytest.approx(4 / 2, rel=0.01)
    assert acceleration(changed("mass", 2.0)) == pytest.approx(4 / 4, rel=0.01)
    # What MuJoCo derives from masses goes with them.
    assert changed("mass", 2.0).model.body_subtreemass[0] == pytest.approx(6.0)


def test_the_slider_ends_at_the_speed_that_damping_and_strength_allow():
    # gear · control / damping = 3 / 4.
    speed = [env.run(5.0, control=1.0).qvel[-1] for env in (Block(), changed("damping", 2.0))]
    assert speed == pytest.approx([3 / 4, 3 / 8], rel=1e-3)
    assert changed("strength", 0.5).run(5.0, control=1.0).qvel[-1] == pytest.approx(3 / 8, rel=1e-3)


def test_a_pendulum_swings_twice_as_fast_under_four_times_the_gravity():
    def period(constructor):
        env = constructor()
        env.reset(seed=0)
        physics = env.unwrapped.environment.physics
        physics.model.ptr.dof_damping[:] = 0
        with physics.reset_context():
            # Half a turn from upright, and a little.
            physics.data.qpos[0] = np.pi + 0.05
        times, before = [], physics.data.qpos[0] - np.pi
        while len(times) < 5:
            physics.step()
            now = physics.data.qpos[0] - np.pi
            if before < 0 <= now:
                times.append(physics.data.time)
            before = now
        return np.diff(times).mean()

    constructor = find_constructor(PENDULUM)
    once, four = period(constructor), period(with_dynamics(constructor, "gravity", 4.0))
    # A point mass half a metre from the hinge: T = 2π √(l/g).
    assert once == pytest.approx(2 * np.pi * np.sqrt(0.5 / 9.81), rel=0.03)
    assert once / four == pytest.approx(2.0, rel=0.03)


def test_time_passes_twice_as_fast_with_twice_the_timestep():
    def elapsed(constructor):
        env = constructor()
        env.reset(seed=0)
        for _ in range(10):
            env.step(env.action_space.sample())
        return env.unwrapped.environment.physics.time()

    constructor = find_constructor(PENDULUM)
    assert elapsed(with_dynamics(constructor, "timestep", 2.0)) == pytest.approx(
        2 * elapsed(constructor)
    )


def test_what_a_reset_assigns_anew_is_changed_again():
    # dm_control's finger gives the hinge that is spun its damping in every episode.
    constructor = find_constructor("gymnasium/dm_control/finger-spin-v0")

    def damping(env):
        return env.unwrapped.environment.physics.model.ptr.dof_damping.copy()

    plain, three = constructor(), with_dynamics(constructor, "damping", 3.0)()
    for seed in (0, None, None):
        plain.reset(seed=seed)
        three.reset(seed=seed)
        assert damping(three) == pytest.approx(3 * damping(plain))


def test_what_a_model_lacks_is_none_of_its_shifts():
    # The pendulum touches nothing.
    pendulum = find_constructor(PENDULUM)
    assert dynamics_of(pendulum()) == ("mass", "damping", "gravity", "strength", "timestep")
    assert "friction" in dynamics_of(Block())
    assert dynamics_of(gymnasium.make("Pendulum-v1")) == ()
    with pytest.raises(ConfigError, match="no friction"):
        with_dynamics(pendulum, "friction", 2.0)()


@pytest.mark.skipif(importlib.util.find_spec("pybullet") is None, reason="needs pybullet")
@pytest.mark.parametrize("task", ["AntBulletEnv-v0", "MinitaurBulletEnv-v0"])
def test_the_world_of_pybullet_stays_changed_over_resets(task):
    def look(env):
        own = getattr(env.unwrapped, "_env", env.unwrapped)
        client = getattr(own, "_p", None) or own._pybullet_client
        bodies = range(client.getNumBodies())
        return (
            client.getPhysicsEngineParameters()["gravityAccelerationZ"],
            [client.getDynamicsInfo(body, -1)[1] for body in bodies],
        )

    env = find_constructor(task)()
    assert dynamics_of(env) == ("friction", "gravity")
    env.reset(seed=0)
    gravity, friction = look(env)
    env.close()
    for name, expected in (
        ("gravity", (gravity * 0.5, friction)),
        ("friction", (gravity, [value * 0.5 for value in friction])),
    ):
        env = with_dynamics(find_constructor(task), name, 0.5)()
        for seed in (0, None, None):
            env.reset(seed=seed)
            env.step(env.action_space.sample())
            found = look(env)
            assert found[0] == pytest.approx(expected[0])
            assert found[1] == pytest.approx(expected[1])
        env.close()
