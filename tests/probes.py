"""Probe environments: tiny, deterministic, each able to fail in one way only.

An episode is a short list of rows. Its `context` is fixed for the whole episode and alternates
between −1 and 1 from episode to episode and from environment to environment.
"""

import abc

import jax
import jax.numpy as jnp
import numpy as np

from robustpo.environments.base import Autoreset, Step, TaskSpec, TracedEnvironment

POISON = 1e3


class Probe(TracedEnvironment):
    """Plays out the episodes that a subclass describes.

    Args:
        num_envs: environments side by side.
        autoreset: how an ended episode restarts; a `next_step` phantom row carries poison.
        poison: reward of phantom rows, and `final_obs` where it must not be read.
    """

    length = 1
    truncates = False

    def __init__(self, num_envs, autoreset: Autoreset = "same_step", poison=POISON):
        self.num_envs, self.autoreset, self.poison = num_envs, autoreset, poison
        self.spec = TaskSpec("probe", "Probes", 1, (-10.0,), (10.0,), self.length, "jax")

    @abc.abstractmethod
    def observe(self, t, context) -> jax.Array | float:
        """Return what is seen after `t` steps of an episode, one number per environment."""

    @abc.abstractmethod
    def pay(self, t, context, action) -> jax.Array | float:
        """Return the reward of the step from `t` to `t + 1`."""

    def _context(self, episode):
        return jnp.where((episode + jnp.arange(self.num_envs)) % 2 == 0, 1.0, -1.0)

    def _see(self, t, episode):
        seen = jnp.broadcast_to(self.observe(t, self._context(episode)), (self.num_envs,))
        return seen.astype(jnp.float32)[:, None]

    def init(self):
        zero = jnp.zeros(self.num_envs, jnp.int32)
        return (zero, zero, zero > 0), self._see(zero, zero)

    def step(self, state, action):
        t, episode, phantom = state
        reward = self.pay(t, self._context(episode), action[:, 0])
        reward = jnp.broadcast_to(reward, (self.num_envs,)).astype(jnp.float32)
        ended = ~phantom & (t + 1 == self.length)
        final_obs = self._see(t + 1, episode)
        if self.autoreset == "same_step":
            t, episode = jnp.where(ended, 0, t + 1), episode + ended
            obs, valid = self._see(t, episode), ~phantom
        else:
            reward = jnp.where(phantom, self.poison, reward)
            t, episode = jnp.where(phantom, 0, t + 1), episode + phantom
            obs, valid, phantom = self._see(t, episode), ~phantom, ended
            final_obs = jnp.full_like(final_obs, self.poison)
        never = jnp.zeros_like(ended)
        flags = (never, ended) if self.truncates else (ended, never)
        return (t, episode, phantom), Step(obs, reward, *flags, final_obs, valid)


class ConstantValue(Probe):
    """One step, reward 1: the value is 1."""

    def observe(self, t, context):
        return 1.0

    def pay(self, t, context, action):
        return 1.0


class ObservedValue(Probe):
    """One step whose reward is the observation, −1 or 1: so is the value."""

    def observe(self, t, context):
        return context

    def pay(self, t, context, action):
        return context


class DelayedReward(Probe):
    """Three steps, a reward of 1 in the last: the values are γ², γ and 1."""

    length = 3

    def observe(self, t, context):
        return 3.0 * (t - 1)

    def pay(self, t, context, action):
        return jnp.where(t == 2, 1.0, 0.0)


class BestAction(Probe):
    """One step that costs the squared distance of the action from ½."""

    def observe(self, t, context):
        return 1.0

    def pay(self, t, context, action):
        return -((action - 0.5) ** 2)


class BestActionByObservation(Probe):
    """One step that costs the squared distance of the action from half the observation."""

    def observe(self, t, context):
        return context

    def pay(self, t, context, action):
        return -((action - 0.5 * context) ** 2)


class TimeLimited(Probe):
    """Reward 1 in every step, nothing to see, and a time limit of four steps."""

    length = 4
    truncates = True

    def observe(self, t, context) -> jax.Array | float:
        return 1.0

    def pay(self, t, context, action):
        return 1.0


class MarkedEnd(TimeLimited):
    """Like `TimeLimited`, with steps to see; the final observation is chosen by who makes it."""

    def __init__(self, num_envs, autoreset: Autoreset = "next_step", poison=POISON, mark=4.0):
        super().__init__(num_envs, autoreset, poison)
        self.mark = mark

    def observe(self, t, context):
        return jnp.where(t == self.length, self.mark, context * t / self.length)

    def pay(self, t, context, action):
        return 1.0 + context * t


def bootstrapped_value(gamma):
    """Value of `TimeLimited` if the limit is none of the task's: 1 + γ + γ² + …"""
    return 1 / (1 - gamma)


def terminal_value(gamma, gae_lambda, length=TimeLimited.length):
    """Value of `TimeLimited` where the end of an episode is worth nothing.

    All steps look the same, so one number v must serve them; learning rests where the mean
    advantage is 0. The advantage is linear in v, so two points tell where.
    """

    def mean_advantage(value):
        deltas = [1 + gamma * value * (t < length - 1) - value for t in range(length)]
        weights = [(gamma * gae_lambda) ** k for k in range(length)]
        return np.mean([np.dot(weights[: length - t], deltas[t:]) for t in range(length)])

    at_zero, at_one = mean_advantage(0.0), mean_advantage(1.0)
    return float(at_zero / (at_zero - at_one))


def rows_of_agent(rollout, index=0):
    """Return an agent's rows as NumPy arrays `[T, E, ...]`."""
    return jax.tree.map(lambda x: np.asarray(x[index]), rollout.transitions)
