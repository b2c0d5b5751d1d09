"""The contract between simulators and training: what one step of many environments returns.

All environments of a population lie side by side on one axis `N = P·E`: agent 0's environments
first, then agent 1's. An environment resets itself when an episode has ended, in one of two ways:

* `next_step` (EnvPool, Gymnasium's vector environments): the step *after* the end ignores its
  action and returns a reset observation. That row is a phantom (`valid` is False): nothing may be
  learned from it. The row before it carries the true final observation, so `final_obs is obs`.
* `same_step` (simulators written in JAX): the ending step returns the reset observation in `obs`
  and the true final one in `final_obs`; every row is valid.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from robustpo.environments.information import Information

Autoreset = Literal["next_step", "same_step"]

# float32, whose largest number is 3.4e38, does not hold sums of squares of such rewards.
OVERFLOWING_REWARD = 1e17
# No actuator reaches as far: who writes such a bound (the largest float, 1e300) means none.
NO_BOUND = 1e10


class Step(NamedTuple):
    """What one step of `N` environments returns. Arrays of NumPy on the host, of JAX when traced.

    Attributes:
        obs: the observation to act on next, `[N, O]` float32.
        reward: the reward of this step, `[N]` float32; meaningless where not `valid`.
        terminated: the episode reached a terminal state, `[N]` bool.
        truncated: the episode was cut by a time limit, `[N]` bool.
        final_obs: the observation that this action led to, `[N, O]` float32; differs from `obs`
            only where an environment was reset in the same step.
        valid: False where the simulator ignored the action and only reset itself, `[N]` bool.
    """

    obs: Any
    reward: Any
    terminated: Any
    truncated: Any
    final_obs: Any
    valid: Any


@dataclass(frozen=True)
class TaskSpec:
    """Sizes and limits of a task.

    Attributes:
        id: the name people use for it.
        suite: the benchmark it belongs to, such as `DeepMind Control`.
        observation_size: length `O` of the flat observation.
        action_low: lower bounds of the action, `A` numbers, -inf where unbounded; a bound of
            `NO_BOUND` or more is none and becomes infinite.
        action_high: upper bounds of the action, likewise.
        episode_limit: steps after which an episode is truncated, or None.
        simulator: the adapter that steps it: `envpool`, `gymnasium`, `vector` or `jax`.
        layout: how an observation of several parts becomes the flat one
            (`robustpo.policy.layout`), as tuples; None where it is a vector to begin with.
        num_envs: how many environments are made at once, which an agent then has; None where
            that is for the agent to choose.
    """

    id: str
    suite: str
    observation_size: int
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    episode_limit: int | None
    simulator: str
    layout: tuple[Any, ...] | None = None
    num_envs: int | None = None

    def __post_init__(self) -> None:
        for name in ("action_low", "action_high"):
            bounds = tuple(
                math.copysign(math.inf, bound) if abs(bound) >= NO_BOUND else bound
                for bound in getattr(self, name)
            )
            object.__setattr__(self, name, bounds)

    @property
    def action_size(self) -> int:
        """Length `A` of an action."""
        return len(self.action_low)

    @property
    def bounded(self) -> bool:
        """Whether every action dimension has two finite bounds."""
        return bool(np.isfinite([*self.action_low, *self.action_high]).all())


class Environment(abc.ABC):
    """`N` environments of one task, stepped together."""

    spec: TaskSpec
    num_envs: int
    autoreset: Autoreset = "next_step"


class HostEnvironment(Environment):
    """Environments stepped from Python with NumPy arrays."""

    @abc.abstractmethod
    def reset(self) -> np.ndarray:
        """Reset all environments; return observations `[N, O]` float32."""

    @abc.abstractmethod
    def step(self, action: np.ndarray) -> Step:
        """Step all environments with actions `[N, A]` float32 inside the bounds."""

    def take_information(self) -> list[Information]:
        """Return, once, what the simulators said of episodes that have ended since."""
        return []

    @property
    def remark(self) -> str | None:
        """What a person should know of how the simulators behave; None if it is nothing so far."""
        return None

    def close(self) -> None:
        """Release the simulators."""
        return None


class ExactEnvironment(HostEnvironment):
    """Host environments whose simulators speak float64, of which float32 may keep too little.

    5,500,000.2 and 5,500,000.4 are one float32: what is observed far from zero is taken relative to
    an origin before it is rounded.
    """

    @abc.abstractmethod
    def reset_exact(self) -> np.ndarray:
        """Reset all environments; return observations `[N, O]` float64, no origin subtracted."""

    @abc.abstractmethod
    def set_origin(self, origin: np.ndarray) -> None:
        """Subtract `[N, O]` from all observations that follow, in float64."""


class RestartedEnvironment(HostEnvironment):
    """Host environments that cannot be brought back, only begun anew, and not each by itself.

    Attributes:
        why: why that is, in words that follow a colon.
    """

    why: str

    @abc.abstractmethod
    def restart(self, which: np.ndarray, resets: np.ndarray) -> np.ndarray:
        """Begin episodes that were not seen before, in all environments of those agents.

        Args:
            which: a mask `[N]`, alike for all environments of one agent.
            resets: how often each has begun before, `[N]`, from 1 on.

        Returns:
            Observations `[N, O]` float32; only those of the mask mean anything.
        """


class SavedEnvironment(HostEnvironment):
    """Host environments that are brought back by what they themselves save."""

    @abc.abstractmethod
    def save(self) -> dict[str, np.ndarray]:
        """Return all that there is to the environments; every array has a leading axis `N`."""

    @abc.abstractmethod
    def load(self, state: dict[str, np.ndarray], which: np.ndarray) -> None:
        """Put back what `save` returned, in the environments of a mask `[N]` alone."""


class TracedEnvironment(Environment):
    """Environments stepped inside a compiled program; the state is a pytree that is threaded.

    Unless the environments are `Replayed`, it holds all that there is to them, and every leaf of it
    has a leading axis `N`.

    Attributes:
        cacheable: whether a compiled program that steps them is good in another process.
    """

    cacheable: bool = True

    @abc.abstractmethod
    def init(self) -> tuple[Any, Any]:
        """Reset all environments; return the state to thread and observations `[N, O]` float32."""

    @abc.abstractmethod
    def step(self, state: Any, action: Any) -> tuple[Any, Step]:
        """Step all environments with actions `[N, A]` float32 inside the bounds; traceable."""


class Replayed(Environment):
    """Environments that are brought back by resets and actions, each by itself.

    A reset depends on the number of resets before it and not on the steps between.

    Attributes:
        random_step: whether `step` itself draws random numbers, so that this leads elsewhere.
    """

    random_step: bool = False

    def replay(self, resets: np.ndarray, actions: Sequence[np.ndarray]) -> np.ndarray:
        """Reset and step each environment by itself, to bring back where another pool stood.

        Args:
            resets: further resets of each environment, `[N]` whole numbers.
            actions: what each environment executes after them, `N` arrays `[L, A]` float32.

        Returns:
            The observation of each, `[N, O]` float32; zeros where nothing was reset or stepped.
        """
        obs = np.zeros((self.num_envs, self.spec.observation_size), np.float32)
        for count in range(int(max(resets, default=0))):
            which = np.flatnonzero(resets > count)
            obs[which] = self._reset_some(which)
        lengths = np.array([len(tail) for tail in actions])
        for t in range(int(max(lengths, default=0))):
            which = np.flatnonzero(lengths > t)
            obs[which] = self._step_some(
                which, np.stack([tail[t] for tail in actions if len(tail) > t])
            )
        return obs

    @abc.abstractmethod
    def _reset_some(self, which: np.ndarray) -> np.ndarray:
        """Reset the environments named, `[n]`; return their observations `[n, O]`."""

    @abc.abstractmethod
    def _step_some(self, which: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Step the environments named, `[n]`, with actions `[n, A]`; return observations."""
