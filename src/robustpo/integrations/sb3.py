"""RPO in Stable-Baselines3, and its recurrent form for sb3-contrib.

`RPO` is PPO whose `train` shifts the mean of the action distribution; collection and `predict` are
untouched. `rl_zoo3.ALGOS["rpo"] = RPO` gives it to RL Baselines3 Zoo.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO

from robustpo.errors import ConfigError
from robustpo.integrations.alpha import (
    Alpha,
    alpha_at,
    noise_seed,
    require_alpha,
    require_continuous,
)
from robustpo.torch import uniform_noise


class PerturbedUpdate:
    """Makes an on-policy algorithm of Stable-Baselines3 that maximises a ratio into RPO.

    Args:
        alpha: half the width of the noise, or a function of the share of training that is left.
        *arguments, **options: as the algorithm takes them.

    Raises:
        ConfigError: if alpha is no number of at least 0, or actions are discrete.
    """

    def __init__(self, *arguments: Any, alpha: Alpha = 0.5, **options: Any) -> None:
        require_alpha(alpha)
        self.alpha = alpha
        super().__init__(*arguments, **options)

    def _setup_model(self: Any) -> None:
        require_continuous(self.action_space)
        super()._setup_model()  # type: ignore[misc]

    def learn(self: Any, *arguments: Any, **options: Any) -> Any:
        """Train, as the algorithm does; TensorBoard's name of the run is RPO."""
        plain = super().learn  # type: ignore[misc]
        if "tb_log_name" not in inspect.signature(plain).bind(*arguments, **options).arguments:
            options["tb_log_name"] = "RPO"
        return plain(*arguments, **options)

    def train(self: Any) -> None:
        """Update the policy; what a KL divergence steers goes by the plain policy.

        Raises:
            ConfigError: if the policy's mean does not come from `action_net`.
        """
        alpha = alpha_at(self.alpha, self._current_progress_remaining)
        with _Shift(self, alpha) as shift:
            super().train()  # type: ignore[misc]
        self.logger.record("train/approx_kl", float(np.mean(shift.kls)))
        self.logger.record("train/alpha", alpha)


class _Shift:
    """Shifts what `action_net` returns while it is entered, and knows what the plain policy was.

    In place of the algorithm's `target_kl` it stands for that number, and is compared with the KL
    divergence of the plain policy whatever it is given.
    """

    # NumPy's numbers leave the comparison to this class.
    __array_ufunc__ = None

    def __init__(self, algorithm: Any, alpha: float) -> None:
        # Of the last epoch, as the algorithm reports them.
        self.kls: list[float] = []
        self._algorithm, self._policy, self._alpha = algorithm, algorithm.policy, alpha
        self._target, self._batches = algorithm.target_kl, algorithm.rollout_buffer.get
        self._epochs = 0
        self._evaluate = algorithm.policy.evaluate_actions
        seed = algorithm.seed if algorithm.seed is not None else secrets.randbits(63)
        self._generator = torch.Generator(algorithm.device)
        self._generator.manual_seed(noise_seed(seed, algorithm._n_updates))
        self._mean: torch.Tensor | None = None
        self._batch: Any = None

    def __enter__(self) -> _Shift:
        self._hook = self._policy.action_net.register_forward_hook(self._perturb)
        self._policy.evaluate_actions = self._evaluate_actions
        self._algorithm.rollout_buffer.get = self._get
        if self._target is not None:
            self._algorithm.target_kl = self
        return self

    def __exit__(self, *details: object) -> None:
        self._hook.remove()
        del self._policy.evaluate_actions, self._algorithm.rollout_buffer.get
        self._algorithm.target_kl = self._target

    def _perturb(self, module: Any, inputs: Any, mean: torch.Tensor) -> torch.Tensor | None:
        self._mean = mean
        if self._alpha == 0:
            return None
        return mean + uniform_noise(mean, self._alpha, generator=self._generator)

    def _evaluate_actions(self, *arguments: Any) -> Any:
        self._mean = None
        found = self._evaluate(*arguments)
        if self._mean is None:
            raise ConfigError(
                f"policy {type(self._policy).__name__} does not take its mean from action_net, "
                "where RPO shifts it; use PPO, or give the mean through action_net"
            )
        return found

    def _get(self, batch_size: int | None = None) -> Iterator[Any]:
        self.kls, self._epochs = [], self._epochs + 1
        # Where nothing goes by it, only what is reported is computed.
        reported = self._epochs == self._algorithm.n_epochs or self._target is not None
        for count, batch in enumerate(self._batches(batch_size), 1):
            self._batch = batch
            yield batch
            if reported and len(self.kls) < count:
                self._plain_kl()

    def __rmul__(self, factor: float) -> _Shift:
        self._limit = factor * self._target
        return self

    def __lt__(self, perturbed_kl: Any) -> bool:
        return self._plain_kl() > self._limit

    @torch.no_grad()
    def _plain_kl(self) -> float:
        """Return the algorithm's estimate of the KL divergence, for the policy without noise."""
        family, batch = self._policy.action_dist, self._batch
        shifted = family.distribution
        family.distribution = type(shifted)(self._mean, shifted.scale)
        ratio = family.log_prob(batch.actions) - batch.old_log_prob
        family.distribution = shifted
        terms = (ratio.exp() - 1) - ratio
        # What fills up the sequences of a recurrent policy does not count.
        terms = terms[batch.mask > 1e-8] if hasattr(batch, "mask") else terms
        self.kls.append(terms.mean().item())
        return self.kls[-1]


class RPO(PerturbedUpdate, PPO):
    """`stable_baselines3.PPO` with RPO's update (arXiv 2212.07536).

    Example:
        >>> model = RPO("MlpPolicy", "Pendulum-v1", alpha=0.5, seed=1).learn(100_000)
        >>> model.save("pendulum")
        >>> RPO.load("pendulum").alpha
        0.5
    """


def __getattr__(name: str) -> Any:
    if name != "RecurrentRPO":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sb3_contrib import RecurrentPPO

    made = type(name, (PerturbedUpdate, RecurrentPPO), {"__module__": __name__})
    globals()[name] = made
    return made
