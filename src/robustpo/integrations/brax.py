"""RPO in Brax's PPO, and so in MuJoCo Playground: `train` in place of Brax's."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from brax.training.agents.ppo import losses
from brax.training.agents.ppo import train as ppo

from robustpo.algorithm.random import THREEFRY
from robustpo.errors import ConfigError
from robustpo.integrations.alpha import require_alpha

Alpha = float | Callable[[jax.Array], jax.Array]
# Folded into the loss's key, from which it draws otherwise.
STREAM = 0x52504F


def train(*arguments: Any, alpha: Alpha = 0.5, **options: Any) -> Any:
    """Train as `brax.training.agents.ppo.train.train` does, with RPO's update (arXiv 2212.07536).

    Entropy and the KL divergence that steers the learning rate are the plain policy's. While it
    runs, Brax's loss is exchanged in this process, so no other training may begin meanwhile.

    Args:
        *arguments: as Brax's function takes them.
        **options: likewise.
        alpha: half the width of the noise, or a function of the share of training that is left, a
            scalar of JAX; that share comes from the observations that are counted for normalising.

    Returns:
        What Brax's function returns.

    Raises:
        ConfigError: if alpha is no number of at least 0, or a function where counting ends early
            or goes on from what is restored.
    """
    require_alpha(alpha)
    asked = inspect.signature(ppo.train).bind(*arguments, **options).arguments
    ends, restored = "normalize_until_count", ("restore_params", "restore_checkpoint_path")
    if callable(alpha) and asked.get(ends) is not None:
        raise ConfigError(
            f"{ends}={asked[ends]} ends the count that a function alpha goes by; leave it out, or "
            "give a number"
        )
    for name in restored:
        if callable(alpha) and asked.get(name) is not None:
            raise ConfigError(
                f"{name} brings a count of its own, by which a function alpha would not begin at "
                "the beginning; give a number"
            )
    steps = asked["num_timesteps"] / asked.get("action_repeat", 1)
    with _exchanged(alpha, steps), _replicating():
        return ppo.train(*arguments, **options)


class _Perturbed:
    """A distribution of Brax whose log-density is that of a shifted location; else as it is."""

    def __init__(self, plain: Any, alpha: Any, key: jax.Array) -> None:
        self._plain, self._alpha, self._key = plain, alpha, key

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def log_prob(self, parameters: jax.Array, actions: jax.Array) -> jax.Array:
        """Return the log-density of actions `[*B, A]` before they are squashed, `[*B]`."""
        unit = jax.random.uniform(self._key, actions.shape, actions.dtype, minval=-1.0, maxval=1.0)
        density = self._plain.create_dist(parameters).log_prob
        difference = density(actions - self._alpha * unit) - density(actions)
        return self._plain.log_prob(parameters, actions) + difference.sum(-1)


@contextlib.contextmanager
def _exchanged(alpha: Alpha, steps: float) -> Iterator[None]:
    """Put a loss that perturbs in the place of Brax's, which has no way in."""
    plain = losses.compute_ppo_loss

    def perturbed(
        params: Any,
        normalizer_params: Any,
        data: Any,
        rng: jax.Array,
        ppo_network: Any,
        **rest: Any,
    ) -> Any:
        now = alpha
        if callable(alpha):
            count = normalizer_params.count
            made = count.hi * 2.0**32 + count.lo
            now = alpha(jnp.clip(1.0 - made / steps, 0.0, 1.0))
        # Unrolled: JAX's own cipher is a loop on the CPU, which an update would notice.
        words = jax.random.key_data(rng)[:2]
        key = jax.random.fold_in(jax.random.wrap_key_data(words, impl=THREEFRY), STREAM)
        family = _Perturbed(ppo_network.parametric_action_distribution, now, key)
        network = ppo_network.replace(parametric_action_distribution=family)
        return plain(params, normalizer_params, data, rng, ppo_network=network, **rest)

    losses.compute_ppo_loss = plain if alpha == 0 else perturbed
    try:
        yield
    finally:
        losses.compute_ppo_loss = plain


@contextlib.contextmanager
def _replicating() -> Iterator[None]:
    """Give JAX what Brax 0.14 takes from it and JAX 0.10 has no more."""
    if hasattr(jax, "device_put_replicated"):
        yield
        return

    def replicated(tree: Any, devices: Any) -> Any:
        return jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * len(devices)), tree)

    jax.device_put_replicated = replicated  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del jax.device_put_replicated  # type: ignore[attr-defined]
