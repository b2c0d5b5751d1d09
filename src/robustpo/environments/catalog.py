"""Every task that robustpo knows by name, as data.

Importing this module imports no simulator (EnvPool alone takes three seconds), so sizes and bounds
are written down here and `tests/environments/test_catalog.py` holds them against the simulators.

Left out on purpose: `dm_control/lqr-*`. Its actions are unbounded (±1e10), its episodes have no
time limit and EnvPool cuts them at 1,000 steps, so no number would mean what people expect.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from robustpo.environments.base import TaskSpec


@dataclass(frozen=True)
class Entry:
    """One named task and how to build it.

    Attributes:
        id: the name people use for it.
        suite: the benchmark it belongs to.
        pool: the simulator's own name for it (an EnvPool task id).
        observation: keys and lengths of the observation's parts, in the benchmark's own order;
            the one key `obs` where the simulator returns a single array.
        action_low: lower bounds of the action.
        action_high: upper bounds of the action.
        episode_limit: steps after which an episode is truncated.
        published: key of the published results (`env_id` of CleanRL's RPO tables), or None.
        pool_options: options the pool is made with, where its defaults are not the benchmark's.
        random_step: whether `step` draws random numbers, so that replaying an episode's actions
            after the same number of resets does not restore its state.
        simulator: the adapter that steps it.
    """

    id: str
    suite: str
    pool: str
    observation: tuple[tuple[str, int], ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    episode_limit: int
    published: str | None = None
    pool_options: dict[str, Any] = field(default_factory=dict)
    random_step: bool = False
    simulator: str = "envpool"

    @property
    def observation_size(self) -> int:
        """Length `O` of the flat observation."""
        return sum(size for _, size in self.observation)


def find(task_id: str) -> Entry | None:
    """Return the entry of a task, or None if the catalog has no such name."""
    return CATALOG.get(task_id)


def spec(entry: Entry) -> TaskSpec:
    """Return sizes and limits of a catalogued task without touching its simulator."""
    return TaskSpec(
        id=entry.id,
        suite=entry.suite,
        observation_size=entry.observation_size,
        action_low=entry.action_low,
        action_high=entry.action_high,
        episode_limit=entry.episode_limit,
        simulator=entry.simulator,
    )


def nearest(task_id: str, others: Iterable[str] = ()) -> list[str]:
    """Return up to three known names closest to `task_id`, among the catalog and `others`.

    Case, and a prefix or version that was forgotten, do not count against a name, so that
    `walker-walk` finds `dm_control/walker-walk-v0`.
    """
    known = {**dict.fromkeys(others), **dict.fromkeys(CATALOG)}
    by_core: dict[str, list[str]] = {}
    for name in known:
        by_core.setdefault(_core(name), []).append(name)
    core = _core(task_id)
    cores = [core] if core in by_core else difflib.get_close_matches(core, by_core, cutoff=0.6)
    found = [name for near in cores for name in sorted(by_core[near], key=_preference)]
    if core in by_core and found[0] in CATALOG:
        found = [name for name in found if name in CATALOG]
    return found[:3]


def _preference(name: str) -> tuple[bool, bool, int]:
    """Sort names that differ in namespace and version: catalogued, plain, newest first."""
    version = name.rpartition("-v")[2]
    return name not in CATALOG, "/" in name, -int(version) if version.isdigit() else 0


def _core(task_id: str) -> str:
    """Strip namespace and version and fold case: `dm_control/walker-walk-v0` → `walkerwalk`."""
    stem = task_id.rsplit("/", 1)[-1].lower()
    head, _, version = stem.rpartition("-v")
    stem = head if head and version.isdigit() else stem
    return "".join(letter for letter in stem if letter.isalnum())


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
_UNPUBLISHED = {"dm_control/humanoid_CMU-walk-v0"}

# name, observation size in v4 and in v5, action size, action bound, episode limit.
_MUJOCO = (
    ("Ant", 27, 105, 8, 1.0, 1000),
    ("HalfCheetah", 17, 17, 6, 1.0, 1000),
    ("Hopper", 11, 11, 3, 1.0, 1000),
    ("Humanoid", 376, 348, 17, 0.4, 1000),
    ("HumanoidStandup", 376, 348, 17, 0.4, 1000),
    ("InvertedDoublePendulum", 11, 9, 1, 1.0, 1000),
    ("InvertedPendulum", 4, 4, 1, 3.0, 1000),
    ("Pusher", 23, 23, 7, 2.0, 100),
    ("Reacher", 11, 10, 2, 1.0, 50),
    ("Swimmer", 8, 8, 2, 1.0, 1000),
    ("Walker2d", 17, 17, 6, 1.0, 1000),
)
# Their observations contain contact forces, which stay zero unless the pool is told to compute
# them; Gymnasium always does, and EnvPool's v5 does by default.
_CONTACT_FORCES = {"Humanoid-v4", "HumanoidStandup-v4"}

# id, suite, observation size, action size, action bound, episode limit, published, random step.
_OTHERS = (
    ("Pendulum-v1", "Classic Control", 3, 1, 2.0, 200, True, False),
    ("MountainCarContinuous-v0", "Classic Control", 2, 1, 1.0, 999, False, False),
    ("BipedalWalker-v3", "Box2D", 24, 4, 1.0, 1600, True, False),
    ("BipedalWalkerHardcore-v3", "Box2D", 24, 4, 1.0, 2000, False, False),
    ("LunarLanderContinuous-v2", "Box2D", 8, 2, 1.0, 1000, False, True),
    ("LunarLanderContinuous-v3", "Box2D", 8, 2, 1.0, 1000, False, True),
)


def _deepmind_control() -> Iterator[Entry]:
    for domain, tasks, action_size, parts in _DEEPMIND_CONTROL:
        pairs = (part.split(":") for part in parts.split())
        observation = tuple((key, int(size)) for key, size in pairs)
        low, high = (-1.0,) * action_size, (1.0,) * action_size
        if domain == "quadruped":
            low, high = _QUADRUPED_LOW, _QUADRUPED_HIGH
        for task in tasks.split():
            task_id = f"dm_control/{domain}-{task}-v0"
            yield Entry(
                id=task_id,
                suite="DeepMind Control",
                pool=f"{_camel(domain)}{_camel(task)}-v1",
                observation=observation,
                action_low=low,
                action_high=high,
                episode_limit=1000,
                published=None if task_id in _UNPUBLISHED else task_id,
            )


def _camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _mujoco() -> Iterator[Entry]:
    for version in ("v4", "v5"):
        for name, size_v4, size_v5, action_size, bound, limit in _MUJOCO:
            task_id = f"{name}-{version}"
            yield Entry(
                id=task_id,
                suite=f"MuJoCo {version}",
                pool=task_id,
                observation=(("obs", size_v4 if version == "v4" else size_v5),),
                action_low=(-bound,) * action_size,
                action_high=(bound,) * action_size,
                episode_limit=limit,
                published=task_id if version == "v4" else None,
                pool_options={"post_constraint": True} if task_id in _CONTACT_FORCES else {},
            )


def _others() -> Iterator[Entry]:
    for task_id, suite, size, action_size, bound, limit, published, random_step in _OTHERS:
        yield Entry(
            id=task_id,
            suite=suite,
            pool=task_id,
            observation=(("obs", size),),
            action_low=(-bound,) * action_size,
            action_high=(bound,) * action_size,
            episode_limit=limit,
            published=task_id if published else None,
            random_step=random_step,
        )


CATALOG: dict[str, Entry] = {
    entry.id: entry for group in (_deepmind_control(), _mujoco(), _others()) for entry in group
}
