"""What may be different where a policy is used: its senses, its actuators, the world.

A `Shift` is a kind of difference, measured by a level; at its nominal level nothing differs. Senses
and actuators are disturbed around any simulator (`DisturbedEnvironment`), physics by `dynamics.py`,
and what an environment is made with by its arguments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from robustpo.environments.base import HostEnvironment, Step
from robustpo.errors import ConfigError

Kind = Literal["observation", "action", "dynamics", "argument"]
ARGUMENT = "env."
NOISE_STREAM = 0x5417F7


@dataclass(frozen=True)
class Shift:
    """One kind of difference.

    Attributes:
        name: what it is called.
        kind: what it is a difference of.
        unit: what a level counts.
        nominal: the level at which nothing differs.
        levels: those that are measured by default, the nominal one among them.
        low: the least level there is.
        high: the greatest one.
        whole: whether levels are whole numbers.
    """

    name: str
    kind: Kind
    unit: str
    nominal: float
    levels: tuple[float, ...]
    low: float = 0.0
    high: float = float("inf")
    whole: bool = False

    def with_levels(self, levels: tuple[float, ...]) -> tuple[float, ...]:
        """Return levels in order, the nominal one among them.

        Raises:
            ConfigError: if one is none of this shift.
        """
        for level in levels:
            inside = math.isfinite(level) and self.low <= level <= self.high
            if not inside or (self.whole and level != int(level)):
                kind = "a whole number" if self.whole else "a number"
                most = "" if self.high == float("inf") else f" to {self.high:g}"
                raise ConfigError(
                    f"shift {self.name}={level:g} is not valid; expected {kind} from "
                    f"{self.low:g}{most or ' on'} ({self.unit}), not infinite"
                )
        return tuple(sorted({*levels, self.nominal}))


_DEVIATIONS = "standard deviations of each observation in training"
_STEPS = "steps"
_LOST = "share of the steps"
_FACTOR = "times that of training"
_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
# A model without mass, or steps of no length, is none.
_LEAST = 0.001

SHIFTS = {
    shift.name: shift
    for shift in (
        Shift("observation-noise", "observation", _DEVIATIONS, 0, (0, 0.05, 0.1, 0.2, 0.4, 0.8)),
        Shift("observation-delay", "observation", _STEPS, 0, (0, 1, 2, 4, 8), 0, 1000, True),
        Shift("observation-dropout", "observation", _LOST, 0, (0, 0.1, 0.25, 0.5, 0.75, 0.9), 0, 1),
        Shift("action-noise", "action", "of half the range", 0, (0, 0.1, 0.2, 0.4, 0.8)),
        Shift("action-delay", "action", _STEPS, 0, (0, 1, 2, 4, 8), 0, 1000, True),
        Shift("action-scale", "action", _FACTOR, 1, (0.25, 0.5, 0.75, 1, 1.25, 1.5, 2)),
        Shift("action-dropout", "action", _LOST, 0, (0, 0.1, 0.25, 0.5, 0.75, 0.9), 0, 1),
        *(
            Shift(name, "dynamics", _FACTOR, 1, _FACTORS, low)
            for name, low in (
                ("mass", _LEAST),
                ("friction", 0.0),
                ("damping", 0.0),
                ("gravity", 0.0),
                ("strength", 0.0),
                ("timestep", _LEAST),
            )
        ),
    )
}


class DisturbedEnvironment(HostEnvironment):
    """Environments whose senses or actuators are disturbed; the reward is that of what happens.

    Every episode begins afresh: its first observation arrives, and until a first action does, that
    nearest to zero is carried out.

    Args:
        environment: what is disturbed.
        shift: an observation's or action's.
        level: by how much.
        seed: of what is random.
        copies: as often as what is random is repeated along the environments, so that policies that
            are stepped side by side meet the same.
        scale: standard deviation of each observation `[O]`, in which its noise is measured.
    """

    def __init__(
        self,
        environment: HostEnvironment,
        shift: Shift,
        level: float,
        *,
        seed: int,
        copies: int = 1,
        scale: np.ndarray | None = None,
    ) -> None:
        self._inner, self._shift, self._level = environment, shift, level
        self.spec, self.num_envs = environment.spec, environment.num_envs
        self.autoreset = environment.autoreset
        self._rng = np.random.default_rng([NOISE_STREAM, seed])
        self._copies = copies
        self._scale = np.ones(self.spec.observation_size) if scale is None else scale
        self._low = np.array(self.spec.action_low, np.float32)
        self._high = np.array(self.spec.action_high, np.float32)
        self._rest = np.clip(np.zeros(self.spec.action_size, np.float32), self._low, self._high)
        # What was observed and asked for in the last steps, the newest last.
        self._seen = np.zeros((0, 0, 0), np.float32)
        self._asked = np.zeros((0, 0, 0), np.float32)

    def reset(self) -> np.ndarray:
        """Reset all environments; return what is observed of them, `[N, O]` float32."""
        obs = self._inner.reset()
        depth = 1 + (int(self._level) if self._shift.name.endswith("-delay") else 0)
        self._seen = np.tile(obs, (depth, 1, 1))
        self._asked = np.tile(self._rest, (depth, self.num_envs, 1))
        return self._observed(obs, np.ones(self.num_envs, bool))

    def step(self, action: np.ndarray) -> Step:
        """Step all environments with what becomes of actions `[N, A]`."""
        step = self._inner.step(self._carried_out(np.asarray(action, np.float32)))
        begins = ~step.valid
        if self.autoreset == "same_step":
            begins = step.terminated | step.truncated
        self._asked[:, begins] = self._rest
        return step._replace(obs=self._observed(step.obs, begins))

    def close(self) -> None:
        """Release the simulators."""
        self._inner.close()

    def _carried_out(self, action: np.ndarray) -> np.ndarray:
        name, level = self._shift.name, self._level
        if name == "action-noise":
            half = (self._high - self._low) / 2
            noise = self._normal(self.spec.action_size) * np.where(np.isfinite(half), half, 1.0)
            action = action + level * noise
        elif name == "action-scale":
            action = action * np.float32(level)
        elif name == "action-delay":
            self._asked = np.concatenate([self._asked[1:], action[None]])
            action = self._asked[0]
        elif name == "action-dropout":
            action = np.where(self._lost()[:, None], self._asked[0], action)
            self._asked = action[None].copy()
        return np.clip(action, self._low, self._high).astype(np.float32)

    def _observed(self, obs: np.ndarray, begins: np.ndarray) -> np.ndarray:
        name = self._shift.name
        if name == "observation-noise":
            noise = self._normal(self.spec.observation_size) * self._scale
            return (obs + self._level * noise).astype(np.float32)
        if name == "observation-delay":
            self._seen = np.concatenate([self._seen[1:], obs[None]])
            self._seen[:, begins] = obs[begins]
            return self._seen[0]
        if name == "observation-dropout":
            lost = self._lost() & ~begins
            self._seen = np.where(lost[:, None], self._seen[0], obs)[None]
            return self._seen[0]
        return obs

    def _normal(self, size: int) -> np.ndarray:
        noise = self._rng.standard_normal((self.num_envs // self._copies, size))
        return np.tile(noise, (self._copies, 1))

    def _lost(self) -> np.ndarray:
        lost = self._rng.random(self.num_envs // self._copies) < self._level
        return np.tile(lost, self._copies)
