"""What is written down of a named task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Simulator = Literal["envpool", "gymnasium", "jax", "mujoco"]


@dataclass(frozen=True)
class Entry:
    """One named task and how to build it.

    Attributes:
        id: the name people use for it.
        suite: the benchmark it belongs to.
        observation: keys and lengths of the observation's parts, in the benchmark's own order;
            the one key `obs` where the simulator returns a single array.
        action_low: lower bounds of the action.
        action_high: upper bounds of the action.
        episode_limit: steps after which an episode is truncated.
        ends_early: whether an episode can end before its limit.
        simulator: the adapter that steps it: `envpool`; `gymnasium`, on the host; `jax`, inside the
            program; `mujoco`, in batches on the host.
        source: what the adapter builds: the EnvPool task, or `module:callable`.
        options: what the source is built with, where its defaults are not the benchmark's.
        extra: what `pip install 'robustpo[...]'` has to bring for it, or None.
        random_step: whether `step` draws random numbers, so that replaying an episode's actions
            after the same number of resets does not restore its state.
        note: in one sentence, how it differs from what its name makes people expect.
    """

    id: str
    suite: str
    observation: tuple[tuple[str, int], ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    episode_limit: int
    ends_early: bool
    simulator: Simulator
    source: str
    options: dict[str, Any] = field(default_factory=dict)
    extra: str | None = None
    random_step: bool = False
    note: str = ""

    @property
    def observation_size(self) -> int:
        """Length `O` of the flat observation."""
        return sum(size for _, size in self.observation)
