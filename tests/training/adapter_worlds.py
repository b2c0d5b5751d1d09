"""One hand-made world in the form that each adapter takes, and what it must make of it.

An episode either falls, which is terminal, after three steps, or goes on for four, which is the
time limit. What is seen is the number of steps so far and which of the two it is, as 1 or −1; the
step from `t` pays `t + 1`, and half a point more where the episode falls. Actions do nothing.
"""

from functools import partial
from typing import Any, NamedTuple

import dm_env
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from dm_env import specs
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorWrapper

from robustpo.environments.brax_task import BraxTask
from robustpo.environments.dm_control import DmControlEnv
from robustpo.environments.entry import Entry
from robustpo.environments.gymnasium import GymnasiumEnvironment
from robustpo.environments.jax_environment import JaxEnvironment
from robustpo.environments.jax_task import JaxStep, JaxTask
from robustpo.environments.processes import ProcessEnvironment
from robustpo.environments.vector import VectorEnvironment

FALLS, LIMIT = 3, 4


def see(steps, kind):
    return np.array([steps, kind], np.float32)


def pay(steps, kind):
    """Return the reward of the step from `steps` on."""
    return steps + 1 + 0.5 * (kind > 0)


class GymnasiumWorld(gymnasium.Env):
    """For Gymnasium's adapter, in this process and in others."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.kind = 0, int(self.np_random.choice([-1, 1]))
        return see(0, self.kind), {}

    def step(self, action):
        reward = pay(self.steps, self.kind)
        self.steps += 1
        fallen = self.kind > 0 and self.steps == FALLS
        return see(self.steps, self.kind), reward, fallen, self.steps == LIMIT, {}


def world_vector(mode):
    """As Gymnasium's own vectors have it, two at a time, behind a wrapper of vectors."""
    vector = SyncVectorEnv([GymnasiumWorld] * 2, autoreset_mode=mode)
    return VectorWrapper(vector)


def world_processes(mode):
    return AsyncVectorEnv([GymnasiumWorld] * 2, autoreset_mode=mode, context="forkserver")


class DmEnvWorld:
    """As dm_control tells it: an end with discount 0 is terminal, another is the limit."""

    def __init__(self):
        self.task: Any = self
        self._random = np.random.RandomState(0)

    def control_timestep(self):
        return 0.1

    def action_spec(self):
        return specs.BoundedArray((1,), np.float64, [-1], [1])

    def reset(self):
        self.steps, self.kind = 0, self._random.choice([-1, 1])
        return dm_env.restart(self._observation())

    def step(self, action):
        reward = pay(self.steps, self.kind)
        self.steps += 1
        if self.kind > 0 and self.steps == FALLS:
            return dm_env.termination(reward, self._observation())
        if self.steps == LIMIT:
            return dm_env.truncation(reward, self._observation())
        return dm_env.transition(reward, self._observation())

    def close(self):
        pass

    def _observation(self):
        # Keys in an order that is not the entry's.
        return {"kind": np.array([self.kind]), "steps": np.array(self.steps)}


def make_dm_control_world():
    entry = Entry(
        id="dm_control/world-v0",
        suite="DeepMind Control",
        observation=(("steps", 1), ("kind", 1)),
        action_low=(-1.0,),
        action_high=(1.0,),
        episode_limit=LIMIT,
        ends_early=True,
        simulator="envpool",
        source="",
    )
    return DmControlEnv(DmEnvWorld(), entry)


class JaxWorld(JaxTask):
    """As a `JaxTask`, which knows no time limit but its attribute."""

    observation_size, episode_limit = 2, LIMIT
    action_low, action_high = (-1.0,), (1.0,)

    def reset(self, *, key):
        state = jnp.stack([0.0, jnp.where(jax.random.bernoulli(key), 1.0, -1.0)])
        return state, state

    def step(self, state, action, *, key):
        steps, kind = state
        after = jnp.stack([steps + 1, kind])
        return JaxStep(after, after, pay(steps, kind), (kind > 0) & (steps + 1 == FALLS))


class BraxState(NamedTuple):
    """What environments of Brax and Playground return."""

    obs: Any
    reward: Any
    done: Any


class BraxWorld:
    """As Brax and Playground have it, without their wrappers."""

    observation_size, action_size = 2, 1

    def reset(self, rng):
        kind = jnp.where(jax.random.bernoulli(rng), 1.0, -1.0)
        return BraxState(jnp.stack([0.0, kind]), jnp.float32(0), jnp.float32(0))

    def step(self, state, action):
        steps, kind = state.obs
        fallen = (kind > 0) & (steps + 1 == FALLS)
        obs = jnp.stack([steps + 1, kind])
        return BraxState(obs, pay(steps, kind), fallen.astype(jnp.float32))


ADAPTERS = {
    "gymnasium": lambda seeds: GymnasiumEnvironment(GymnasiumWorld, seeds),
    "processes": lambda seeds: ProcessEnvironment(GymnasiumWorld, seeds, processes=2),
    "vector, next step": lambda seeds: VectorEnvironment(
        partial(world_vector, AutoresetMode.NEXT_STEP), seeds
    ),
    "vector, same step": lambda seeds: VectorEnvironment(
        partial(world_vector, AutoresetMode.SAME_STEP), seeds
    ),
    "vector, disabled": lambda seeds: VectorEnvironment(
        partial(world_vector, AutoresetMode.DISABLED), seeds
    ),
    "vector of processes, next step": lambda seeds: VectorEnvironment(
        partial(world_processes, AutoresetMode.NEXT_STEP), seeds
    ),
    "vector of processes, same step": lambda seeds: VectorEnvironment(
        partial(world_processes, AutoresetMode.SAME_STEP), seeds
    ),
    "dm_control": lambda seeds: GymnasiumEnvironment(make_dm_control_world, seeds),
    "jax": lambda seeds: JaxEnvironment(JaxWorld(), seeds),
    "brax": lambda seeds: JaxEnvironment(BraxTask(BraxWorld(), LIMIT), seeds),
}
