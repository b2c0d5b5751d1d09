"""This package's own learner as a subject: `robustpo.conformance.own:Own`.

The compiled update shows nothing of its minibatches. So the same functions are applied to what it
was given, with the same keys, one minibatch after the other; that they lead to the parameters to
which the compiled program led is checked with every update.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from robustpo.algorithm.distributions import Gaussian
from robustpo.algorithm.experience import Batch, make_batch
from robustpo.algorithm.learner import FlatLearner, minibatch_step, named, parameter_floor, shuffle
from robustpo.algorithm.losses import minibatch_keys
from robustpo.algorithm.networks import action_distribution
from robustpo.algorithm.random import permutation
from robustpo.base.registry import ESTIMATORS
from robustpo.config.run import make_config
from robustpo.conformance.subject import LEARNERS, Minibatch, Rollout, Trace
from robustpo.environments.jax_task import JaxStep, JaxTask
from robustpo.training.population import LEARN_STREAM
from robustpo.training.trainer import Trainer

STEPS, MINIBATCHES, EPOCHS = 512, 4, 3
# The program and the functions are rounded by different compilations.
ROUNDING = 1e-4


class Own:
    """PPO and RPO as `robustpo train` trains them, on a bandit with contexts."""

    unsupported = (LEARNERS,)

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
        """Train one agent; `learners` is one."""
        assert learners == 1
        options: dict[str, Any] = {} if alpha is None else {"alpha": alpha}
        config = make_config(
            "Contexts",
            "ppo" if alpha is None else "rpo",
            preset="paper",
            seed=seed,
            steps=iterations * STEPS,
            num_steps=STEPS,
            num_minibatches=MINIBATCHES,
            update_epochs=EPOCHS,
            hidden_sizes=(16,),
            learning_rate=0.01,
            target_kl=target_kl,
            normalize_observations=False,
            **options,
        )
        replay = _Replay(config)
        trainer = Trainer([config], constructor=lambda: _Contexts(action_size), inspect=replay.look)
        trainer.run()
        replay.require_same(trainer.population.learners.params)
        policy = trainer.agents[0].policy
        assert policy is not None
        params = _only(trainer.population.learners.params)

        def plain(observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return _mean_and_std(params, jnp.asarray(observations), config.shape)

        def act(observations: np.ndarray, deterministic: bool) -> np.ndarray:
            rng = np.random.default_rng(seed)
            return policy(observations, deterministic=deterministic, rng=rng)

        named_parameters = {
            jax.tree_util.keystr(path): np.asarray(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        }
        return Trace(replay.rollouts, replay.minibatches, named_parameters, act, plain)


class _Contexts(JaxTask):
    """Every step a context is drawn; the reward is minus the squared distance from its action."""

    observation_size, episode_limit = 3, 16

    def __init__(self, action_size: int) -> None:
        self.action_low, self.action_high = (-1e3,) * action_size, (1e3,) * action_size

    def reset(self, *, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        context = jax.random.normal(key, (3,))
        return context, context

    def step(self, state: jax.Array, action: jax.Array, *, key: jax.Array) -> JaxStep:
        reward = -((action - jnp.sin(state.sum())) ** 2).sum()
        context = jax.random.normal(key, (3,))
        return JaxStep(context, context, reward=reward, terminated=jnp.bool_(False))


class _Replay:
    """Repeats every update minibatch by minibatch."""

    def __init__(self, config: Any) -> None:
        self.rollouts: list[Rollout] = []
        self.minibatches: list[Minibatch] = []
        self._shape = config.shape
        self._expected: np.ndarray | None = None

    def look(self, iterations: list[int], population: Any, rollout: Any, coefficients: Any) -> None:
        """Take down an update that is about to be made, and make it here."""
        learner, own, numbers, key = (
            _only(x) for x in (population.learners, rollout, coefficients, population.keys)
        )
        self.require_same(population.learners.params)
        batch = make_batch(learner.params, own, numbers, self._shape)
        mean, std = _mean_and_std(learner.params, batch.obs, self._shape)
        obs, action, log_prob = map(np.asarray, (batch.obs, batch.action, batch.log_prob))
        self.rollouts.append(Rollout(obs, action, log_prob, mean, std, iterations[0]))
        key = jax.random.fold_in(jax.random.fold_in(key, LEARN_STREAM), iterations[0])
        self._expected = self._update(learner, batch, numbers, key, iterations[0])

    def require_same(self, params: Any) -> None:
        """Raise unless the compiled program led where this led."""
        if self._expected is not None:
            found, _ = ravel_pytree(_only(params))
            np.testing.assert_allclose(found, self._expected, atol=ROUNDING, rtol=ROUNDING)

    def _update(
        self, learner: Any, batch: Batch, numbers: Any, key: jax.Array, iteration: int
    ) -> np.ndarray:
        shape = self._shape
        vector, unravel = ravel_pytree(learner.params)
        flat, floor = (
            FlatLearner(vector, learner.optimizer),
            parameter_floor(learner.params, numbers),
        )
        stopped = False
        for epoch in range(shape.update_epochs):
            epoch_key = jax.random.fold_in(key, epoch)
            minibatches, keys = shuffle(batch, shape, key=epoch_key)
            order = np.asarray(permutation(shape.batch_size, key=jax.random.split(epoch_key)[0]))
            kls = []
            for index, rows in enumerate(order.reshape(shape.num_minibatches, -1)):
                one = jax.tree.map(lambda x, i=index: x[i], minibatches)
                shown = _show(unravel(flat.vector), one, numbers, keys[index], shape)
                known = {name: np.asarray(array) for name, array in shown.items()}
                control = float(not stopped)
                where = {"iteration": iteration, "epoch": epoch, "control": control}
                self.minibatches.append(Minibatch(rows=rows, **known, **where))
                if stopped:
                    continue
                flat, metrics = _step(flat, unravel, one, numbers, shape, key=keys[index])
                flat = replace(flat, vector=jnp.maximum(flat.vector, floor))
                kls.append(float(named(metrics, shape)["approx_kl"]))
            stopped = stopped or float(np.mean(kls)) > float(numbers.target_kl)
        return np.asarray(flat.vector)


_step = jax.jit(minibatch_step, static_argnames=("unravel", "shape"))


@partial(jax.jit, static_argnames="shape")
def _show(
    params: Any, batch: Batch, numbers: Any, key: jax.Array, shape: Any
) -> dict[str, jax.Array]:
    """Return what a minibatch is to show, by the names of `Minibatch`."""
    policy = _gaussian(params, batch.obs, shape)
    location, log_scale = (
        jnp.broadcast_to(x, batch.action.shape) for x in (policy.location, policy.log_scale)
    )

    def total(location: jax.Array, log_scale: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = replace(policy, location=location, log_scale=log_scale)
        noise_key, _ = minibatch_keys(shape, key=key)
        estimator = ESTIMATORS[shape.estimator]
        found = estimator.log_prob(own, batch.action, numbers, shape, key=noise_key)[0]
        return found.sum(), found

    gradients, log_prob = jax.grad(total, argnums=(0, 1), has_aux=True)(location, log_scale)
    return {
        "log_prob": log_prob,
        "old_log_prob": batch.log_prob,
        "mean": location,
        "std": jnp.exp(log_scale),
        "mean_gradient": gradients[0],
        "log_std_gradient": gradients[1],
    }


def _only(population: Any) -> Any:
    """Return the one agent of a population."""
    return jax.tree.map(lambda x: x[0], population)


def _mean_and_std(params: Any, observations: Any, shape: Any) -> tuple[np.ndarray, np.ndarray]:
    policy = _gaussian(params, observations, shape)
    return np.asarray(policy.location), np.asarray(policy.std())


def _gaussian(params: Any, observations: Any, shape: Any) -> Gaussian:
    policy = action_distribution(params, observations, shape)
    assert isinstance(policy, Gaussian)
    return policy
