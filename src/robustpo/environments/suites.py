"""The tasks of every suite, as data.

Left out on purpose: `dm_control/lqr-*`. Its actions are unbounded (±1e10), its episodes have no
time limit and EnvPool cuts them at 1,000 steps, so no number would mean what people expect. Of
MuJoCo Playground's control suite, ReacherEasy and ReacherHard do not build with this MuJoCo.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from robustpo.environments.entry import Entry


def entries() -> Iterator[Entry]:
    """Return every task, suite by suite."""
    yield from _deepmind_control()
    yield from _mujoco()
    yield from _others()
    yield from _pybullet()
    yield from _isaac()
    yield from _playground()


# domain, tasks, action size, parts of the observation in dm_control's order. EnvPool returns the
# union of a domain's parts with constant fillers, and orders fish-swim's otherwise.
_ARM = "arm_pos:16 arm_vel:8 touch:5 hand_pos:4"
_DOG = (
    "joint_angles:73 joint_velocites:73 torso_pelvis_height:2 z_projection:9 torso_com_velocity:3 "
    "inertial_sensors:9 foot_forces:12 touch_sensors:4 actuator_state:38"
)
_HUMANOID = "head_height:1 extremities:12 torso_vertical:3 com_velocity:3"
_QUADRUPED = "egocentric_state:44 torso_velocity:3 torso_upright:1 imu:6 force_torque:24"
_DEEPMIND_CONTROL = (
    ("acrobot", "swingup swingup_sparse", 1, "orientations:4 velocity:2"),
    ("ball_in_cup", "catch", 2, "position:4 velocity:4"),
    (
        "cartpole",
        "balance balance_sparse swingup swingup_sparse",
        1,
        "position:3 velocity:2",
    ),
    ("cartpole", "two_poles", 1, "position:5 velocity:3"),
    ("cartpole", "three_poles", 1, "position:7 velocity:4"),
    ("cheetah", "run", 6, "position:8 velocity:9"),
    ("dog", "stand walk trot run", 38, _DOG),
    ("dog", "fetch", 38, f"{_DOG} ball_state:6 target_position:3"),
    ("finger", "spin", 2, "position:4 velocity:3 touch:2"),
    (
        "finger",
        "turn_easy turn_hard",
        2,
        "position:4 velocity:3 touch:2 target_position:2 dist_to_target:1",
    ),
    ("fish", "upright", 5, "joint_angles:7 upright:1 velocity:13"),
    ("fish", "swim", 5, "joint_angles:7 upright:1 target:3 velocity:13"),
    ("hopper", "stand hop", 4, "position:6 velocity:7 touch:2"),
    ("humanoid", "stand walk run", 21, f"joint_angles:21 {_HUMANOID} velocity:27"),
    ("humanoid", "run_pure_state", 21, "position:28 velocity:27"),
    ("humanoid_CMU", "stand walk run", 56, f"joint_angles:56 {_HUMANOID} velocity:62"),
    (
        "manipulator",
        "bring_ball bring_peg insert_ball insert_peg",
        5,
        f"{_ARM} object_pos:4 object_vel:3 target_pos:4",
    ),
    ("pendulum", "swingup", 1, "orientation:2 velocity:1"),
    ("point_mass", "easy hard", 2, "position:2 velocity:2"),
    ("quadruped", "walk run", 12, _QUADRUPED),
    ("quadruped", "escape", 12, f"{_QUADRUPED} origin:3 rangefinder:20"),
    ("quadruped", "fetch", 12, f"{_QUADRUPED} ball_state:9 target_position:3"),
    ("reacher", "easy hard", 2, "position:2 to_target:2 velocity:2"),
    ("stacker", "stack_2", 5, f"{_ARM} box_pos:8 box_vel:6 target_pos:2"),
    ("stacker", "stack_4", 5, f"{_ARM} box_pos:16 box_vel:12 target_pos:2"),
    ("swimmer", "swimmer6", 5, "joints:5 to_target:2 body_velocities:18"),
    ("swimmer", "swimmer15", 14, "joints:14 to_target:2 body_velocities:45"),
    ("walker", "stand walk run", 6, "orientations:14 height:1 velocity:9"),
)
# Yaw, lift and extend of four legs; every other dm_control action lies in [-1, 1].
_QUADRUPED_LOW = (-1.0, -1.0, -0.8) * 4
_QUADRUPED_HIGH = (1.0, 1.1, 0.8) * 4
_OTHER_POLES = (
    "EnvPool's extra poles start within N(0, 0.01), dm_control's within N(0, 0.1); "
    "gymnasium/dm_control/cartpole-{}-v0 is dm_control itself"
)
_DM_CONTROL_NOTES = {
    "ball_in_cup-catch": "EnvPool pays for a ball within 0.042 m of the target, dm_control within "
    "0.025; gymnasium/dm_control/ball_in_cup-catch-v0 is dm_control itself",
    "cartpole-two_poles": _OTHER_POLES.format("two_poles"),
    "cartpole-three_poles": _OTHER_POLES.format("three_poles"),
    "quadruped-escape": "EnvPool's terrain is white noise, dm_control's is smooth; "
    "gymnasium/dm_control/quadruped-escape-v0 is dm_control itself",
}

# name, observation size in v4 and in v5, action size, action bound, episode limit, ends early.
_MUJOCO = (
    ("Ant", 27, 105, 8, 1.0, 1000, True),
    ("HalfCheetah", 17, 17, 6, 1.0, 1000, False),
    ("Hopper", 11, 11, 3, 1.0, 1000, True),
    ("Humanoid", 376, 348, 17, 0.4, 1000, True),
    ("HumanoidStandup", 376, 348, 17, 0.4, 1000, False),
    ("InvertedDoublePendulum", 11, 9, 1, 1.0, 1000, True),
    ("InvertedPendulum", 4, 4, 1, 3.0, 1000, True),
    ("Pusher", 23, 23, 7, 2.0, 100, False),
    ("Reacher", 11, 10, 2, 1.0, 50, False),
    ("Swimmer", 8, 8, 2, 1.0, 1000, False),
    ("Walker2d", 17, 17, 6, 1.0, 1000, True),
)
# Their observations contain contact forces, which stay zero unless the pool is told to compute
# them; Gymnasium always does, and EnvPool's v5 does by default.
_CONTACT_FORCES = {"Humanoid-v4", "HumanoidStandup-v4"}

# id, suite, observation size, action size, action bound, episode limit, ends early, random step.
_OTHERS = (
    ("Pendulum-v1", "Classic Control", 3, 1, 2.0, 200, False, False),
    ("MountainCarContinuous-v0", "Classic Control", 2, 1, 1.0, 999, True, False),
    ("BipedalWalker-v3", "Box2D", 24, 4, 1.0, 1600, True, False),
    ("BipedalWalkerHardcore-v3", "Box2D", 24, 4, 1.0, 2000, True, False),
    ("LunarLanderContinuous-v2", "Box2D", 8, 2, 1.0, 1000, True, True),
    ("LunarLanderContinuous-v3", "Box2D", 8, 2, 1.0, 1000, True, True),
)

# name, action size, observation size.
_PLAYGROUND = (
    ("AcrobotSwingup", 1, 6),
    ("AcrobotSwingupSparse", 1, 6),
    ("BallInCup", 2, 8),
    ("CartpoleBalance", 1, 5),
    ("CartpoleBalanceSparse", 1, 5),
    ("CartpoleSwingup", 1, 5),
    ("CartpoleSwingupSparse", 1, 5),
    ("CheetahRun", 6, 17),
    ("FingerSpin", 2, 9),
    ("FingerTurnEasy", 2, 12),
    ("FingerTurnHard", 2, 12),
    ("FishSwim", 5, 24),
    ("HopperHop", 4, 15),
    ("HopperStand", 4, 15),
    ("HumanoidStand", 21, 67),
    ("HumanoidWalk", 21, 67),
    ("HumanoidRun", 21, 67),
    ("PendulumSwingup", 1, 3),
    ("PointMass", 2, 4),
    ("SwimmerSwimmer6", 5, 25),
    ("WalkerRun", 6, 24),
    ("WalkerStand", 6, 24),
    ("WalkerWalk", 6, 24),
)


def _deepmind_control() -> Iterator[Entry]:
    for domain, tasks, action_size, parts in _DEEPMIND_CONTROL:
        pairs = (part.split(":") for part in parts.split())
        observation = tuple((key, int(size)) for key, size in pairs)
        low, high = (-1.0,) * action_size, (1.0,) * action_size
        if domain == "quadruped":
            low, high = _QUADRUPED_LOW, _QUADRUPED_HIGH
        for task in tasks.split():
            name = f"{domain}-{task}"
            yield Entry(
                id=f"dm_control/{name}-v0",
                suite="DeepMind Control",
                observation=observation,
                action_low=low,
                action_high=high,
                episode_limit=1000,
                ends_early=False,
                simulator="envpool",
                extra="envpool",
                source=f"{_camel(domain)}{_camel(task)}-v1",
                note=_DM_CONTROL_NOTES.get(name, ""),
            )


def _camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _mujoco() -> Iterator[Entry]:
    for version in ("v4", "v5"):
        for name, size_v4, size_v5, action_size, bound, limit, ends_early in _MUJOCO:
            task_id = f"{name}-{version}"
            yield _flat(
                task_id,
                f"MuJoCo {version}",
                size_v4 if version == "v4" else size_v5,
                action_size,
                bound,
                episode_limit=limit,
                ends_early=ends_early,
                simulator="envpool",
                extra="envpool",
                source=task_id,
                options={"post_constraint": True} if task_id in _CONTACT_FORCES else {},
            )


def _others() -> Iterator[Entry]:
    for task_id, suite, size, action_size, bound, limit, early, random in _OTHERS:
        yield _flat(
            task_id,
            suite,
            size,
            action_size,
            bound,
            episode_limit=limit,
            ends_early=early,
            simulator="envpool",
            extra="envpool",
            source=task_id,
            random_step=random,
        )


def _pybullet() -> Iterator[Entry]:
    for task_id, function in (
        ("AntBulletEnv-v0", "make_ant"),
        ("MinitaurBulletEnv-v0", "make_minitaur"),
    ):
        yield _flat(
            task_id,
            "PyBullet",
            28,
            8,
            1.0,
            episode_limit=1000,
            ends_early=True,
            simulator="gymnasium",
            source=f"robustpo.environments.pybullet:{function}",
            extra="pybullet",
        )


def _isaac() -> Iterator[Entry]:
    note = "rebuilt from IsaacGym's definition; its PhysX is not MuJoCo, nor exact equations"
    yield _flat(
        "isaac/Cartpole-v0",
        "Isaac-like",
        4,
        1,
        1.0,
        episode_limit=499,
        ends_early=True,
        simulator="jax",
        source="robustpo.environments.isaac.cartpole:Cartpole",
        note=note,
    )
    yield _flat(
        "isaac/BallBalance-v0",
        "Isaac-like",
        24,
        3,
        1.0,
        episode_limit=499,
        ends_early=True,
        simulator="mujoco",
        source="robustpo.environments.isaac.ball_balance:BallBalance",
        extra="mujoco",
        note=note,
    )


def _playground() -> Iterator[Entry]:
    for name, action_size, size in _PLAYGROUND:
        yield _flat(
            f"playground/{name}",
            "MuJoCo Playground",
            size,
            action_size,
            1.0,
            episode_limit=1000,
            ends_early=False,
            simulator="jax",
            source="robustpo.environments.brax_task:make_playground",
            options={"name": name},
            extra="mjx",
        )


def _flat(
    task_id: str, suite: str, size: int, action_size: int, bound: float, **rest: Any
) -> Entry:
    """Return the entry of a task with one array of observations and symmetric bounds."""
    return Entry(
        id=task_id,
        suite=suite,
        observation=(("obs", size),),
        action_low=(-bound,) * action_size,
        action_high=(bound,) * action_size,
        **rest,
    )
