"""What brings an agent's simulators back: how often each was reset, and what it did since."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robustpo.errors import ConfigError

# An episode longer than this is not kept: a new one begins when the run goes on.
MAX_TAIL = 1_000_000


class ReplayLog:
    """Counts the resets of an agent's environments and keeps the actions since the last ones.

    Args:
        num_envs: environments `E` of the agent.
        action_low: lower bounds of the action, `[A]`.
        action_high: upper bounds of the action, `[A]`.
    """

    def __init__(
        self, num_envs: int, action_low: Sequence[float], action_high: Sequence[float]
    ) -> None:
        self._low = np.asarray(action_low, np.float32)
        self._high = np.asarray(action_high, np.float32)
        self.resets = np.ones(num_envs, np.int64)
        # Rows of earlier rollouts, environment by environment.
        self._tails: list[list[np.ndarray]] = [[] for _ in range(num_envs)]
        self._kept = np.ones(num_envs, bool)

    def add(self, action: np.ndarray, reset: np.ndarray) -> None:
        """Take in a rollout: actions, `[T, E, A]`, and in which rows a simulator reset itself.

        Actions are those executed, or those from which clipping to the bounds makes them. A reset,
        `[T, E]`, is a row of its own, or comes after the row's action where it is in the same step.
        """
        for env in range(len(self.resets)):
            resets = np.flatnonzero(reset[:, env])
            first = 0
            if len(resets):
                self.resets[env] += len(resets)
                first = resets[-1] + 1
                self._tails[env], self._kept[env] = [], True
            if self._kept[env]:
                self._tails[env].append(self._executed(action[first:, env]))
                if sum(map(len, self._tails[env])) > MAX_TAIL:
                    self._tails[env], self._kept[env] = [], False

    def restarted(self, which: np.ndarray) -> None:
        """Take in that some environments, a mask `[E]`, were reset once more."""
        for env in np.flatnonzero(which):
            self.resets[env] += 1
            self._tails[env], self._kept[env] = [], True

    def tails(self) -> list[np.ndarray]:
        """Return the actions that each environment executed since its last reset, `[L, A]`."""
        empty = np.zeros((0, len(self._low)), np.float32)
        return [np.concatenate([empty, *tail]) for tail in self._tails]

    @property
    def kept(self) -> np.ndarray:
        """Whether the tail of each environment is whole, `[E]`."""
        return self._kept

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Return everything as named arrays."""
        tails = self.tails()
        lengths = [len(tail) if kept else -1 for tail, kept in zip(tails, self._kept, strict=True)]
        return {
            "replay.resets": self.resets.copy(),
            "replay.lengths": np.array(lengths, np.int64),
            "replay.actions": np.concatenate(tails),
        }

    def restore(self, tensors: dict[str, np.ndarray], steps: int) -> None:
        """Take over what `to_tensors` returned after at most `steps` steps per environment.

        Raises:
            ConfigError: if it cannot come from an agent of this size and age.
        """
        resets, lengths, actions = (
            tensors.get(f"replay.{name}", np.zeros(0)) for name in ("resets", "lengths", "actions")
        )
        counts = (resets.shape, lengths.shape) == ((len(self.resets),),) * 2
        kinds = (resets.dtype, lengths.dtype, actions.dtype) == (np.int64, np.int64, np.float32)
        if not (
            counts
            and kinds
            and (resets >= 1).all()
            and (resets <= steps + 1).all()
            and (lengths >= -1).all()
            and (lengths <= steps).all()
            and actions.shape == (lengths.clip(0).sum(), len(self._low))
            and np.isfinite(actions).all()
        ):
            raise ConfigError("its replay of the simulators does not fit the run")
        self.resets = resets.copy()
        self._kept = lengths >= 0
        ends = np.cumsum(lengths.clip(0))
        self._tails = [[actions[e - n : e]] for e, n in zip(ends, lengths.clip(0), strict=True)]

    def _executed(self, action: np.ndarray) -> np.ndarray:
        """Return what the simulator was given."""
        return np.clip(np.where(np.isfinite(action), action, np.float32(0)), self._low, self._high)
