"""What a conformance check looks at: an implementation of RPO that shows what it did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

# What a subject may declare that it does not have.
LEARNERS, TARGET_KL, GRADIENTS, SEEDS = "learners", "target_kl", "gradients", "seeds"


@dataclass(frozen=True)
class Rollout:
    """What one learner collected in one iteration, `B` rows of actions in `A` dimensions.

    Actions are as the density takes them: before they are clipped, and before tanh or the like.

    Attributes:
        observations: `[B, O]`.
        actions: `[B, A]`.
        log_prob: `[B]`, as stored while collecting.
        mean: `[B, A]`, of the plain policy at these observations with the parameters of then.
        std: `[B, A]`, likewise.
        iteration: counted from 0.
        learner: counted from 0.
    """

    observations: np.ndarray
    actions: np.ndarray
    log_prob: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    iteration: int
    learner: int = 0


@dataclass(frozen=True)
class Minibatch:
    """One minibatch of an update, as it was used.

    Attributes:
        rows: `[b]`, of which rows of the learner's rollout it consists.
        log_prob: `[b]`, the numerator of the ratio: log-densities under the perturbed policy.
        old_log_prob: `[b]`, the denominator.
        mean: `[b, A]`, of the plain policy with the parameters before the step.
        std: `[b, A]`, likewise.
        iteration: of the rollout.
        epoch: counted from 0 in each iteration.
        learner: counted from 0.
        control: what the control of the KL divergence let through: 1 for a step and 0 for none, or
            the learning rate, or the inverse of a penalty's coefficient.
        mean_gradient: `[b, A]`, of the sum of `log_prob` with respect to the mean of each row; None
            if it is not known.
        log_std_gradient: `[b, A]`, likewise with respect to the logarithm of the deviation.
    """

    rows: np.ndarray
    log_prob: np.ndarray
    old_log_prob: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    iteration: int
    epoch: int
    learner: int = 0
    control: float = 1.0
    mean_gradient: np.ndarray | None = None
    log_std_gradient: np.ndarray | None = None


@dataclass(frozen=True)
class Trace:
    """What a training did.

    Attributes:
        rollouts: in the order in which they were collected.
        minibatches: in the order in which they were used.
        parameters: at the end, by name.
        act: `(observations [B, O], deterministic) -> actions [B, A]`, as people evaluate a policy.
        policy: `(observations [B, O]) -> (mean, std)`, of the plain policy, both `[B, A]`.
    """

    rollouts: Sequence[Rollout]
    minibatches: Sequence[Minibatch]
    parameters: Mapping[str, np.ndarray]
    act: Callable[[np.ndarray, bool], np.ndarray]
    policy: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Subject(Protocol):
    """An implementation of RPO with Gaussian policies."""

    @property
    def unsupported(self) -> Collection[str]:
        """What it does not have, of `learners`, `target_kl`, `gradients` and `seeds`.

        The last means that the same seed gives the same bits. Checks that need what is not there do
        not apply, which is not passing. A class attribute will do.
        """
        ...

    def train(
        self,
        alpha: float | None,
        seed: int,
        action_size: int,
        iterations: int,
        *,
        target_kl: float | None = None,
        learners: int = 1,
    ) -> Trace:
        """Train briefly, two epochs or more of two minibatches or more on 256 rows or more.

        Args:
            alpha: half the width of the noise; None trains the PPO that this RPO is made from.
            seed: of everything.
            action_size: dimensions of the action.
            iterations: how many times to collect and update.
            target_kl: what the KL divergence is kept to; None leaves it alone.
            learners: how many compute gradients of their own rows, which are averaged.
        """
        ...
