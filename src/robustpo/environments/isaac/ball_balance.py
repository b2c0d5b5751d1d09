"""IsaacGym's BallBalance rebuilt on MuJoCo; "Isaac-like", because PhysX is not MuJoCo.

A ball falls on a tray with three legs, whose knees are driven so that it comes to rest in the
middle. Bodies, drives, actions, observation, reward, resets, termination, control rate and episode
length are those of IsaacGymEnvs' `tasks/ball_balance.py` and `cfg/task/BallBalance.yaml` (names in
comments are theirs). What differs:

* MuJoCo takes two steps of 5 ms per control step, PhysX one of 10 ms. Both apply the drives
  implicitly; contacts do not bounce in either, and friction is 1.
* The feet are held by constraints, not by springs of 5e7 N/m. Legs touch neither one another nor
  the tray nor the ground, which feet only graze and knees never reach. Whatever damping and top
  speed PhysX gives bodies by default is left out.
* The force sensors are alike, not equal. PhysX reports the constraint solver's and the forward
  dynamics' force on the root link, which is the tray's articulated inertia (legs as felt through
  free joints) times its acceleration, zero at rest, moved to each sensor. Here that inertia is the
  initial pose's, and the acceleration is the change of velocity over the control step.
* The original resets in the step after the end, with the targets at zero, and pays that step; here
  that row is the reset itself, is not `valid`, and shows sensors at zero.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from robustpo.environments.base import SavedEnvironment, Step, TaskSpec
from robustpo.environments.isaac.ball_balance_model import (
    BALL,
    BALL_VELOCITY,
    CONTROL_STEP,
    KNEE_VELOCITIES,
    KNEES,
    TIME,
    import_mujoco,
    initial_state,
    load_model,
    tray_inertia,
    tray_wrench,
)
from robustpo.errors import ConfigError, SimulatorError

TARGET_SPEED = 20.0  # env.actionSpeedScale, in rad/s
KNEE_LOW, KNEE_HIGH = np.deg2rad(-70.0), np.deg2rad(90.0)
TARGET_HEIGHT = 0.7  # of the ball, in m
MIN_HEIGHT = 0.15  # of the ball, 1.5 radii, in m
EPISODE_LIMIT = 499  # an episode ends once progress_buf reaches max_episode_length − 1
OBSERVATION_CLIP = 5.0  # env.clipObservations
FORCE_SCALE = 20.0  # the observation shows N and N m divided by it
MIN_DISTANCE, MAX_DISTANCE = 0.001, 0.5  # of the ball at reset from the middle, in m
MAX_SPEED, FALL_SPEED = 5.0, 5.0  # of the ball at reset, horizontally and down, in m/s
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's step, 2^64 over the golden ratio
SENSOR_ANGLES = np.deg2rad([0.0, 120.0, 240.0])
SENSORS = 0.4 * np.stack([np.cos(SENSOR_ANGLES), np.sin(SENSOR_ANGLES), np.zeros(3)], 1)


class BallBalance(SavedEnvironment):
    """`N` trays with a ball each, stepped in one call of MuJoCo.

    What an environment does depends on its own seed and actions only: not on the others, nor on
    the number of threads.

    Args:
        env_seeds: one seed per environment.
        num_threads: simulator threads. One process per core with one thread is fastest.

    Raises:
        ConfigError: if MuJoCo is not installed or a seed is out of range.
    """

    spec = TaskSpec(
        id="isaac/BallBalance-v0",
        suite="Isaac-like",
        observation_size=24,
        action_low=(-1.0,) * 3,
        action_high=(1.0,) * 3,
        episode_limit=EPISODE_LIMIT,
        simulator="mujoco",
    )

    def __init__(self, env_seeds: Sequence[int], num_threads: int = 1) -> None:
        self._mujoco = mujoco = import_mujoco()
        seeds = [int(seed) for seed in env_seeds]
        if not seeds or min(seeds) < 0 or max(seeds) >= 2**63:
            raise ConfigError(
                f"env_seeds={seeds} is not valid; give one seed or more from 0 to 2**63 - 1"
            )
        self.num_envs = len(seeds)
        self.model = load_model()
        self._seeds = np.array(seeds, np.uint64)
        self._inertia = tray_inertia()
        self._substeps = round(CONTROL_STEP / self.model.opt.timestep)
        rollout = importlib.import_module("mujoco.rollout")
        self._rollout = rollout.Rollout(nthread=num_threads if num_threads > 1 else 0)
        self._models = [self.model] * self.num_envs
        self._data = [mujoco.MjData(self.model) for _ in range(num_threads)]
        self._initial = initial_state(self.model)
        self._path = np.zeros((self.num_envs, self._substeps, len(self._initial)))
        self._state = np.tile(self._initial, (self.num_envs, 1))
        self._target = np.zeros((self.num_envs, 3))
        self._episode = np.zeros(self.num_envs, np.int64)
        self._progress = np.zeros(self.num_envs, np.int64)
        self._ended = np.zeros(self.num_envs, bool)
        self._renderer: Any = None

    def reset(self) -> np.ndarray:
        """Begin the next episode of every environment; return observations `[N, 24]`."""
        self._begin(np.ones(self.num_envs, bool))
        return observe(self._state, np.zeros((self.num_envs, 6)))

    def step(self, action: np.ndarray) -> Step:
        """Move the knees' targets by `0.2 a` rad and simulate 10 ms; actions `[N, 3]` in ±1.

        Raises:
            SimulatorError: if the simulation of an environment diverges.
        """
        valid = ~self._ended
        move = CONTROL_STEP * TARGET_SPEED * np.clip(action, -1.0, 1.0)
        self._target = np.clip(self._target + move, KNEE_LOW, KNEE_HIGH)
        before, self._state = self._state, self._simulate()
        self._progress += 1
        self._begin(~valid)
        wrench = tray_wrench(before, self._state, self._inertia)
        wrench[~valid] = 0.0
        obs = observe(self._state, wrench)
        ball = self._state[:, BALL]
        reward = balance_reward(ball, self._state[:, BALL_VELOCITY])
        terminated = valid & (ball[:, 2] < MIN_HEIGHT)
        truncated = ~terminated & (self._progress >= EPISODE_LIMIT)
        self._ended = terminated | truncated
        paid = np.where(valid, reward, 0.0).astype(np.float32)
        return Step(obs, paid, terminated, truncated, obs, valid)

    def save(self) -> dict[str, np.ndarray]:
        """Return all that there is to the environments; every array has a leading axis `N`."""
        return {key: value.copy() for key, value in self._parts().items()}

    def load(self, state: dict[str, np.ndarray], which: np.ndarray) -> None:
        """Put back what `save` returned, in the environments of a mask `[N]` alone."""
        for key, value in self._parts().items():
            value[which] = state[key][which]

    def render(self, index: int = 0, width: int = 640, height: int = 480) -> np.ndarray:
        """Return a picture of one environment, `[height, width, 3]` uint8."""
        mujoco = self._mujoco
        size = (width, height)
        if self._renderer is None or (self._renderer.width, self._renderer.height) != size:
            self._close_renderer()
            self._renderer = mujoco.Renderer(self.model, height, width)
        data, kind = self._data[0], mujoco.mjtState.mjSTATE_FULLPHYSICS
        mujoco.mj_setState(self.model, data, self._state[index], kind.value)
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_camlight(self.model, data)
        self._renderer.update_scene(data, camera="overview")
        return self._renderer.render()

    def close(self) -> None:
        """Release threads and renderer."""
        self._rollout.close()
        self._close_renderer()

    def _close_renderer(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _parts(self) -> dict[str, np.ndarray]:
        """Name the arrays that make up the state.

        The constraint solver's warm start is not among them: every control step begins without.
        """
        return {
            "physics": self._state,
            "target": self._target,
            "episode": self._episode,
            "progress": self._progress,
            "ended": self._ended,
        }

    def _begin(self, which: np.ndarray) -> None:
        """Begin the next episode of the environments of a mask `[N]`."""
        self._state[which] = self._initial
        ball, velocity = draw_ball(self._seeds[which], self._episode[which])
        self._state[which, BALL] = ball
        self._state[which, BALL_VELOCITY] = velocity
        self._target[which] = 0.0
        self._progress[which] = 0
        self._ended[which] = False
        self._episode[which] += 1

    def _simulate(self) -> np.ndarray:
        """Return the state after a control step, `[N, S]`."""
        target = np.repeat(self._target[:, None], self._substeps, axis=1)
        self._rollout.rollout(
            self._models,
            self._data,
            self._state,
            target,
            skip_checks=True,
            nstep=self._substeps,
            state=self._path,
        )
        after = self._path[:, -1].copy()
        # MuJoCo begins an environment that diverges anew, at time 0.
        diverged = after[:, TIME] < self._state[:, TIME] + 0.75 * CONTROL_STEP
        if diverged.any():
            raise SimulatorError(
                f"task {self.spec.id!r}, simulator seed {self._seeds[diverged][0]}: MuJoCo's "
                "simulation diverged"
            )
        return after


def balance_reward(ball: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Return `1 / (1 + ‖p − (0, 0, 0.7)‖) · 1 / (1 + ‖v‖)`, `[N]` (`compute_bbot_reward`)."""
    distance = np.linalg.norm(ball - [0.0, 0.0, TARGET_HEIGHT], axis=1)
    return 1 / (1 + distance) / (1 + np.linalg.norm(velocity, axis=1))


