"""Brax's PPO and its RPO, looked at from outside, for the conformance suite."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from brax.envs.base import Env, State
from brax.training.agents.ppo import losses
from brax.training.agents.ppo import networks as ppo_networks
from brax.training.agents.ppo import train as ppo

from robustpo.conformance import Minibatch, Rollout, Trace
from robustpo.integrations import brax

ENVS, UNROLL, MINIBATCHES, EPOCHS = 48, 16, 4, 3
ROWS = ENVS * UNROLL


class Contexts(Env):
    """A bandit with contexts; actions come squashed."""

    def __init__(self, action_size):
        self._size = action_size

    @property
    def observation_size(self):
        return 3

    @property
    def action_size(self):
        return self._size

    @property
    def backend(self):
        return "none"

    def reset(self, rng):
        rng, own = jax.random.split(rng)
        obs = jax.random.normal(own, (3,))
        zero = jnp.zeros(())
        state: Any = rng
        return State(state, obs, zero, zero, {}, {})

    def step(self, state: Any, action):
        reward = -((jnp.arctanh(0.999 * action) - jnp.sin(state.obs.sum())) ** 2).sum()
        rng, own = jax.random.split(state.pipeline_state)
        return state.replace(pipeline_state=rng, obs=jax.random.normal(own, (3,)), reward=reward)


@contextlib.contextmanager
def watching(records):
    """Have Brax's loss show what it uses."""
    plain = losses.compute_ppo_loss

    def watched(params, normalizer_params, data, rng, ppo_network, **rest):
        family = ppo_network.parametric_action_distribution
        logits = ppo_network.policy_network.apply(
            normalizer_params, params.policy, data.observation
        )
        raw = data.extras["policy_extras"]["raw_action"]
        squash = family._postprocessor.forward_log_det_jacobian(raw).sum(-1)

        def total(logits):
            log_prob = family.log_prob(logits, raw) + squash
            return log_prob.sum(), log_prob

        gradient, log_prob = jax.grad(total, has_aux=True)(logits)
        by_mean, by_raw = jnp.split(gradient, 2, axis=-1)
        policy = family.create_dist(logits)
        # σ = softplus(x) + 0.001.
        _, unsquashed = jnp.split(logits, 2, axis=-1)
        by_log_std = by_raw / jax.nn.sigmoid(unsquashed) * policy.scale
        old = family.create_dist(data.extras["policy_extras"]["distribution_params"])
        shown = {
            "observation": data.observation,
            "action": raw,
            "old_log_prob": data.extras["policy_extras"]["log_prob"] + squash,
            "old_mean": old.loc,
            "old_std": old.scale,
            "log_prob": log_prob,
            "mean": policy.loc,
            "std": policy.scale,
            "mean_gradient": by_mean,
            "log_std_gradient": by_log_std,
        }
        jax.debug.callback(records.append, shown)
        return plain(params, normalizer_params, data, rng, ppo_network=ppo_network, **rest)

    losses.compute_ppo_loss = watched
    try:
        yield
    finally:
        losses.compute_ppo_loss = plain


def network(*sizes, **options):
    return ppo_networks.make_ppo_networks(
        *sizes, policy_hidden_layer_sizes=(16,), value_hidden_layer_sizes=(16,), **options
    )


def settings(action_size, seed, iterations, **options):
    return {
        "environment": Contexts(action_size),
        "num_timesteps": iterations * ROWS,
        "episode_length": 16,
        "num_envs": ENVS,
        "unroll_length": UNROLL,
        "batch_size": ENVS // MINIBATCHES,
        "num_minibatches": MINIBATCHES,
        "num_updates_per_batch": EPOCHS,
        "learning_rate": 1e-3,
        "entropy_cost": 0.0,
        "network_factory": network,
        "seed": seed,
        "num_evals": 1,
        "num_eval_envs": 4,
        "run_evals": False,
        **options,
    }


class Brax:
    """The subject."""

    unsupported = ("learners",)

    def train(self, alpha, seed, action_size, iterations, *, target_kl=None, learners=1):
        records, rates = [], []
        options = settings(action_size, seed, iterations)
        if target_kl is not None:
            options |= {
                "learning_rate_schedule": "ADAPTIVE_KL",
                "desired_kl": target_kl,
                "num_evals": iterations + 1,
            }
        noisy = {} if alpha is None else {"alpha": alpha}
        function = ppo.train if alpha is None else brax.train

        def progress(step, metrics):
            if "training/learning_rate" in metrics:
                rates.append(float(metrics["training/learning_rate"]))

        with watching(records), brax._replicating():
            make_policy, params, _ = function(**options, **noisy, progress_fn=progress)
            jax.effects_barrier()
        flat = [
            {n: np.asarray(x).reshape(-1, *x.shape[2:]) for n, x in one.items()} for one in records
        ]
        steered = rates if target_kl is not None else []
        rollouts, minibatches = _in_order(flat, iterations, steered)
        networks: Any = network(3, action_size)

        def plain(observations):
            logits = networks.policy_network.apply(params[0], params[1], jnp.asarray(observations))
            policy: Any = networks.parametric_action_distribution.create_dist(logits)
            return np.asarray(policy.loc), np.asarray(policy.scale)

        def act(observations, deterministic):
            policy = make_policy(params, deterministic=deterministic)
            action, _ = policy(jnp.asarray(observations), jax.random.key(seed))
            return np.arctanh(np.asarray(action, np.float64))

        leaves = jax.tree_util.tree_leaves_with_path(params[1])
        parameters = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
        return Trace(rollouts, minibatches, parameters, act, plain)


def _in_order(records, iterations, rates):
    """Return rollouts, made of the minibatches of their first epochs, and all minibatches."""
    rollouts, minibatches = [], []
    each = EPOCHS * MINIBATCHES
    assert len(records) == iterations * each, (len(records), iterations)
    for iteration in range(iterations):
        own = records[iteration * each : (iteration + 1) * each]
        first = {name: np.concatenate([one[name] for one in own[:MINIBATCHES]]) for name in own[0]}
        rollouts.append(
            Rollout(
                first["observation"],
                first["action"],
                first["old_log_prob"],
                first["old_mean"],
                first["old_std"],
                iteration,
            )
        )
        rows = {
            row.tobytes(): index
            for index, row in enumerate(np.hstack([first["observation"], first["action"]]))
        }
        for index, one in enumerate(own):
            where = [rows[row.tobytes()] for row in np.hstack([one["observation"], one["action"]])]
            shown = ("log_prob", "old_log_prob", "mean", "std", "mean_gradient", "log_std_gradient")
            minibatches.append(
                Minibatch(
                    rows=np.array(where),
                    iteration=iteration,
                    epoch=index // MINIBATCHES,
                    control=rates[iteration] if rates else 1.0,
                    **{name: one[name] for name in shown},
                )
            )
    return rollouts, minibatches
