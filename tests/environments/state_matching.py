"""EnvPool's and dm_control's version of a task, from the same state on.

EnvPool shows no state and takes none, so a common state cannot be set. But both draw their initial
states in the same order from a Mersenne Twister, and differ only in how they turn its words into
numbers. `EnvPoolRandom` turns them as EnvPool's C++ library does. dm_control's task, given it in
place of its own source, resets to EnvPool's state, and that its reset draws the same distributions
is shown on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import envpool
import mujoco
import numpy as np

from robustpo.environments.catalog import CATALOG
from robustpo.environments.dm_control import make_dm_control
from robustpo.environments.envpool import HostEnvPool

# EnvPool 1.2.5 contains MuJoCo 3.6. With the same release beside it nothing but rounding differs.
SAME_MUJOCO = envpool.__version__ == "1.2.5" and mujoco.__version__.startswith("3.6.")


class EnvPoolRandom(np.random.RandomState):
    """`std::mt19937` and the distributions of libstdc++, with NumPy's names and shapes."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._twister: Any = np.random.MT19937()
        self._twister._legacy_seeding(seed)

    def _canonical(self) -> float:
        """`std::generate_canonical<double, 53>`: the low word comes first."""
        low, high = self._twister.random_raw(2)
        return (float(low) + float(high) * 2.0**32) / 2.0**64

    def _normal(self) -> float:
        """`std::normal_distribution` used once: the polar method's second number."""
        while True:
            x, y = (2 * self._canonical() - 1 for _ in range(2))
            radius = x * x + y * y
            if 0 < radius <= 1:
                return y * math.sqrt(-2 * math.log(radius) / radius)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        lows, highs = np.broadcast_arrays(low, high)
        if size is not None:
            lows, highs = np.broadcast_to(lows, size), np.broadcast_to(highs, size)
        pairs = zip(lows.ravel(), highs.ravel(), strict=True)
        draws = [self._canonical() * (b - a) + a for a, b in pairs]
        return np.reshape(draws, lows.shape)[()]

    def rand(self, *shape: int) -> Any:
        return self.uniform(size=shape)

    def randn(self, *shape: int) -> Any:
        return np.reshape([self._normal() for _ in range(math.prod(shape))], shape)[()]

    def randint(self, low: Any, *args: Any, **kwargs: Any) -> Any:
        """`std::uniform_int_distribution(0, low - 1)`: the high word of the product (Lemire)."""
        while True:
            product = int(self._twister.random_raw()) * low
            if product % 2**32 >= 2**32 % low:
                return product // 2**32

    def choice(self, a: Any, *args: Any, p: Any = None, **kwargs: Any) -> Any:
        """The manipulator's start; EnvPool asks for `in_target` before `in_hand`."""
        in_hand, in_target = p[:2]
        assert a == ["in_hand", "in_target", "uniform"]
        draw = self._canonical()
        if draw <= in_target:
            return "in_target"
        return "in_hand" if draw <= in_target + in_hand else "uniform"


class Row(NamedTuple):
    """One time step of both."""

    ours: np.ndarray  # EnvPool's numbers, float64, in the catalog's order
    ours_float32: np.ndarray  # what the adapter makes of them
    theirs: np.ndarray  # dm_control's, in dm_control's order
    our_reward: float
    their_reward: float | None
    ours_ended: bool
    theirs_ended: bool


class _Recorder:
    """A pool that remembers what it returned before the adapter selects from it."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.raw: dict[str, np.ndarray] = {}

    def reset(self) -> Any:
        result = self._pool.reset()
        self.raw = result[0]
        return result

    def step(self, action: np.ndarray) -> Any:
        result = self._pool.step(action)
        self.raw = result[0]
        return result


class Pair:
    """One task in both simulators.

    Args:
        name: domain and task, as in `walker-walk`.
        seed: EnvPool's seed.
        random: what dm_control's task draws from.
    """

    def __init__(
        self, name: str, seed: int, random: Callable[[int], EnvPoolRandom] = EnvPoolRandom
    ) -> None:
        self.entry = CATALOG[f"dm_control/{name}-v0"]
        self.ours = HostEnvPool(self.entry, [seed])
        self._recorder = self.ours._pool = _Recorder(self.ours._pool)
        self.theirs = make_dm_control(self.entry.id).environment
        self.theirs.task._random = random(seed)

    @property
    def physics(self) -> Any:
        return self.theirs.physics

    def reset(self) -> Row:
        return self._row(self.ours.reset(), 0.0, False, self.theirs.reset())

    def step(self, action: np.ndarray) -> Row:
        """Step both with an action `[A]` of float32."""
        step, result = self.ours.step(action[None]), self.theirs.step(action.astype(np.float64))
        return self._row(step.obs, float(step.reward[0]), bool(step.truncated[0]), result)

    def actions(self, num_steps: int, scale: float = 0.5) -> np.ndarray:
        """Return random actions `[T, A]` within a part of the bounds."""
        low, high = np.array(self.entry.action_low), np.array(self.entry.action_high)
        actions = np.random.default_rng(0).uniform(scale * low, scale * high, (num_steps, len(low)))
        return actions.astype(np.float32)

    def _row(self, obs: np.ndarray, reward: float, ended: bool, result: Any) -> Row:
        raw = self._recorder.raw
        return Row(
            ours=np.concatenate([np.ravel(raw[key][0]) for key, _ in self.entry.observation]),
            ours_float32=obs[0],
            theirs=np.concatenate([np.ravel(part) for part in result.observation.values()]),
            our_reward=reward,
            their_reward=result.reward,
            ours_ended=ended,
            theirs_ended=result.last(),
        )


def difference(row: Row) -> float:
    """Return the largest difference of observations, absolute for numbers below 1, else relative.

    Infinite if they are not of one length.
    """
    if row.ours.shape != row.theirs.shape:
        return math.inf
    return float(np.max(np.abs(row.ours - row.theirs) / np.maximum(1, np.abs(row.theirs))))


def assert_equal(row: Row, tolerance: float) -> None:
    """Check that both saw the same, and that the adapter handed EnvPool's numbers on."""
    np.testing.assert_array_equal(row.ours_float32, row.ours.astype(np.float32))
    np.testing.assert_allclose(row.ours, row.theirs, rtol=tolerance, atol=tolerance)
    assert row.ours_ended == row.theirs_ended
    if row.their_reward is not None:
        # EnvPool's rewards are float32: half a unit in the last place of 1 is 6e-8.
        assert abs(row.our_reward - row.their_reward) <= max(tolerance, 1e-7)