def observe(state: np.ndarray, wrench: np.ndarray) -> np.ndarray:
    """Return observations `[N, 24]` float32, clipped to ±5 (`compute_observations`).

    Knee angles and velocities, position and velocity of the ball; then, divided by 20, of the three
    sensors: forces along x, torques about x, about y, about z.

    Args:
        state: MuJoCo's, `[N, S]`.
        wrench: force (N) and torque (N m) on the tray about its centre, in its frame, `[N, 6]`.
    """
    force, torque = wrench[:, None, :3], wrench[:, None, 3:]
    torques = torque - np.cross(SENSORS, force)
    parts = [
        state[:, KNEES],
        state[:, KNEE_VELOCITIES],
        state[:, BALL],
        state[:, BALL_VELOCITY],
        np.repeat(force[:, :, 0], 3, axis=1) / FORCE_SCALE,
        torques.transpose(0, 2, 1).reshape(-1, 9) / FORCE_SCALE,
    ]
    obs = np.concatenate(parts, axis=1)
    return np.clip(obs, -OBSERVATION_CLIP, OBSERVATION_CLIP).astype(np.float32)


def draw_ball(seeds: np.ndarray, episodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where a ball begins and its velocity, `[n, 3]` each (`reset_idx`).

    At a horizontal distance `d ~ U(0.001, 0.5)` m in any direction, at a height from U(1, 2) m,
    falling at 5 m/s and moving towards the middle at `(d − 0.001) / 0.499 · U(0, 5)` m/s.
    """
    distance, direction, speed, height = draw_uniform(seeds, episodes, 4)
    distance = MIN_DISTANCE + (MAX_DISTANCE - MIN_DISTANCE) * distance
    outward = np.stack([np.cos(2 * np.pi * direction), np.sin(2 * np.pi * direction)], axis=1)
    inward = (distance - MIN_DISTANCE) / (MAX_DISTANCE - MIN_DISTANCE) * MAX_SPEED * speed
    ball = np.column_stack([distance[:, None] * outward, 1 + height])
    velocity = np.column_stack([-inward[:, None] * outward, np.full(len(seeds), -FALL_SPEED)])
    return ball, velocity


def draw_uniform(seeds: np.ndarray, episodes: np.ndarray, count: int) -> np.ndarray:
    """Return numbers from U(0, 1) that only their row's seed and episode decide, `[count, n]`.

    SplitMix64 (Steele et al. 2014, DOI 10.1145/2660193.2660195): number `k` is the mixed
    `state + k γ`, and the state of an episode is drawn in the same way from its seed's.
    """
    state = _mix(_mix(seeds.astype(np.uint64)) + episodes.astype(np.uint64) * GOLDEN)
    numbers = _mix(state + np.arange(1, count + 1, dtype=np.uint64)[:, None] * GOLDEN)
    return (numbers >> np.uint64(11)) * 2.0**-53


def _mix(bits: np.ndarray) -> np.ndarray:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
