"""Brax's PPO on Gymnasium's pendulum, written in JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from brax.envs.base import Env, State
from brax.training.agents.ppo import networks
from brax.training.agents.ppo import train as ppo

from robustpo.integrations import brax
from stacks import task

DIFFERENCES = (
    "policy squashed by tanh, alpha before it; advantages over 16 steps; σ depends on the state; "
    "return of 100 episodes after training; Adam's eps 1e-8"
)
UNROLL, LENGTH = 16, 200


class Pendulum(Env):
    """Gymnasium's Pendulum-v1 with actions of ±1, and rewards as they are."""

    @property
    def observation_size(self) -> int:
        """Cosine, sine, speed."""
        return 3

    @property
    def action_size(self) -> int:
        """Torque."""
        return 1

    @property
    def backend(self) -> str:
        """No physics of Brax's."""
        return "none"

    def reset(self, rng: jax.Array) -> State:
        """Begin an episode."""
        high = jnp.array([jnp.pi, 1.0])
        state: Any = jax.random.uniform(rng, (2,), minval=-high, maxval=high)
        zero = jnp.zeros(())
        return State(state, _observe(state), zero, zero, {}, {})

    def step(self, state: State, action: jax.Array) -> State:
        """Step, as Gymnasium does."""
        angle, speed = jnp.asarray(state.pipeline_state)
        torque = 2.0 * jnp.clip(action[0], -1.0, 1.0)
        wrapped = (angle + jnp.pi) % (2 * jnp.pi) - jnp.pi
        reward = -(wrapped**2 + 0.1 * speed**2 + 0.001 * torque**2)
        speed = jnp.clip(speed + (15.0 * jnp.sin(angle) + 3.0 * torque) * 0.05, -8.0, 8.0)
        following: Any = jnp.stack([angle + speed * 0.05, speed])
        return state.replace(pipeline_state=following, obs=_observe(following), reward=reward)


def _observe(state: jax.Array) -> jax.Array:
    return jnp.stack([jnp.cos(state[0]), jnp.sin(state[0]), state[1]])


def _network(*sizes: Any, **options: Any) -> Any:
    hidden = (task.WIDTH, task.WIDTH)
    return networks.make_ppo_networks(
        *sizes,
        policy_hidden_layer_sizes=hidden,
        value_hidden_layer_sizes=hidden,
        activation=jnp.tanh,
        **options,
    )


def train(alpha: float | None, seed: int, steps: int) -> tuple[float, float]:
    """Return the level and the steps per second, compilation left out."""
    found: list[dict] = []
    plain = brax.train if alpha is not None else ppo.train
    options = {} if alpha is None else {"alpha": alpha}
    with brax._replicating():
        plain(
            environment=Pendulum(),
            num_timesteps=steps,
            episode_length=LENGTH,
            num_envs=task.ENVS,
            unroll_length=UNROLL,
            batch_size=task.MINIBATCH // UNROLL,
            num_minibatches=task.MINIBATCHES,
            num_updates_per_batch=task.EPOCHS,
            learning_rate=task.RATE,
            discounting=task.GAMMA,
            gae_lambda=task.LAMBDA,
            clipping_epsilon=task.CLIP,
            entropy_cost=0.0,
            max_grad_norm=task.NORM,
            reward_scaling=task.REWARD,
            normalize_observations=False,
            network_factory=_network,
            num_evals=3,
            num_eval_envs=task.EPISODES,
            deterministic_eval=False,
            seed=seed,
            progress_fn=lambda step, metrics: found.append(metrics),
            **options,
        )
    # The first part of two compiles.
    return float(found[-1]["eval/episode_reward"]), float(found[-1]["training/sps"])
